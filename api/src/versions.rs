//! Versions of what the bundle carries; they are pinned by `bundle/go/*/go.mod` and checked against it by a test.

pub const KUBERNETES: &str = "v1.36.3";
pub const ETCD: &str = "3.6.14";
pub const COREDNS: &str = "v1.14.7";
pub const FLANNEL: &str = "v0.28.4";
pub const CNI_PLUGINS: &str = "v1.9.1";
pub const PAUSE: &str = "3.10.2";

/// Oldest Docker Engine API that junio-kubelet speaks (Docker 20.10).
pub const DOCKER_API_MIN: &str = "1.41";
