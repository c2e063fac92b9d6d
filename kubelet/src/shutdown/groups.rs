//! Which pods end together, and how long they have. Pure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::config::ShutdownGrace;

/// Pods that end at the same time.
#[derive(Debug)]
pub(super) struct Group {
    pub grace: Duration,
    pub pods: Vec<Arc<Pod>>,
}

/// A pod belongs to the highest priority that is not above its own, or to the lowest there is. `graces` has the lowest
/// first; groups without pods are left out.
pub(super) fn groups(graces: &[ShutdownGrace], pods: &[Arc<Pod>]) -> Vec<Group> {
    let mut groups: Vec<Group> = graces
        .iter()
        .map(|grace| Group { grace: Duration::from_secs(grace.shutdown_grace_period_seconds), pods: Vec::new() })
        .collect();
    for pod in pods {
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let index = graces.iter().rposition(|grace| grace.priority <= priority).unwrap_or(0);
        if let Some(group) = groups.get_mut(index) {
            group.pods.push(Arc::clone(pod));
        }
    }
    groups.retain(|group| !group.pods.is_empty());
    groups
}

/// What the pod is given: its own grace, if that is shorter than its group's. Never nothing.
pub(super) fn grace_of(pod: &Pod, group: &Group) -> Duration {
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let own = own.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    own.map_or(group.grace, |own| own.min(group.grace)).max(Duration::from_secs(1))
}

/// How long a shutdown must wait at most.
pub(super) fn longest(graces: &[ShutdownGrace]) -> Duration {
    Duration::from_secs(graces.iter().map(|grace| grace.shutdown_grace_period_seconds).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: Option<i32>, grace: i64) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "priority": priority, "terminationGracePeriodSeconds": grace, "containers": [] }
            }))
            .expect("a pod"),
        )
    }

    #[test]
    fn pods_end_from_the_lowest_priority_up() {
        let grace = |priority, shutdown_grace_period_seconds| ShutdownGrace { priority, shutdown_grace_period_seconds };
        let graces = [grace(0, 20), grace(1000, 5), grace(2_000_000_000, 10)];
        let pods = [
            pod("critical", Some(2_000_001_000), 30),
            pod("below all", Some(-5), 30),
            pod("none", None, 3),
            pod("just below", Some(999), 30),
            pod("exactly", Some(1000), 30),
        ];
        let groups = groups(&graces, &pods);
        let names: Vec<Vec<&str>> = groups
            .iter()
            .map(|group| group.pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect())
            .collect();
        assert_eq!(names, [vec!["below all", "none", "just below"], vec!["exactly"], vec!["critical"]]);
        assert_eq!(grace_of(&pods[2], &groups[0]), Duration::from_secs(3), "its own is shorter");
        assert_eq!(grace_of(&pods[0], &groups[2]), Duration::from_secs(10));
        assert_eq!(longest(&graces), Duration::from_secs(35));
        assert_eq!(super::groups(&graces, &pods[4..]).len(), 1, "nobody waits for a group without pods");
    }
}
