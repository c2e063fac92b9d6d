//! junio-kubelet: the node agent that runs pods on Docker Engine beside the stock Kubernetes control plane.

pub mod certs;
pub mod config;
pub mod container_spec;
pub mod error;
pub mod error_chain;
pub mod events;
pub mod eviction;
pub mod gc;
pub mod kubelet;
pub mod lifecycle;
pub mod network;
pub mod node;
pub mod objects;
pub mod pod;
pub mod probe;
pub mod runtime;
mod serve;
pub mod server;
pub mod setup;
pub mod shutdown;
pub mod source;
pub mod status;
pub mod sync_loop;
pub mod volume;
