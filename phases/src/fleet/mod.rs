//! Many hosts from one place: `join --ssh`, `apply`, `reset --ssh`.
//!
//! Nothing of `init`, `join` and `reset` is done from afar. junioadm is put on the host, with what the host lacks of the bundle,
//! and runs there as a person would run it; its events and its report come back. See docs/adr/0005.

mod access;
mod agent;
mod apply;
mod asking;
mod control_plane;
mod delivery;
mod error;
mod event;
mod inventory;
mod machine;
mod marks;
mod options;
mod prune;
mod report;
mod reset;
mod worker;

pub use agent::{assemble, forget};
pub use apply::{ApplyCluster, JoinHosts, apply_cluster, join_hosts};
pub use control_plane::ControlPlaneHost;
pub use error::{FleetError, HostFailure};
pub use event::{FleetEvent, FleetReporter};
pub use inventory::{HeldBundle, HeldFile, Inventory, Membership, inventory};
pub use options::{FleetHost, FleetOptions, Marks, Way};
pub use report::{FleetReport, HostReport, HostResult, Step};
pub use reset::{ResetHosts, reset_hosts};
