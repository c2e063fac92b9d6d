//! The quality of service class of a pod. Pure.

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use super::quantity::Quantity;
use super::resources::{amount, regular_containers};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    /// As in `status.qosClass`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class by CPU and memory of all init and app containers, or of the pod itself where it has its own resources.
/// A request that is not set is the limit.
#[must_use]
pub fn qos_class(pod: &Pod) -> QosClass {
    let Some(spec) = &pod.spec else { return QosClass::BestEffort };
    let own = spec.resources.as_ref().filter(|resources| any_amount(resources));
    let units: Vec<Option<&ResourceRequirements>> = match own {
        Some(resources) => vec![Some(resources)],
        None => regular_containers(spec).map(|container| container.resources.as_ref()).collect(),
    };
    let positive = |unit: Option<&ResourceRequirements>, limits: bool, name: &str| {
        let map = unit.and_then(|unit| if limits { unit.limits.as_ref() } else { unit.requests.as_ref() });
        amount(map, name).filter(|amount| *amount > Quantity::ZERO)
    };
    let mut anything = false;
    let mut all_limited = true;
    let mut totals = [[Quantity::ZERO; 2]; 2];
    for unit in units {
        for (index, name) in ["cpu", "memory"].into_iter().enumerate() {
            let limit = positive(unit, true, name);
            let request = positive(unit, false, name).or(limit);
            anything |= limit.is_some() || request.is_some();
            all_limited &= limit.is_some();
            totals[index][0] = totals[index][0].plus(&request.unwrap_or_default());
            totals[index][1] = totals[index][1].plus(&limit.unwrap_or_default());
        }
    }
    match (anything, all_limited && totals.iter().all(|[request, limit]| request == limit)) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

fn any_amount(resources: &ResourceRequirements) -> bool {
    let has = |name| amount(resources.requests.as_ref(), name).or(amount(resources.limits.as_ref(), name)).is_some();
    has("cpu") || has("memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(spec: serde_json::Value) -> QosClass {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec})).expect("a pod");
        qos_class(&pod)
    }

    #[test]
    fn follows_the_table() {
        let full = serde_json::json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}});
        let limits = serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let partial = serde_json::json!({"requests": {"cpu": "1"}});
        let other = serde_json::json!({"requests": {"ephemeral-storage": "1Gi"}});
        let container = |resources: &serde_json::Value| serde_json::json!({"name": "c", "resources": resources});
        let none = serde_json::json!({"name": "c"});
        for (spec, expected) in [
            (serde_json::json!({"containers": [none]}), QosClass::BestEffort),
            (serde_json::json!({"containers": [container(&other)]}), QosClass::BestEffort),
            (serde_json::json!({"containers": [container(&full)]}), QosClass::Guaranteed),
            (serde_json::json!({"containers": [container(&limits)]}), QosClass::Guaranteed),
            (serde_json::json!({"containers": [container(&full), none]}), QosClass::Burstable),
            (serde_json::json!({"containers": [container(&partial)]}), QosClass::Burstable),
            (serde_json::json!({"containers": [container(&full)], "initContainers": [none]}), QosClass::Burstable),
            (serde_json::json!({"containers": [none], "resources": full}), QosClass::Guaranteed),
            (serde_json::json!({"containers": [container(&full)], "resources": partial}), QosClass::Burstable),
        ] {
            assert_eq!(class(spec.clone()), expected, "{spec}");
        }
    }
}
