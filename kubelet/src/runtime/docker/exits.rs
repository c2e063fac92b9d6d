//! Ends that are known before the engine has recorded them: from a pidfd, some 20 ms earlier.
//!
//! Only what cannot turn out differently is taken from there: an exit code of 0, or the effect of the kubelet's own
//! signal. Everything else might have been an out-of-memory kill, which the engine alone knows; then its record is
//! awaited. What was told once stays (times included), so that a status does not change afterwards.

use std::sync::Arc;

use jiff::Timestamp;

use super::client::DockerRuntime;
use super::convert::Seen;
use super::labels::Role;
use super::naming::SANDBOX_CONTAINER;
use super::process::Process;
use crate::runtime::{ContainerState, RuntimeEvent};

impl DockerRuntime {
    /// Begins to watch a container that was seen running; once per container.
    pub(super) fn watch_exit(&self, id: &str, seen: &Seen) {
        let (ContainerState::Running { .. }, Some(pid)) = (&seen.state, seen.pid) else { return };
        if !self.watched().insert(id.to_owned()) {
            return;
        }
        let (id, weak) = (id.to_owned(), Arc::downgrade(&self.inner));
        tokio::spawn(async move {
            // Gone already, or no pidfd here: the engine's event tells.
            let Ok(process) = Process::of_container(pid, &id) else { return };
            if process.ended().await.is_err() {
                return;
            }
            let Some(inner) = weak.upgrade() else { return };
            let runtime = Self { inner };
            let code = tokio::select! {
                code = process.exit_code() => code,
                _ = runtime.recorded_end(&id) => None,
            };
            if code == Some(0) {
                runtime.note_end(&id, 0);
            }
        });
    }

    /// From now on the container is `Exited` for everyone, whatever the engine still says.
    pub(super) fn note_end(&self, id: &str, exit_code: i32) {
        let identity = {
            let mut cache = self.seen();
            let Some(seen) = cache.get_mut(id) else { return };
            let ContainerState::Running { started_at } = seen.state else { return };
            seen.pid = None;
            seen.state = ContainerState::Exited {
                started_at: Some(started_at),
                finished_at: Timestamp::now(),
                exit_code,
                oom_killed: false,
                error: String::new(),
            };
            seen.identity.clone()
        };
        let container = match identity.role {
            Role::Sandbox { .. } => SANDBOX_CONTAINER.to_owned(),
            Role::Container { name, .. } => name,
        };
        self.announced().insert(id.to_owned());
        // Nobody may be listening.
        self.inner.early.send(RuntimeEvent::Died { pod_uid: identity.pod.uid, container }).ok();
    }
}
