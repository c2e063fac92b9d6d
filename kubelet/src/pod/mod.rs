//! Pods: what is known of them, and the workers that make it real.

pub mod actions;
pub mod admission;
pub mod allocation;
pub mod backoff;
pub mod context;
pub mod end;
pub mod facts;
pub mod image_volumes;
pub mod images;
pub mod kill;
pub mod messages;
pub mod mirror;
pub mod resize;
pub mod start;
pub mod start_slots;
pub mod state;
pub mod store;
pub mod sync;
pub mod terminate;
pub mod worker;

pub use store::PodStore;
