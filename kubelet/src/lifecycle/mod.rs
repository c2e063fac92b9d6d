//! Lifecycle hooks of containers: postStart and preStop.

mod hook;

pub use hook::{HookError, pre_stop_of, run_hook};
