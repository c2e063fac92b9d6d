//! Every file and object that a cluster starts from: static pods, kubelet files, unit, add-ons, RBAC, ConfigMaps.
//!
//! Shape is in `tera/*.tera`, one typed struct here per file; decisions are in Rust. Kubernetes objects are parsed back
//! into their k8s-openapi type before they leave this crate, and a field that got lost on the way is an error. Pure
//! functions: no I/O, no clock, no host.

pub mod bootstrap;
pub mod component_config;
pub mod control_plane;
pub mod coredns;
pub mod error;
pub mod etcd;
pub mod flags;
pub mod flannel;
pub mod kube_proxy;
pub mod kubelet_files;
pub mod node;
pub mod patch;
pub mod static_pod;
pub mod upload_certs;
pub mod upload_config;

mod engine;
mod objects;

pub use control_plane::EtcdBackend;
pub use error::TemplateError;
pub use etcd::{EtcdCluster, EtcdOptions};
pub use flags::Extra;
pub use objects::Object;
pub use static_pod::{CA_DIRECTORIES, ControlPlaneHost};
