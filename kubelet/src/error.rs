//! Why the kubelet cannot start or go on.

use std::path::PathBuf;

use crate::certs::CertsError;
use crate::config::ConfigError;
use crate::container_spec::CgroupError;
use crate::eviction::ThresholdError;
use crate::runtime::RuntimeError;
use crate::server::ServerError;

/// Why the kubelet ended.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--register-with-taints: {0:?} is no taint")]
    Taint(String),
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("container engine at {}", socket.display())]
    Engine {
        socket: PathBuf,
        #[source]
        source: RuntimeError,
    },
    #[error(transparent)]
    Certs(#[from] CertsError),
    #[error("control groups")]
    Cgroups(#[source] CgroupError),
    #[error("HTTPS server")]
    Server(#[from] ServerError),
    #[error("eviction settings")]
    Threshold(#[source] ThresholdError),
    #[error("task {0} ended")]
    Task(&'static str),
}
