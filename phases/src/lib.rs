//! The phases of `init` and `reset`: a pure plan, a runner that journals every change to the host, and one file per phase.
//!
//! Knows hosts only through `junio-host` and Docker only through `junio-bundle`; never prints.

mod error;
mod event;
mod options;
mod phase_id;

pub use error::{Cause, CheckFailure, ErrorClass, InPhase, PhaseError};
pub use event::{Event, Outcome, Reporter, Silent};
pub use options::{InitOptions, InitReport, JoinCommand, PreflightOptions, PreflightReport, ResetOptions, ResetReport, Timing};
pub use phase_id::{PhaseId, UnknownPhase};
