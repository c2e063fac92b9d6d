//! `init`: a host with Docker becomes a control plane.

mod certs;
mod dry_run;
mod early_roles;
mod images;
mod kubeconfig;
mod kubelet_start;
mod manifests;
mod node;
mod prepare;
mod run;
mod store;
mod trouble;
mod upload_certs;
mod wait_control_plane;

pub use run::{init, preflight};
