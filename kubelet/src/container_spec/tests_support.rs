//! A context on a temporary directory, for the tests of volumes and containers.

use std::sync::Arc;

use tempfile::TempDir;

use super::cgroup::{CgroupDriver, CgroupSettings};
use super::context::{NodeAmounts, NodeInfo, SpecContext};
use crate::objects::{ObjectCache, ServiceSource, TokenManager};

/// A standalone node `node-1` with 2 CPUs, 4 GiB, and the service `default/kubernetes`.
pub fn context() -> (TempDir, Arc<SpecContext>) {
    let dir = tempfile::tempdir().expect("a directory");
    let resolv = dir.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a resolver file");
    let amounts = NodeAmounts {
        cpu: "2".parse().expect("a quantity"),
        memory: "4Gi".parse().expect("a quantity"),
        ephemeral_storage: "10Gi".parse().expect("a quantity"),
    };
    let kubernetes = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    }))
    .expect("a service");
    let ctx = SpecContext {
        root: dir.path().join("kubelet"),
        log_root: dir.path().join("logs"),
        api: None,
        node: NodeInfo {
            name: "node-1".to_owned(),
            hostname: "node-1".to_owned(),
            ips: vec!["10.0.0.1".parse().expect("an address")],
            allocatable: amounts,
            capacity: amounts,
        },
        cluster_dns: vec!["10.96.0.10".parse().expect("an address")],
        cluster_domain: "cluster.local".to_owned(),
        resolv_conf: resolv,
        cgroup: CgroupSettings { driver: CgroupDriver::Cgroupfs, ..CgroupSettings::default() },
        objects: ObjectCache::new(None),
        services: ServiceSource::fixed(vec![kubernetes]),
        tokens: TokenManager::new(None),
        seccomp_default: false,
    };
    (dir, Arc::new(ctx))
}
