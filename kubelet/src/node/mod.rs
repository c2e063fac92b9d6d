//! The Node object: what this machine is, that it lives, and whether it can take pods.

pub mod addresses;
pub mod capacity;
pub mod conditions;
pub mod engine;
pub mod healthz;
pub mod lease;
pub mod machine;
pub mod manager;
pub mod registration;
pub mod status;
