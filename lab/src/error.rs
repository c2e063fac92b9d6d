//! Everything that can go wrong with a lab, one variant per operation.

use std::io;
use std::path::PathBuf;

use junio_api::hint::{Code, Hint, NextStep};

/// An error of this crate. Each names the lab, host, file or command that it is about.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("{name:?} is no lab name: it needs 1 to 32 characters of a-z, 0-9 and -, a letter first and no - last")]
    Name { name: String },
    #[error("a lab needs between 1 and 200 hosts, not {hosts}")]
    HostCount { hosts: usize },
    #[error(
        "making a cluster of {control_planes} control-plane hosts and {workers} workers is not supported yet; one control-plane host is"
    )]
    ClusterShape { control_planes: usize, workers: usize },
    #[error("lab hosts need root on this machine")]
    NotRoot,
    #[error("there is no lab named {name}")]
    NotFound { name: String },
    #[error("lab {lab} has no host {host}; its hosts are {hosts}")]
    HostNotFound { lab: String, host: String, hosts: String },
    #[error("lab {name} exists already with {found}, which is not what was asked for ({wanted})")]
    Exists { name: String, found: String, wanted: String },
    #[error("Docker Engine on this machine does not answer")]
    EngineUnreachable {
        #[source]
        source: bollard::errors::Error,
    },
    #[error("Docker could not {operation}")]
    Engine {
        operation: String,
        #[source]
        source: bollard::errors::Error,
    },
    #[error("{program} is not installed on this machine")]
    ToolMissing { program: &'static str },
    #[error("{command} failed: {stderr}")]
    Tool { command: String, stderr: String },
    #[error("the image of a {suite} lab host could not be built (log: {log}): {last_line}")]
    ImageBuild { suite: &'static str, log: PathBuf, last_line: String },
    #[error("no free network for a lab is left in 10.77.0.0/16")]
    NoSubnet,
    #[error("could not {operation} {path}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the state file {path} of a lab is damaged")]
    State {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("neither XDG_STATE_HOME, XDG_CACHE_HOME nor HOME says where lab state and caches belong")]
    NoHome,
    #[error("{what} was not found at {looked}")]
    PayloadMissing { what: &'static str, looked: String },
    #[error("host {host} did not become ready: {detail}")]
    HostNotReady { host: String, detail: String },
    #[error("command on host {host} ended with {status}: {command}: {stderr}")]
    Command { host: String, command: String, status: i64, stderr: String },
    #[error("junioadm init on host {host} ended with {status}")]
    Init { lab: String, host: String, status: i64 },
    #[error("host {host} has no cluster yet: {path} is not there")]
    NoCluster { host: String, path: String },
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// True when what was asked for makes no sense: a wrong name or shape, or a lab or host that is not there.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Name { .. }
                | Self::HostCount { .. }
                | Self::ClusterShape { .. }
                | Self::NotFound { .. }
                | Self::HostNotFound { .. }
                | Self::Exists { .. }
        )
    }

    /// Wraps a file error with its operation ("read", "write", ...) and path.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// Wraps an engine error with what was being done, said as in "Docker could not ...".
    pub(crate) fn engine(operation: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Engine { operation, source }
    }
}

impl Hint for LabError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Name { .. } => "LAB-NAME",
            Self::HostCount { .. } => "LAB-HOST-COUNT",
            Self::ClusterShape { .. } => "LAB-CLUSTER-SHAPE",
            Self::NotRoot => "NOT-ROOT",
            Self::NotFound { .. } => "LAB-NOT-FOUND",
            Self::HostNotFound { .. } => "LAB-HOST-NOT-FOUND",
            Self::Exists { .. } => "LAB-EXISTS",
            Self::EngineUnreachable { .. } => "LAB-DOCKER-UNREACHABLE",
            Self::Engine { .. } => "LAB-DOCKER",
            Self::ToolMissing { .. } => "LAB-TOOL-MISSING",
            Self::Tool { .. } => "LAB-TOOL",
            Self::ImageBuild { .. } => "LAB-IMAGE-BUILD",
            Self::NoSubnet => "LAB-NO-SUBNET",
            Self::File { .. } => "LAB-FILE",
            Self::State { .. } => "LAB-STATE",
            Self::NoHome => "LAB-NO-HOME",
            Self::PayloadMissing { .. } => "LAB-PAYLOAD-MISSING",
            Self::HostNotReady { .. } => "LAB-HOST-NOT-READY",
            Self::Command { .. } => "LAB-COMMAND",
            Self::Init { .. } => "LAB-INIT",
            Self::NoCluster { .. } => "LAB-NO-CLUSTER",
            Self::Interrupted => "INTERRUPTED",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        Some(match self {
            Self::NotFound { .. } | Self::NoSubnet => NextStep::command("junioadm lab list"),
            Self::Exists { name, .. } => NextStep::command(format!("junioadm lab down {name}"))
                .because("a lab is never reshaped; take it down or choose another name"),
            Self::State { path, .. } => NextStep::command("junioadm lab down --all")
                .because(format!("{} can not be read; down works without it", path.display())),
            Self::ClusterShape { .. } => {
                NextStep::command("junioadm lab up NAME --control-planes 3 --workers 2 --hosts-only")
                    .because("hosts without a cluster can be made in any number")
            }
            Self::EngineUnreachable { .. } => NextStep::command("docker info")
                .because("a lab's hosts are containers of this machine's own Docker Engine"),
            Self::ToolMissing { program } => NextStep::command(format!("apt-get install {}", package_of(program))),
            Self::ImageBuild { log, .. } => NextStep::command(format!("less {}", log.display())),
            Self::PayloadMissing { .. } => NextStep::command("make build"),
            Self::Init { lab, host, .. } => NextStep::command(format!("junioadm lab ssh {lab} {host}"))
                .because("the host is left as it is, so that it can be looked at; `junioadm lab down` removes it"),
            Self::NoCluster { host, .. } => NextStep::command("junioadm init").because(format!("run it on {host}")),
            _ => return None,
        })
    }
}

/// The Debian package of a program that a lab calls.
fn package_of(program: &str) -> &str {
    match program {
        "ssh" | "ssh-keygen" => "openssh-client",
        other => other,
    }
}
