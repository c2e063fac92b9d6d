//! The API server's own roles, written by us a second before it would do so.
//!
//! A starting API server waits a second, then writes some 170 roles and bindings one after another; controller manager and
//! scheduler are refused until then, and back off. It takes orders from a super-admin from its first answer on, so the same
//! objects, which the bundle carries as upstream's own code prints them, are written all at once while it waits. It then
//! finds nothing to do. Without a bundle at hand it does what it always does, and we wait for it.

use std::time::Duration;

use junio_bundle::BOOTSTRAP_ROLES;
use kube::Client;
use serde_json::Value;

use super::wait_control_plane::look;
use crate::client::create_all;
use crate::context::Context;
use crate::error::{Cause, InPhase, PhaseError};
use crate::phase_id::PhaseId;
use crate::wait::Wait;

const LOOK: Duration = Duration::from_millis(25);
/// Written by another hook of the API server, which waits for the same second.
const HOOKS_RUN: &str = "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical";

/// The roles are there; `false`: they are left to the API server.
pub(super) async fn write(ctx: &Context<'_>, client: &Client) -> Result<bool, Cause> {
    let roles = match &ctx.bundle {
        Some(bundle) if bundle.manifest().file(BOOTSTRAP_ROLES).is_some() => {
            bundle.read(BOOTSTRAP_ROLES).map_err(Cause::other)?
        }
        _ => return Ok(false),
    };
    let roles: Vec<Value> = serde_json::from_slice(&roles).map_err(|error| Cause::Config(error.to_string()))?;
    create_all(client, &roles, ctx.plan.timeouts.control_plane).await?;
    Ok(true)
}

/// The API server is healthy or, given its roles, about to be: what is left to it takes less time than a container's start.
pub(super) async fn soon_healthy(ctx: &Context<'_>, client: &Client, written: bool) -> Result<(), PhaseError> {
    let what = "the API server's hooks after its start".to_owned();
    let path = if written { HOOKS_RUN } else { "/readyz" };
    let (phase, deadline) = (PhaseId::WaitControlPlane, ctx.plan.timeouts.control_plane);
    let wait = Wait { run: ctx.run, phase, what, deadline, interval: LOOK };
    wait.until(|| look(client, path)).await.in_phase(phase)
}
