//! Ending containers: the signal goes straight to the process by pidfd, the exit is seen by pidfd, and the engine is
//! awaited only until it has recorded the end (then exit code and removal are available).

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{KillContainerOptionsBuilder, WaitContainerOptionsBuilder};
use futures::StreamExt;
use rustix::process::Signal;

use super::client::DockerRuntime;
use super::convert::Seen;
use super::error::{classify, gone_is_done};
use super::process::{Process, named_signal};
use crate::runtime::{ContainerId, ContainerState, RuntimeError};

const DEFAULT_SIGNAL: &str = "SIGTERM";

impl DockerRuntime {
    pub(super) async fn halt_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let Some(seen) = self.running(&id.0).await? else { return Ok(()) };
        if grace.is_zero() {
            return self.end(&id.0, &seen, None).await;
        }
        let signal = seen.stop_signal.clone().unwrap_or_else(|| DEFAULT_SIGNAL.to_owned());
        self.end(&id.0, &seen, Some((&signal, grace))).await
    }

    /// SIGKILL, and wait until the engine knows.
    pub(super) async fn kill(&self, id: &str) -> Result<(), RuntimeError> {
        match self.running(id).await? {
            Some(seen) => self.end(id, &seen, None).await,
            None => Ok(()),
        }
    }

    /// Resolves when the engine has recorded that the container does not run; at once for one that never ran.
    pub(super) async fn recorded_end(&self, id: &str) -> Result<(), RuntimeError> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut answers = Box::pin(self.docker().wait_container(id, Some(options)));
        match answers.next().await {
            // A code above 0 is an error for bollard.
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => gone_is_done(Err(classify("wait for", "container", id, error))),
        }
    }

    async fn running(&self, id: &str) -> Result<Option<Seen>, RuntimeError> {
        match self.inspect(id).await {
            Ok(seen) if matches!(seen.state, ContainerState::Running { .. }) => Ok(Some(seen)),
            Ok(_) | Err(RuntimeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn end(&self, id: &str, seen: &Seen, polite: Option<(&str, Duration)>) -> Result<(), RuntimeError> {
        // Without a pidfd (ended just now, or a cgroup that is not named after the container) the engine has to do it.
        let process = seen.pid.and_then(|pid| Process::of_container(pid, id).ok());
        let ended = async {
            let Some(process) = &process else { return self.recorded_end(id).await };
            if let Err(error) = process.ended().await {
                tracing::debug!(%error, container = id, "pidfd gives no events");
                return self.recorded_end(id).await;
            }
            let ours = polite.map_or(Some(Signal::KILL), |(name, _)| named_signal(name)).map(Signal::as_raw);
            tokio::select! {
                code = process.exit_code() => match code {
                    Some(code) if code == 0 || ours.is_some_and(|signal| code == 128 + signal) => {
                        self.note_end(id, code);
                        Ok(())
                    }
                    _ => self.recorded_end(id).await,
                },
                result = self.recorded_end(id) => result,
            }
        };
        tokio::pin!(ended);
        if let Some((signal, grace)) = polite {
            self.signal(id, process.as_ref(), signal).await?;
            if let Ok(result) = tokio::time::timeout(grace, &mut ended).await {
                return result;
            }
        }
        self.signal(id, process.as_ref(), "SIGKILL").await?;
        ended.await
    }

    async fn signal(&self, id: &str, process: Option<&Process>, name: &str) -> Result<(), RuntimeError> {
        if let Some(process) = process
            && let Some(signal) = named_signal(name)
            && process.signal(signal).is_ok()
        {
            return Ok(());
        }
        let options = KillContainerOptionsBuilder::default().signal(name).build();
        match self.docker().kill_container(id, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: super::error::CONFLICT, .. }) | Ok(()) => Ok(()),
            Err(error) => gone_is_done(Err(classify("kill", "container", id, error))),
        }
    }
}
