//! Graceful node shutdown: systemd-logind is asked to wait while pods end in the order of their priority. The node says
//! that it is not ready and takes no pods meanwhile. Source of rules and texts: upstream `pkg/kubelet/nodeshutdown`.

mod groups;
mod logind;
mod manager;

pub use logind::ShutdownError;
pub use manager::ShutdownManager;
