//! What every part of a container's description needs to know of the node. Built once by the kubelet.

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::cgroup::CgroupSettings;
use super::quantity::Quantity;
use crate::certs::ApiClient;
use crate::objects::{ObjectCache, ServiceSource, TokenManager};

/// Shared by volumes and container descriptions.
pub struct SpecContext {
    /// `/var/lib/kubelet`
    pub root: PathBuf,
    /// `/var/log/pods`
    pub log_root: PathBuf,
    pub api: Option<ApiClient>,
    pub node: NodeInfo,
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`; empty means none.
    pub cluster_domain: String,
    /// The host's resolver configuration; an empty path means none.
    pub resolv_conf: PathBuf,
    pub cgroup: CgroupSettings,
    pub objects: ObjectCache,
    pub services: ServiceSource,
    pub tokens: TokenManager,
    /// `seccompDefault`: a container without a profile gets the engine's default one.
    pub seccomp_default: bool,
}

/// The node as containers see it.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    pub name: String,
    /// `hostname` of the machine, which hostNetwork pods have.
    pub hostname: String,
    /// Primary first.
    pub ips: Vec<IpAddr>,
    pub allocatable: NodeAmounts,
    pub capacity: NodeAmounts,
}

/// What a container without a limit is told it may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeAmounts {
    pub cpu: Quantity,
    pub memory: Quantity,
    pub ephemeral_storage: Quantity,
}

impl SpecContext {
    /// `pods/UID`
    #[must_use]
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }
}

/// UID, or an empty text for a pod that has none, which no source produces.
#[must_use]
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[must_use]
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

#[must_use]
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[must_use]
pub fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

/// The pod has one container, and that shares no namespace with the pause process. (A hook is told the state of both.)
#[must_use]
pub fn is_alone(pod: &Pod) -> bool {
    let sharing = |spec: &PodSpec| spec.share_process_namespace.unwrap_or(false) && !spec.host_pid.unwrap_or(false);
    is_host_network(pod)
        && pod.spec.as_ref().is_some_and(|spec| {
            let hooked = spec.containers.iter().any(|container| container.lifecycle.is_some());
            spec.containers.len() == 1
                && !hooked
                && spec.init_containers.as_ref().is_none_or(Vec::is_empty)
                && !sharing(spec)
        })
}

/// A pod from a manifest file or URL, which may not use the API.
#[must_use]
pub fn is_static(pod: &Pod) -> bool {
    pod.metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("kubernetes.io/config.source"))
        .is_some_and(|source| source != "api")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_alone_when_nothing_is_shared_with_the_pause_process() {
        let one = || serde_json::json!([{"name": "c"}]);
        for (spec, expected) in [
            (serde_json::json!({"hostNetwork": true, "containers": one()}), true),
            (serde_json::json!({"hostNetwork": true, "hostPID": true, "containers": one()}), true),
            (serde_json::json!({"containers": one()}), false),
            (serde_json::json!({"hostNetwork": true, "containers": [{"name": "c", "lifecycle": {}}]}), false),
            (serde_json::json!({"hostNetwork": true, "containers": [{"name": "c"}, {"name": "d"}]}), false),
            (serde_json::json!({"hostNetwork": true, "containers": one(), "initContainers": one()}), false),
            (serde_json::json!({"hostNetwork": true, "containers": one(), "shareProcessNamespace": true}), false),
        ] {
            let pod: Pod = serde_json::from_value(serde_json::json!({"spec": spec})).expect("a pod");
            assert_eq!(is_alone(&pod), expected, "{spec}");
        }
    }
}
