//! What the kubelet asks of a container engine. Docker is the one implementation (`docker/`).

mod types;

pub mod docker;

pub use types::*;

use async_trait::async_trait;
use futures::stream::BoxStream;
use std::path::PathBuf;
use std::time::Duration;

/// The engine behind the pods. All methods are safe to call again: creating what exists under the same name and attempt
/// adopts it, stopping or removing what is gone succeeds.
#[async_trait]
pub trait PodRuntime: Send + Sync + 'static {
    /// Engine name and versions; also proves that the engine answers.
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError>;

    /// Every pod that this kubelet has on the engine, dead ones included.
    async fn list_pods(&self) -> Result<Vec<RuntimePod>, RuntimeError>;

    /// One pod by UID; an empty `RuntimePod` when the engine has nothing of it.
    async fn pod(&self, uid: &str) -> Result<RuntimePod, RuntimeError>;

    /// Changes as they happen: an endless stream that reconnects by itself and yields `Event::Resync` after each gap.
    fn events(&self) -> BoxStream<'static, RuntimeEvent>;

    /// Creates the pause container (not started yet): containers of the pod may be created from now on.
    async fn create_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId, RuntimeError>;

    /// Starts the pause container and returns its process, whose network namespace is the pod's.
    async fn start_sandbox(&self, id: &SandboxId) -> Result<StartedSandbox, RuntimeError>;

    /// Kills the pause container and everything that is still in the sandbox.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Removes the (stopped) pause container.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Creates a container in a sandbox that exists, started or not. The image must be present.
    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, RuntimeError>;

    /// Starts a created container; its sandbox must be running.
    async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Sends the stop signal, waits up to `grace`, then kills; returns when the container is dead.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError>;

    /// Changes the limits of a running container, in place. What is 0 in `resources` stays as it is.
    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<(), RuntimeError>;

    /// Removes a dead container and its log links.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// The present state of one container.
    async fn container(&self, id: &ContainerId) -> Result<RuntimeContainer, RuntimeError>;

    /// Runs a command to its end, for probes and hooks. A timeout kills the process and is `ExecOutcome::TimedOut`.
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError>;

    /// Runs a command with streams, for `kubectl exec`.
    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<StreamSession, RuntimeError>;

    /// Joins the streams of the container's main process, for `kubectl attach`.
    async fn attach(&self, id: &ContainerId, request: &AttachRequest) -> Result<StreamSession, RuntimeError>;

    /// The container's output, oldest first, already selected by `options`. Ends when the output ends, or, with
    /// `follow`, when the container has ended and everything was sent.
    async fn logs(
        &self,
        id: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError>;

    /// Opens a TCP connection to `port` on the pod's loopback, from inside its network namespace.
    async fn dial(&self, sandbox: &SandboxId, port: u16) -> Result<tokio::net::TcpStream, RuntimeError>;

    /// All images.
    async fn images(&self) -> Result<Vec<RuntimeImage>, RuntimeError>;

    /// One image by reference or ID; `None` when it is absent.
    async fn image(&self, reference: &str) -> Result<Option<RuntimeImage>, RuntimeError>;

    /// Pulls an image and returns its ID. `auth` is the registry credential, if any.
    async fn pull_image(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<String, RuntimeError>;

    /// Directories of the unpacked layers, topmost first; they stay as long as the image does.
    async fn image_layers(&self, id: &str) -> Result<Vec<PathBuf>, RuntimeError>;

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError>;

    /// CPU and memory now, read from the container's cgroup; `None` when it does not run.
    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>, RuntimeError>;

    /// Use of the control group that all containers of a sandbox are in; `None` if it does not run or has no such group.
    async fn pod_stats(&self, id: &SandboxId) -> Result<Option<ContainerStats>, RuntimeError>;
}
