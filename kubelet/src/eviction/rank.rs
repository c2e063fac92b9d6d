//! Who is ended first. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::signal::Resource;
use super::usage::PodUsage;
use crate::container_spec::{Format, Quantity, pod_requests};

/// Sorts: a pod whose use is unknown, then one that uses more than it requested, then by priority, then by how much more.
pub(super) fn rank(pods: &mut [(Arc<Pod>, PodUsage)], resource: Resource) {
    pods.sort_by(|(one, its), (other, others)| compare(one, its, other, others, resource));
}

fn compare(one: &Pod, its: &PodUsage, other: &Pod, others: &PodUsage, resource: Resource) -> Ordering {
    let (used, others_used) = (its.of(resource), others.of(resource));
    // Nobody requests processes.
    let exceeds = resource != Resource::Pids;
    let unknown = others_used.is_none().cmp(&used.is_none());
    let beyond = |pod: &Pod, used: Option<u64>| excess(pod, used.unwrap_or(0), resource);
    let (over, others_over) = (beyond(one, used), beyond(other, others_used));
    unknown
        .then_with(|| if exceeds { (others_over > 0).cmp(&(over > 0)) } else { Ordering::Equal })
        .then_with(|| priority(one).cmp(&priority(other)))
        .then_with(|| others_over.cmp(&over))
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// Use above the request.
fn excess(pod: &Pod, used: u64, resource: Resource) -> i64 {
    let name = match resource {
        Resource::Memory => "memory",
        Resource::EphemeralStorage => "ephemeral-storage",
        Resource::Inodes | Resource::Pids => "",
    };
    let requested = pod_requests(pod).get(name).map_or(0, Quantity::value);
    Quantity::from_units(i64::try_from(used).unwrap_or(i64::MAX), Format::BinarySi).value().saturating_sub(requested)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32, request: &str) -> Arc<Pod> {
        let resources = json!({ "requests": { "memory": request } });
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "priority": priority, "containers": [{ "name": "c", "resources": resources }] }
            }))
            .expect("a pod"),
        )
    }

    fn order(mut pods: Vec<(Arc<Pod>, PodUsage)>, resource: Resource) -> Vec<String> {
        rank(&mut pods, resource);
        pods.into_iter().filter_map(|(pod, _)| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn requests_come_before_priority_and_priority_before_use() {
        let uses = |memory| PodUsage { memory: Some(memory), ..PodUsage::default() };
        let pods = vec![
            (pod("within, important", 10, "100"), uses(90)),
            (pod("within", 0, "100"), uses(50)),
            (pod("over, important", 10, "10"), uses(1000)),
            (pod("over by little", 0, "10"), uses(11)),
            (pod("over by much", 0, "500"), uses(600)),
            (pod("unknown", 10, "0"), PodUsage::default()),
        ];
        assert_eq!(
            order(pods, Resource::Memory),
            ["unknown", "over by much", "over by little", "over, important", "within", "within, important"]
        );
    }

    #[test]
    fn processes_rank_by_priority_then_number() {
        let has = |processes| PodUsage { processes: Some(processes), ..PodUsage::default() };
        let pods =
            vec![(pod("important", 10, "0"), has(500)), (pod("few", 0, "0"), has(2)), (pod("many", 0, "0"), has(100))];
        assert_eq!(order(pods, Resource::Pids), ["many", "few", "important"]);
    }
}
