//! The kubelet's HTTPS server on port 10250. It reads the kubelet's state and never changes it.
//!
//! Source of paths, parameters and texts: `pkg/kubelet/server` of Kubernetes v1.36.

mod authentication;
mod authorization;
mod error;
mod exec;
mod files;
mod listener;
mod logs;
mod lookup;
mod metrics;
mod pods;
mod port_forward;
mod query;
mod router;
mod state;
mod stats;
pub mod stream;
mod tls;
mod usage;

pub use authentication::Identity;
pub use error::ServerError;
pub use listener::serve;
pub use state::{AuthorizationMode, ServerOptions, ServerState};
pub use tls::ServingCertificate;
