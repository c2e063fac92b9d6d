//! Pods that the node as we know it would refuse. What we know of it may be older than the pod: somebody labels a node, or
//! adds a resource to it, and creates a pod for it at once. Such a pod is refused only when the node, asked for anew, does it
//! too.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::status::pod_status::Verdict;

/// Who waits for a newer Node object.
pub struct Doubts {
    pods: HashSet<String>,
    node_wanted: Arc<Notify>,
}

impl Doubts {
    #[must_use]
    pub fn new(node_wanted: Arc<Notify>) -> Self {
        Self { pods: HashSet::new(), node_wanted }
    }

    /// True when a newer Node object may change the verdict: it is asked for, and the pod is to be judged again by it.
    pub fn raise(&mut self, uid: &str, verdict: &Verdict) -> bool {
        let by_node =
            verdict.reason == "NodeAffinity" || verdict.reason.starts_with("OutOf") && verdict.reason != "OutOfpods";
        if !by_node || !self.pods.insert(uid.to_owned()) {
            self.forget(uid);
            return false;
        }
        self.node_wanted.notify_one();
        true
    }

    /// The pod was taken, or is gone.
    pub fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reason: &str) -> Verdict {
        Verdict { reason: reason.to_owned(), message: String::new(), disruption: false }
    }

    #[tokio::test]
    async fn the_node_is_asked_for_once_for_each_pod() {
        let wanted = Arc::new(Notify::new());
        let mut doubts = Doubts::new(Arc::clone(&wanted));
        assert!(doubts.raise("a", &verdict("NodeAffinity")));
        wanted.notified().await;
        assert!(!doubts.raise("a", &verdict("NodeAffinity")), "judged twice, that is final");
        assert!(doubts.raise("a", &verdict("OutOfcpu")), "and forgotten");
        assert!(!doubts.raise("b", &verdict("NodePorts")) && !doubts.raise("b", &verdict("OutOfpods")));
        doubts.forget("a");
        assert!(doubts.raise("a", &verdict("OutOfcpu")));
    }
}
