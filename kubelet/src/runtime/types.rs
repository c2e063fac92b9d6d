//! The values that travel between the kubelet and a container engine. No engine's own types appear here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a pod is called everywhere in the kubelet; `uid` is the identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// For a static pod this is the kubelet's own UID, not the mirror pod's.
    pub uid: String,
    pub namespace: String,
    pub name: String,
}

/// Full engine ID of a pause container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(pub String);

/// Full engine ID of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

/// Everything about a pod's sandbox that the engine must know.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    pub pod: PodRef,
    /// Counts sandboxes of the same pod from 0.
    pub attempt: u32,
    pub hostname: String,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// All containers share one PID namespace, whose PID 1 is the pause process.
    pub share_pid: bool,
    /// `None`: the engine's default. Otherwise a cgroupfs path or a systemd slice, as the driver wants it.
    pub cgroup_parent: Option<String>,
    pub sysctls: BTreeMap<String, String>,
    pub port_mappings: Vec<PortMapping>,
    /// Name of an engine runtime, from the pod's RuntimeClass.
    pub runtime_handler: Option<String>,
}

/// A hostPort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    pub host_port: u16,
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    pub host_ip: String,
}

/// A sandbox that runs.
#[derive(Debug, Clone)]
pub struct StartedSandbox {
    /// Host PID of the pause process.
    pub pid: i32,
    /// `/proc/PID/ns/net`.
    pub netns: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ContainerKind {
    Init,
    #[default]
    App,
    Ephemeral,
}

/// Everything about a container that the engine must know; all references are resolved.
#[derive(Debug, Clone, Default)]
pub struct ContainerConfig {
    pub pod: PodRef,
    pub name: String,
    pub kind: ContainerKind,
    /// The restart count, which is also the log file's number.
    pub attempt: u32,
    /// What the engine is asked for: an image ID or reference that is present.
    pub image: String,
    /// `command` of the spec: overrides the image's entrypoint when not empty.
    pub command: Vec<String>,
    /// `args` of the spec: overrides the image's cmd when not empty.
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    /// `UID` or `UID:GID`; `None` is the image's.
    pub user: Option<String>,
    pub supplemental_groups: Vec<i64>,
    pub privileged: bool,
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub apparmor: Option<String>,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    pub resources: Resources,
    pub cgroup_parent: Option<String>,
    pub pid_mode: PidMode,
    pub host_network: bool,
    /// The only container of a pod on the host's network: it shares no namespace with the pause process, so it can be
    /// started before that runs.
    pub alone: bool,
    pub host_ipc: bool,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub stop_signal: Option<String>,
    /// Hash of the container's spec; a running container with another hash is restarted.
    pub hash: String,
    /// Kept as engine labels and returned in `RuntimeContainer::annotations`: what a restarted kubelet must know.
    pub annotations: BTreeMap<String, String>,
    /// `/var/log/pods/NS_NAME_UID/CONTAINER/ATTEMPT.log`; the engine's log is linked there.
    pub log_path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: String,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    #[default]
    Private,
    /// `rslave`
    HostToContainer,
    /// `rshared`
    Bidirectional,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    /// The profile's JSON.
    Localhost(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PidMode {
    #[default]
    Own,
    Host,
    /// The sandbox's (shareProcessNamespace).
    Sandbox,
    /// Another container's (ephemeral containers with a target).
    Container(ContainerId),
}

/// Limits in the engine's units; 0 means unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    pub cpu_shares: i64,
    /// Microseconds per `cpu_period`.
    pub cpu_quota: i64,
    pub cpu_period: i64,
    /// Bytes.
    pub memory: i64,
    pub oom_score_adj: i64,
    pub pids: i64,
}

impl Resources {
    /// The part that can change while the container runs.
    #[must_use]
    pub fn applied(&self) -> Applied {
        Applied { cpu_shares: self.cpu_shares, cpu_quota: self.cpu_quota, memory: self.memory }
    }
}

/// What the engine holds a container to; 0 means unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    pub cpu_shares: i64,
    pub cpu_quota: i64,
    pub memory: i64,
}

/// A pod as the engine has it.
#[derive(Debug, Clone, Default)]
pub struct RuntimePod {
    pub pod: PodRef,
    /// Newest first.
    pub sandboxes: Vec<RuntimeSandbox>,
    /// Newest first, of all sandboxes.
    pub containers: Vec<RuntimeContainer>,
}

#[derive(Debug, Clone)]
pub struct RuntimeSandbox {
    pub id: SandboxId,
    pub attempt: u32,
    pub ready: bool,
    pub created_at: Timestamp,
    /// Host PID of the pause process while it runs.
    pub pid: Option<i32>,
    pub host_network: bool,
}

#[derive(Debug, Clone)]
pub struct RuntimeContainer {
    pub id: ContainerId,
    pub sandbox: SandboxId,
    pub pod: PodRef,
    pub name: String,
    pub kind: ContainerKind,
    pub attempt: u32,
    pub hash: String,
    pub state: ContainerState,
    /// The reference it was created with.
    pub image: String,
    /// Image ID, `sha256:...`.
    pub image_id: String,
    pub created_at: Timestamp,
    /// Host PID of the main process while it runs.
    pub pid: Option<i32>,
    pub annotations: BTreeMap<String, String>,
    pub tty: bool,
    pub stdin: bool,
    pub applied: Applied,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running { started_at: Timestamp },
    Exited { started_at: Option<Timestamp>, finished_at: Timestamp, exit_code: i32, oom_killed: bool, error: String },
}

/// What happened to which pod. Events only say "look again"; the facts come from `PodRuntime::pod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    Started {
        pod_uid: String,
        container: String,
    },
    Died {
        pod_uid: String,
        container: String,
    },
    Removed {
        pod_uid: String,
        container: String,
    },
    /// Events may have been missed: look at everything again.
    Resync,
    /// The engine does not answer; the text is the cause.
    Down(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// `docker`
    pub name: String,
    /// `20.10.24`
    pub version: String,
    pub api_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Names of the engine's runtimes (`runc`, ...).
    pub runtimes: Vec<String>,
    /// Where images and containers are kept, for disk figures.
    pub root_dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutcome {
    /// Output is stdout and stderr interleaved, cut at 16 KiB.
    Exited {
        code: i32,
        output: Vec<u8>,
    },
    TimedOut {
        output: Vec<u8>,
    },
}

#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Live streams of an exec or attach. Dropping it closes the connection to the engine, not the process.
pub struct StreamSession {
    /// Shutting it down is the half-close: the process reads end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// `None` with a terminal, which merges both.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Send terminal sizes here.
    pub resize: Option<tokio::sync::mpsc::Sender<TerminalSize>>,
    /// Resolves after the process has ended and all output was read: the exit code. An attach resolves with 0.
    pub exit: futures::future::BoxFuture<'static, Result<i32, RuntimeError>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub timestamp: Timestamp,
    pub stderr: bool,
    /// With its newline, if it had one.
    pub text: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeImage {
    /// `sha256:...`
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub size: u64,
    /// `USER` of the image config.
    pub user: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: junio_api::Secret<String>,
    pub server: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContainerStats {
    pub cpu_usage_nanos: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
}

/// An engine call that failed. The texts name the object; the source is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("container engine does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no such {kind} {id}")]
    NotFound { kind: &'static str, id: String },
    #[error("image {reference} is not present")]
    ImageAbsent { reference: String },
    /// The engine understood and refused; `message` is its own text.
    #[error("{operation} {object}: {message}")]
    Refused { operation: &'static str, object: String, message: String },
    #[error("{operation} {object}")]
    Io {
        operation: &'static str,
        object: String,
        #[source]
        source: std::io::Error,
    },
}
