//! Throw-away hosts on one machine: systemd containers with their own sshd and Docker Engine, on a bridge of their own.
//!
//! Owns everything that a lab makes on the machine (containers, volumes, one network, one firewall rule, one state directory)
//! and takes all of it away again. Docker's labels are the truth about what exists; the state directory only holds keys and
//! what cannot be put on a label. Knows nothing of phases: a cluster in a lab is made by the `junioadm` binary on a host.

mod address;
mod cluster;
mod copy;
mod down;
mod engine;
mod error;
mod exec;
mod fault;
mod firewall;
mod host;
mod image;
mod lab;
mod list;
mod machine;
mod name;
mod network;
mod payload;
mod progress;
mod ssh;
mod state;
mod up;

pub use cluster::CLUSTER_POD_SUBNET;
pub use down::{down, down_all};
pub use error::LabError;
pub use exec::{ExecOutput, OutputStream};
pub use host::{FirstProcess, LabHost};
pub use image::Suite;
pub use lab::Lab;
pub use list::{LabSummary, list};
pub use name::LabName;
pub use payload::Payload;
pub use progress::{NoProgress, Progress};
pub use up::{UpOptions, up};
