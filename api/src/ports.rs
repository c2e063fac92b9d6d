//! TCP and UDP ports of a cluster's components.

pub const APISERVER: u16 = 6443;
pub const ETCD_CLIENT: u16 = 2379;
pub const ETCD_PEER: u16 = 2380;
pub const ETCD_METRICS: u16 = 2381;
pub const KUBELET: u16 = 10250;
pub const KUBELET_HEALTHZ: u16 = 10248;
pub const CONTROLLER_MANAGER: u16 = 10257;
pub const SCHEDULER: u16 = 10259;
/// UDP, flannel's VXLAN.
pub const VXLAN: u16 = 8472;
