//! What each pod's containers were granted of the node. A resize is a wish until the node has room for it: it is granted,
//! waits (deferred), or can never be (infeasible), and containers go on with what they were granted before (KEP-1287).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, ResourceRequirements};
use tokio::sync::watch;

use super::facts;
use crate::container_spec::{Amounts, NodeAmounts, Quantity, amount, pod_requests};

const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// The grants of all pods that have a worker. Each decision sees all earlier ones.
pub struct Allocations {
    node: NodeAmounts,
    grants: Mutex<HashMap<String, Grant>>,
    /// Counts what gives room back.
    freed: watch::Sender<u64>,
}

struct Grant {
    containers: BTreeMap<String, ResourceRequirements>,
    requests: Amounts,
}

/// The pod as it is to run, and what it wishes beyond that.
#[derive(Debug, Clone)]
pub struct Allocation {
    pub pod: Arc<Pod>,
    pub pending: Option<Pending>,
}

/// A wish that is not granted, as the condition `PodResizePending` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub reason: &'static str,
    pub message: String,
}

impl Allocations {
    #[must_use]
    pub fn new(node: NodeAmounts) -> Self {
        Self { node, grants: Mutex::default(), freed: watch::Sender::new(0) }
    }

    /// Grants what the pod wishes if there is room. The first time a pod is granted everything, because admission has
    /// checked it; one that ran before this kubelet started keeps what its status says.
    pub fn allocate(&self, pod: &Arc<Pod>) -> Allocation {
        let mut grants = self.lock();
        let wish = claims(pod);
        let uid = facts::uid(pod);
        let Some(grant) = grants.get(uid) else {
            let containers = granted_before(pod, &wish);
            let granted = with(pod, &containers);
            grants.insert(uid.to_owned(), Grant { containers, requests: pod_requests(&granted) });
            drop(grants);
            // A wish that was not granted before the kubelet started is looked at again.
            return if Arc::ptr_eq(&granted, pod) {
                Allocation { pod: granted, pending: None }
            } else {
                self.allocate(pod)
            };
        };
        if same(&grant.containers, &wish) {
            return Allocation { pod: with(pod, &grant.containers), pending: None };
        }
        let requests = pod_requests(pod);
        let others = grants.iter().filter(|(other, _)| *other != uid).map(|(_, other)| &other.requests);
        if let Some(pending) = self.refusal(&requests, &grant.requests, others) {
            return Allocation { pod: with(pod, &grant.containers), pending: Some(pending) };
        }
        let less = RESIZABLE.iter().any(|name| of(&requests, name) < of(&grant.requests, name));
        grants.insert(uid.to_owned(), Grant { containers: wish, requests });
        drop(grants);
        if less {
            self.freed.send_modify(|count| *count += 1);
        }
        Allocation { pod: Arc::clone(pod), pending: None }
    }

    /// The pod with what it was granted, for sums over all pods.
    #[must_use]
    pub fn granted(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        match self.lock().get(facts::uid(pod)) {
            Some(grant) => with(pod, &grant.containers),
            None => Arc::clone(pod),
        }
    }

    /// The pod's containers are gone.
    pub fn release(&self, uid: &str) {
        if self.lock().remove(uid).is_some() {
            self.freed.send_modify(|count| *count += 1);
        }
    }

    /// Changes whenever a deferred wish is worth another look.
    #[must_use]
    pub fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    fn refusal<'a>(
        &self,
        wish: &Amounts,
        before: &Amounts,
        others: impl Iterator<Item = &'a Amounts> + Clone,
    ) -> Option<Pending> {
        let mut deferred = None;
        for (name, total) in [("cpu", self.node.cpu), ("memory", self.node.memory)] {
            let wanted = of(wish, name);
            if wanted <= of(before, name) {
                continue;
            }
            let text = |amount: &Quantity| if name == "cpu" { amount.milli_value() } else { amount.value() };
            if wanted > total {
                return Some(Pending {
                    reason: "Infeasible",
                    message: format!(
                        "Node didn't have enough capacity: {name}, requested: {}, capacity: {}",
                        text(&wanted),
                        text(&total)
                    ),
                });
            }
            let used = others.clone().fold(Quantity::ZERO, |sum, other| sum.plus(&of(other, name)));
            if used.plus(&wanted) > total {
                deferred.get_or_insert_with(|| Pending {
                    reason: "Deferred",
                    message: format!(
                        "Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
                        text(&wanted),
                        text(&used),
                        text(&total)
                    ),
                });
            }
        }
        deferred
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(amounts: &Amounts, name: &str) -> Quantity {
    amounts.get(name).copied().unwrap_or(Quantity::ZERO)
}

/// Resources of init and app containers by name.
fn claims(pod: &Pod) -> BTreeMap<String, ResourceRequirements> {
    let containers = pod.spec.iter().flat_map(crate::container_spec::regular_containers);
    containers.map(|container| (container.name.clone(), container.resources.clone().unwrap_or_default())).collect()
}

/// What a pod that already ran here had: its status tells for each running container.
fn granted_before(pod: &Pod, wish: &BTreeMap<String, ResourceRequirements>) -> BTreeMap<String, ResourceRequirements> {
    let statuses = pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let told: BTreeMap<&str, &ResourceRequirements> = statuses
        .filter_map(|status: &ContainerStatus| Some((status.name.as_str(), status.resources.as_ref()?)))
        .collect();
    let choose = |(name, wanted): (&String, &ResourceRequirements)| {
        let had = told.get(name.as_str()).copied().filter(|had| !same_amounts(had, wanted));
        (name.clone(), had.unwrap_or(wanted).clone())
    };
    wish.iter().map(choose).collect()
}

fn same(a: &BTreeMap<String, ResourceRequirements>, b: &BTreeMap<String, ResourceRequirements>) -> bool {
    a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_amounts(a, b)))
}

