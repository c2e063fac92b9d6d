//! `init`: a host with Docker becomes a control plane.

mod certs;
mod dry_run;
mod early_roles;
pub(crate) mod images;
mod kubeconfig;
pub(crate) mod kubelet_start;
mod manifests;
pub(crate) mod node;
mod prepare;
mod run;
mod serving;
mod store;
mod trouble;
mod upload_certs;
mod wait_control_plane;

pub use run::{init, preflight};
