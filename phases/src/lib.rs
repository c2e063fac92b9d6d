//! The phases of `init`, `join` and `reset`: a pure plan, a runner that journals every change to the host, and one file per phase.
//!
//! Knows hosts only through `junio-host` and Docker only through `junio-host` and `junio-bundle`; never prints.

mod changes;
mod client;
mod context;
mod error;
mod event;
pub mod fleet;
mod init;
mod join;
mod journal;
mod options;
mod patches;
mod phase_id;
mod plan;
mod preflight;
mod render;
mod reset;
mod run;
mod supervise;
#[cfg(test)]
mod test_support;
pub mod tokens;
mod wait;

pub use client::{ApiError, connect};
pub use error::{Cause, CheckFailure, ErrorClass, InPhase, PhaseError};
pub use event::{Event, Outcome, Reporter, Silent};
pub use init::{init, preflight};
pub use join::join;
pub use options::{
    InitOptions, InitReport, JoinCommand, JoinOptions, JoinReport, PreflightOptions, PreflightReport, ResetOptions,
    ResetReport, Timing,
};
pub use phase_id::{PhaseId, UnknownPhase};
pub use plan::Plan;
pub use reset::reset;
pub use supervise::supervise;
