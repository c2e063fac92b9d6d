//! Names of containers on the engine: `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`, as dockershim and cri-dockerd name
//! them, so that everyone's tools recognise them. Identity is in the labels; names only exclude duplicates.

use crate::runtime::PodRef;

/// Container name of every sandbox.
pub(super) const SANDBOX_CONTAINER: &str = "POD";

pub(super) fn sandbox_name(pod: &PodRef, attempt: u32) -> String {
    container_name(pod, SANDBOX_CONTAINER, attempt)
}

pub(super) fn container_name(pod: &PodRef, container: &str, attempt: u32) -> String {
    format!("k8s_{container}_{}_{}_{}_{attempt}", pod.name, pod.namespace, pod.uid)
}

/// `POD_NAMESPACE_CONTAINER-ID.log`, the part before the ID cut so that the whole stays a legal file name.
pub(super) fn log_link_name(pod: &PodRef, container: &str, id: &str) -> String {
    const LONGEST: usize = 255;
    let suffix = format!("-{id}.log");
    let mut stem = format!("{}_{}_{container}", pod.name, pod.namespace);
    // Kubernetes names are ASCII, so any cut is on a character boundary; `floor` guards the odd caller.
    let mut end = LONGEST.saturating_sub(suffix.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    stem.truncate(end);
    stem + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodRef {
        PodRef { uid: "u-1".into(), namespace: "kube-system".into(), name: "etcd-node1".into() }
    }

    #[test]
    fn names_carry_the_identity() {
        assert_eq!(container_name(&pod(), "etcd", 3), "k8s_etcd_etcd-node1_kube-system_u-1_3");
        assert_eq!(sandbox_name(&pod(), 0), "k8s_POD_etcd-node1_kube-system_u-1_0");
    }

    #[test]
    fn long_link_names_are_cut_before_the_id() {
        let id = "f".repeat(64);
        let long = PodRef { name: "p".repeat(253), ..pod() };
        let name = log_link_name(&long, "c", &id);
        assert_eq!(name.len(), 255);
        assert!(name.ends_with(&format!("-{id}.log")));
        assert_eq!(log_link_name(&pod(), "etcd", "abc"), "etcd-node1_kube-system_etcd-abc.log");
    }
}
