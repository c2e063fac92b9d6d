//! Which pods a node under pressure still takes. Pure.

use k8s_openapi::api::core::v1::Pod;

use super::EVICTED;
use super::signal::Pressure;
use crate::container_spec::{QosClass, qos_class};
use crate::pod::facts;
use crate::status::pod_status::Verdict;

/// Critical pods always; if only memory is short, all but best-effort ones that do not tolerate it.
pub fn admit(pod: &Pod, pressure: Pressure) -> Result<(), Verdict> {
    let conditions = pressure.conditions();
    if conditions.is_empty() || facts::is_critical(pod) {
        return Ok(());
    }
    let only_memory = pressure == Pressure { memory: true, ..Pressure::default() };
    if only_memory && (qos_class(pod) != QosClass::BestEffort || tolerates_memory_pressure(pod)) {
        return Ok(());
    }
    let message = format!("Pod was rejected: The node had condition: [{}]. ", conditions.join(" "));
    Err(Verdict { reason: EVICTED.to_owned(), message, disruption: false })
}

fn tolerates_memory_pressure(pod: &Pod) -> bool {
    const KEY: &str = "node.kubernetes.io/memory-pressure";
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let exists = toleration.operator.as_deref() == Some("Exists");
        let value = toleration.value.as_deref().unwrap_or_default();
        matches!(effect, "" | "NoSchedule")
            && (key == KEY || (key.is_empty() && exists))
            && (exists || value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(extra: serde_json::Value) -> Pod {
        let mut spec = json!({ "containers": [{ "name": "c" }] });
        if let (Some(spec), Some(extra)) = (spec.as_object_mut(), extra.as_object()) {
            spec.extend(extra.clone());
        }
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
    }

    #[test]
    fn memory_keeps_out_best_effort_and_disk_everybody() {
        let memory = Pressure { memory: true, ..Pressure::default() };
        let disk = Pressure { disk: true, ..Pressure::default() };
        let best_effort = pod(json!({}));
        let burstable =
            pod(json!({ "containers": [{ "name": "c", "resources": { "requests": { "memory": "1Mi" } } }] }));
        let tolerant = pod(json!({ "tolerations": [{ "operator": "Exists" }] }));
        let critical = pod(json!({ "priority": 2_000_000_000 }));
        let taken = |pod: &Pod, pressure| admit(pod, pressure).is_ok();
        assert!(taken(&best_effort, Pressure::default()));
        assert!(!taken(&best_effort, memory) && taken(&burstable, memory) && taken(&tolerant, memory));
        assert!(!taken(&burstable, disk) && !taken(&tolerant, disk));
        assert!(taken(&critical, disk) && taken(&critical, memory));
        let verdict = admit(&best_effort, Pressure { pid: true, ..disk }).expect_err("refused");
        assert_eq!(verdict.message, "Pod was rejected: The node had condition: [DiskPressure PIDPressure]. ");
        assert_eq!(verdict.reason, "Evicted");
    }
}
