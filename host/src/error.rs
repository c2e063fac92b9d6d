//! What can go wrong on a host.

use std::io;
use std::path::PathBuf;

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};

/// One operation on a host that failed, with its nouns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", .path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot start {program}")]
    Spawn { program: String, source: io::Error },
    #[error("{command} ended with {status}: {stderr}")]
    Command { command: String, status: String, stderr: String },
    #[error("{command} did not end within {seconds}s")]
    CommandTimeout { command: String, seconds: u64 },
    #[error("another run holds the lock {}: {owner}", .path.display())]
    Locked { path: PathBuf, owner: String },
    #[error("kernel call {call} failed")]
    Kernel { call: &'static str, source: io::Error },
    #[error("Docker on {} does not answer", .socket.display())]
    DockerUnreachable { socket: PathBuf, source: bollard::errors::Error },
    #[error("Docker could not {operation}")]
    Docker { operation: String, source: bollard::errors::Error },
    #[error("the saved description of service {name} is damaged")]
    ServiceDescription { name: String, source: serde_json::Error },
}

impl Hint for HostError {
    fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code("FILE-READ"),
            Self::Write { .. } => Code("FILE-WRITE"),
            Self::Remove { .. } => Code("FILE-REMOVE"),
            Self::Spawn { .. } => Code("PROGRAM-MISSING"),
            Self::Command { .. } => Code("COMMAND-FAILED"),
            Self::CommandTimeout { .. } => Code("COMMAND-TIMEOUT"),
            Self::Locked { .. } => Code("LOCKED"),
            Self::Kernel { .. } => Code("KERNEL"),
            Self::DockerUnreachable { .. } => Code("DOCKER-UNREACHABLE"),
            Self::Docker { .. } => Code("DOCKER"),
            Self::ServiceDescription { .. } => Code("SERVICE-DESCRIPTION"),
        }
    }

    fn next_step(&self) -> Option<NextStep> {
        match self {
            Self::DockerUnreachable { .. } => {
                Some(NextStep::command("systemctl status docker").because("Docker Engine must run on this host"))
            }
            Self::Locked { .. } => {
                Some(NextStep::default().because("wait for the other run to end; the lock goes away with its process"))
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(NextStep::command("df -h"))
            }
            _ => None,
        }
    }
}