/// Whether two claims are the same amounts, however written. Only what can be resized is compared.
pub fn same_amounts(a: &ResourceRequirements, b: &ResourceRequirements) -> bool {
    RESIZABLE.iter().all(|name| {
        amount(a.requests.as_ref(), name) == amount(b.requests.as_ref(), name)
            && amount(a.limits.as_ref(), name) == amount(b.limits.as_ref(), name)
    })
}

/// The pod with these resources; the same object when nothing differs.
fn with(pod: &Arc<Pod>, granted: &BTreeMap<String, ResourceRequirements>) -> Arc<Pod> {
    let differs = claims(pod).iter().any(|(name, own)| granted.get(name).is_some_and(|had| !same_amounts(had, own)));
    if !differs {
        return Arc::clone(pod);
    }
    let mut changed = Pod::clone(pod);
    if let Some(PodSpec { containers, init_containers, .. }) = changed.spec.as_mut() {
        for container in init_containers.iter_mut().flatten().chain(containers) {
            if let Some(had) = granted.get(&container.name) {
                container.resources = Some(had.clone());
            }
        }
    }
    Arc::new(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(cpu: i64) -> NodeAmounts {
        NodeAmounts {
            cpu: Quantity::from_milli(cpu),
            memory: Quantity::from_milli(1_000_000),
            ..NodeAmounts::default()
        }
    }

    fn pod(uid: &str, cpu: &str, had: Option<&str>) -> Arc<Pod> {
        let status = had.map(|cpu| {
            serde_json::json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "resources": {"requests": {"cpu": cpu}}}]})
        });
        let pod = serde_json::json!({"metadata": {"uid": uid}, "status": status,
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn cpu(pod: &Pod) -> String {
        of(&pod_requests(pod), "cpu").to_string()
    }

    #[test]
    fn a_resize_that_fits_is_granted_at_once() {
        let all = Allocations::new(node(1000));
        assert_eq!(cpu(&all.allocate(&pod("a", "300m", None)).pod), "300m");
        let resized = all.allocate(&pod("a", "500m", None));
        assert_eq!((cpu(&resized.pod).as_str(), resized.pending), ("500m", None));
        assert_eq!(all.allocate(&pod("a", "0.5", None)).pending, None, "the same amount in other words");
    }

    #[test]
    fn a_resize_beyond_the_node_is_infeasible_and_changes_nothing() {
        let all = Allocations::new(node(1000));
        all.allocate(&pod("a", "300m", None));
        let wish = all.allocate(&pod("a", "2", None));
        assert_eq!((cpu(&wish.pod).as_str(), wish.pending.map(|p| p.reason)), ("300m", Some("Infeasible")));
        assert_eq!(cpu(&all.granted(&pod("a", "2", None))), "300m");
    }

    #[test]
    fn a_deferred_resize_is_granted_when_another_pod_gives_room() {
        let all = Allocations::new(node(1000));
        all.allocate(&pod("a", "300m", None));
        all.allocate(&pod("b", "600m", None));
        let wish = pod("a", "500m", None);
        let pending = all.allocate(&wish).pending.expect("no room");
        assert_eq!(pending.reason, "Deferred");
        assert!(pending.message.contains("requested: 500, used: 600, capacity: 1000"), "{}", pending.message);
        let mut freed = all.freed();
        all.allocate(&pod("b", "500m", None));
        assert!(freed.has_changed().expect("the sender lives"));
        assert_eq!(all.allocate(&wish).pending, None);
        freed.mark_unchanged();
        all.release("b");
        assert!(freed.has_changed().expect("the sender lives"));
    }

    #[test]
    fn less_is_always_granted() {
        let all = Allocations::new(node(100));
        all.allocate(&pod("a", "300m", None));
        assert_eq!(cpu(&all.allocate(&pod("a", "200m", None)).pod), "200m");
    }

    #[test]
    fn a_wish_that_an_earlier_kubelet_refused_is_judged_again() {
        let all = Allocations::new(node(1000));
        let wish = all.allocate(&pod("a", "2", Some("300m")));
        assert_eq!((cpu(&wish.pod).as_str(), wish.pending.map(|p| p.reason)), ("300m", Some("Infeasible")));
        assert_eq!(cpu(&all.allocate(&pod("b", "400m", Some("100m"))).pod), "400m");
    }
}
