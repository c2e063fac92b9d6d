//! What the kubelet is told: the command line and the `KubeletConfiguration` file.

mod file;
mod flags;

pub use file::{ConfigError, KubeletConfiguration, Limits, load, signal_bytes};
pub use flags::Flags;
