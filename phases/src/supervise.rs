//! The supervisor of hosts without systemd, for the command line to call.

use junio_api::Layout;

use crate::error::{Cause, PhaseError};

/// Keeps the service `name` running until it is told to stop by a signal.
pub async fn supervise(layout: &Layout, name: &str) -> Result<(), PhaseError> {
    let ended = junio_host::supervisor::run(layout, name).await;
    ended.map_err(|error| PhaseError { phase: None, cause: Box::new(Cause::from(error)) })
}
