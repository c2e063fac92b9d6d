//! Why a container cannot be described to the engine.

use std::path::PathBuf;

use crate::objects::ObjectError;

/// Displays as the message of the container's waiting state; [`SpecError::reason`] is its reason.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("couldn't find key {key} in {object}")]
    MissingKey { key: String, object: String },
    #[error("unsupported field {path:?} in a fieldRef")]
    UnknownField { path: String },
    #[error("unsupported resource {resource:?} in a resourceFieldRef")]
    UnknownResource { resource: String },
    #[error("no container {name:?} for a resourceFieldRef")]
    UnknownContainer { name: String },
    #[error("environment variable {name}: {what} is not supported by this kubelet")]
    UnsupportedEnvironment { name: String, what: &'static str },
    /// Services decide environment variables; starting without them would be wrong for the container's whole life.
    #[error("services have not yet been read at least once, cannot construct envvars")]
    ServicesUnknown,
    #[error("{0}")]
    NonRoot(String),
    #[error("volume {name:?} of a mount at {path} is not mounted")]
    VolumeMissing { name: String, path: String },
    #[error("subPath {text:?}: {problem}")]
    SubPath { text: String, problem: String },
    #[error("seccomp profile {}", path.display())]
    SeccompProfile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("fully qualified hostname {name} is longer than 64 characters")]
    HostnameTooLong { name: String },
    #[error("{what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("runtime class {name}: {message}")]
    RuntimeClass { name: String, message: String },
    #[error("pod has no spec")]
    NoSpec,
}

impl SpecError {
    /// `CreateContainerConfigError`: what is wrong is in the manifest or in what it names, and may be put right there.
    /// `CreateContainerError`: this host failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "CreateContainerError",
            _ => "CreateContainerConfigError",
        }
    }
}
