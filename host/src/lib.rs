//! Hosts: what they are like (facts), what can be done to them (files, programs, services, sysctls), and one lock.
//!
//! The only crate that runs programs. [`HostRead`] looks, [`Host`] changes; [`Local`] is this machine. Callers journal.

mod command;
pub mod docker;
mod error;
pub mod facts;
mod files;
pub mod firewall;
mod host;
pub mod links;
mod local;
mod lock;
pub mod mounts;
mod service;
pub mod ssh;
mod stream;
pub mod supervisor;
pub mod sysctl;

pub use command::{Command, CommandOutput};
pub use docker::Docker;
pub use error::HostError;
pub use facts::Facts;
pub use files::{create_dir, remove_file, remove_tree, write_atomic};
pub use host::{Host, HostRead, Stat};
pub use local::Local;
pub use lock::RunLock;
pub use service::{ServiceManager, ServiceSpec, ServiceTrouble};
pub use stream::run_streaming;
