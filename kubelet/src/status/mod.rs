//! What the API server is told about pods: computed by pure functions, sent by the manager.

pub mod conditions;
pub mod containers;
pub mod manager;
pub mod phase;
pub mod pod_status;
#[cfg(test)]
pub(crate) mod test_support;

pub use manager::StatusManager;
pub use pod_status::{StatusInput, Waiting, pod_status};
