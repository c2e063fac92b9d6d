//! A runtime that only knows how to answer commands.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::runtime::*;

/// Answers commands with what was queued, then with success.
#[derive(Default)]
pub struct FakeRuntime {
    answers: Mutex<VecDeque<ExecOutcome>>,
    calls: Mutex<usize>,
}

impl FakeRuntime {
    pub fn answer(&self, outcome: ExecOutcome) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(outcome);
    }

    pub fn calls(&self) -> usize {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn none<T>() -> Result<T, RuntimeError> {
    Err(RuntimeError::NotFound { kind: "thing", id: "any".to_owned() })
}

#[async_trait]
impl PodRuntime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        none()
    }
    async fn list_pods(&self) -> Result<Vec<RuntimePod>, RuntimeError> {
        none()
    }
    async fn pod(&self, _: &str) -> Result<RuntimePod, RuntimeError> {
        none()
    }
    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        futures::stream::pending().boxed()
    }
    async fn create_sandbox(&self, _: &SandboxConfig) -> Result<SandboxId, RuntimeError> {
        none()
    }
    async fn start_sandbox(&self, _: &SandboxId) -> Result<StartedSandbox, RuntimeError> {
        none()
    }
    async fn stop_sandbox(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        none()
    }
    async fn remove_sandbox(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        none()
    }
    async fn create_container(&self, _: &SandboxId, _: &ContainerConfig) -> Result<ContainerId, RuntimeError> {
        none()
    }
    async fn start_container(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        none()
    }
    async fn stop_container(&self, _: &ContainerId, _: Duration) -> Result<(), RuntimeError> {
        none()
    }
    async fn update_container(&self, _: &ContainerId, _: &Resources) -> Result<(), RuntimeError> {
        none()
    }
    async fn remove_container(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        none()
    }
    async fn container(&self, _: &ContainerId) -> Result<RuntimeContainer, RuntimeError> {
        none()
    }
    async fn exec_sync(&self, _: &ContainerId, _: &[String], _: Duration) -> Result<ExecOutcome, RuntimeError> {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let queued = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(queued.unwrap_or(ExecOutcome::Exited { code: 0, output: Vec::new() }))
    }
    async fn exec(&self, _: &ContainerId, _: &ExecRequest) -> Result<StreamSession, RuntimeError> {
        none()
    }
    async fn attach(&self, _: &ContainerId, _: &AttachRequest) -> Result<StreamSession, RuntimeError> {
        none()
    }
    async fn logs(
        &self,
        _: &ContainerId,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        none()
    }
    async fn dial(&self, _: &SandboxId, _: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        none()
    }
    async fn images(&self) -> Result<Vec<RuntimeImage>, RuntimeError> {
        none()
    }
    async fn image(&self, _: &str) -> Result<Option<RuntimeImage>, RuntimeError> {
        none()
    }
    async fn pull_image(&self, _: &str, _: Option<&RegistryAuth>) -> Result<String, RuntimeError> {
        none()
    }
    async fn image_layers(&self, _: &str) -> Result<Vec<std::path::PathBuf>, RuntimeError> {
        none()
    }
    async fn remove_image(&self, _: &str) -> Result<(), RuntimeError> {
        none()
    }
    async fn stats(&self, _: &ContainerId) -> Result<Option<ContainerStats>, RuntimeError> {
        none()
    }

    async fn pod_stats(&self, _: &SandboxId) -> Result<Option<ContainerStats>, RuntimeError> {
        Ok(None)
    }
}
