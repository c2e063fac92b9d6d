//! What the kubelet is told: the command line and the `KubeletConfiguration` file.

mod effective;
mod file;
mod flags;
mod pressure;

pub use file::{ConfigError, KubeletConfiguration, Limits, ShutdownGrace, load, signal_bytes};
pub use flags::Flags;
