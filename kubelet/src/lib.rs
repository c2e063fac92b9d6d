//! junio-kubelet: the node agent that runs pods on Docker Engine beside the stock Kubernetes control plane.

pub mod network;
pub mod runtime;
pub mod certs;
pub mod container_spec;
pub mod objects;
pub mod volume;
pub mod lifecycle;
pub mod probe;
