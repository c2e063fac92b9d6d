//! Keeps the node alive when memory, disk, inodes or process ids run short: reclaims, then ends pods one at a time.
//!
//! `threshold`, `tracker`, `rank`, `message` and `admission` are pure; `observation` and `usage` read the host; `manager`
//! owns the state and acts. The node's pressure conditions are decided here and nowhere else. Source of rules and texts:
//! upstream `pkg/kubelet/eviction`.

mod admission;
mod limits;
mod manager;
mod message;
mod observation;
mod rank;
mod signal;
mod threshold;
mod tracker;
mod usage;

pub use admission::admit;
pub use manager::{EvictionManager, EvictionParts, EvictionSettings};
pub use observation::{Observation, Observations, Places};
pub use signal::{Pressure, Resource, Signal};
pub use threshold::{Amount, Threshold, ThresholdError, thresholds};
pub use tracker::Tracker;

/// Reason of evicted pods, and of pods that a node under pressure refuses.
pub const EVICTED: &str = "Evicted";
