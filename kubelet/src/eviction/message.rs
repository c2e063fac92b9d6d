//! What an evicted pod is told. Pure; the texts are upstream's, because people and tools search for them.

use k8s_openapi::api::core::v1::Pod;

use super::observation::Observations;
use super::signal::Resource;
use super::threshold::Threshold;
use super::usage::PodUsage;
use crate::container_spec::{Format, Quantity, amount};
use crate::pod::facts;

/// Resource, threshold and what there was, then every container that used more than it requested.
pub(super) fn message(
    pod: &Pod,
    usage: &PodUsage,
    resource: Resource,
    due: &[Threshold],
    seen: &Observations,
) -> String {
    let mut text = format!("The node was low on resource: {resource}. ");
    let first = due.iter().filter(|threshold| threshold.signal.resource() == resource);
    if let Some((threshold, seen)) = first.filter_map(|due| Some((due, seen.get(&due.signal)?))).next() {
        let format = match resource {
            Resource::Memory | Resource::EphemeralStorage => Format::BinarySi,
            Resource::Inodes | Resource::Pids => Format::DecimalSi,
        };
        text += &format!(
            "Threshold quantity: {}, available: {}. ",
            threshold.value.of(seen.capacity).to_api().0,
            Quantity::from_units(seen.available, format).to_api().0
        );
    }
    for container in facts::app_containers(pod).iter().chain(facts::init_containers(pod)) {
        let used = usage.containers.iter().find(|used| used.name == container.name).and_then(|used| match resource {
            Resource::Memory => used.memory,
            Resource::EphemeralStorage => used.disk,
            Resource::Inodes | Resource::Pids => None,
        });
        let Some(used) = used.and_then(|used| i64::try_from(used).ok()) else { continue };
        let used = Quantity::from_units(used, Format::BinarySi);
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let request = amount(requests, &resource.to_string()).unwrap_or(Quantity::ZERO);
        if used > request {
            text += &format!(
                "Container {} was using {}, request is {}, has larger consumption of {resource}. ",
                container.name,
                used.to_api().0,
                request.to_api().0
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::usage::ContainerUse;
    use crate::eviction::{Amount, Observation, Signal};
    use std::time::Duration;

    #[test]
    fn reads_as_upstreams() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p" },
            "spec": { "containers": [
                { "name": "big", "resources": { "requests": { "memory": "10Mi" } } },
                { "name": "small", "resources": { "requests": { "memory": "10Mi" } } },
                { "name": "none" },
            ] }
        }))
        .expect("a pod");
        let used = |name: &str, memory| ContainerUse { name: name.into(), memory: Some(memory), disk: None };
        let usage = PodUsage {
            containers: vec![used("big", 20 << 20), used("small", 5 << 20), used("none", 1 << 10)],
            ..PodUsage::default()
        };
        let due = [Threshold {
            signal: Signal::MemoryAvailable,
            value: Amount::Share(0.5),
            grace: Duration::ZERO,
            minimum_reclaim: None,
        }];
        let seen = Observations::from([(
            Signal::MemoryAvailable,
            Observation { available: 83224 << 10, capacity: 200 << 20 },
        )]);
        assert_eq!(
            message(&pod, &usage, Resource::Memory, &due, &seen),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 83224Ki. \
             Container big was using 20Mi, request is 10Mi, has larger consumption of memory. \
             Container none was using 1Ki, request is 0, has larger consumption of memory. "
        );
    }
}
