//! `PodRuntime` for Docker: each method is implemented in the file of its subject.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::client::DockerRuntime;
use super::stats::Group;
use super::{convert, error::classify};
use crate::runtime::{
    AttachRequest, ContainerConfig, ContainerId, ContainerStats, ExecOutcome, ExecRequest, LogLine, LogOptions,
    PodRuntime, RegistryAuth, Resources, RuntimeContainer, RuntimeError, RuntimeEvent, RuntimeImage, RuntimePod,
    RuntimeVersion, SandboxConfig, SandboxId, StartedSandbox, StreamSession,
};

#[async_trait]
impl PodRuntime for DockerRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        let answer =
            self.docker().version().await.map_err(|error| classify("ask version of", "engine", "docker", error))?;
        let known = self.inner.version.clone();
        Ok(RuntimeVersion { version: answer.version.unwrap_or(known.version), ..known })
    }

    async fn list_pods(&self) -> Result<Vec<RuntimePod>, RuntimeError> {
        self.all_pods().await
    }

    async fn pod(&self, uid: &str) -> Result<RuntimePod, RuntimeError> {
        self.one_pod(uid).await
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        self.event_stream()
    }

    async fn create_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId, RuntimeError> {
        self.make_sandbox(config).await
    }

    async fn start_sandbox(&self, id: &SandboxId) -> Result<StartedSandbox, RuntimeError> {
        self.run_sandbox(id).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.halt_sandbox(id).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.drop_sandbox(id).await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, RuntimeError> {
        self.make_container(sandbox, config).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.run_container(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.halt_container(id, grace).await
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<(), RuntimeError> {
        self.resize_container(id, resources).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.drop_container(id).await
    }

    async fn container(&self, id: &ContainerId) -> Result<RuntimeContainer, RuntimeError> {
        let seen = self.inspect(&id.0).await?;
        convert::container(&id.0, seen).ok_or_else(|| RuntimeError::NotFound { kind: "container", id: id.0.clone() })
    }

    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError> {
        self.run_exec(id, command, timeout).await
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<StreamSession, RuntimeError> {
        self.open_exec(id, request).await
    }

    async fn attach(&self, id: &ContainerId, request: &AttachRequest) -> Result<StreamSession, RuntimeError> {
        self.open_attach(id, request).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        self.log_stream(id, options).await
    }

    async fn dial(&self, sandbox: &SandboxId, port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        self.connect_inside(sandbox, port).await
    }

    async fn images(&self) -> Result<Vec<RuntimeImage>, RuntimeError> {
        self.list_images().await
    }

    async fn image(&self, reference: &str) -> Result<Option<RuntimeImage>, RuntimeError> {
        self.find_image(reference).await
    }

    async fn pull_image(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<String, RuntimeError> {
        self.fetch_image(reference, auth).await
    }

    async fn image_layers(&self, id: &str) -> Result<Vec<PathBuf>, RuntimeError> {
        self.layers_of(id).await
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        self.delete_image(id).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>, RuntimeError> {
        self.container_stats(&id.0, Group::Container).await
    }

    async fn pod_stats(&self, id: &SandboxId) -> Result<Option<ContainerStats>, RuntimeError> {
        self.container_stats(&id.0, Group::Pod).await
    }
}
