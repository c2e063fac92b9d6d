//! `join`: a host with Docker becomes a worker of a cluster, ours or stock kubeadm's.

mod answer;
mod cluster;
mod error;
mod file_discovery;
mod host;
mod node;
mod run;
mod token_discovery;
mod verify;

pub use run::join;
