//! Why a volume is not there. The texts become the message of the event `FailedMount`.

use std::io;
use std::path::PathBuf;

use crate::container_spec::SpecError;
use crate::objects::ObjectError;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("volume {name:?}: {kind} volumes are not supported by this kubelet")]
    Unsupported { name: String, kind: &'static str },
    /// A static pod may not refer to the API.
    #[error("volume {name:?}: a static pod may not use {kind} volumes")]
    StaticPod { name: String, kind: &'static str },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Field(#[from] SpecError),
    #[error("references non-existent {what} key: {key}")]
    MissingKey { what: &'static str, key: String },
    #[error("hostPath type check failed: {} is not a {kind}", path.display())]
    HostPathType { path: PathBuf, kind: &'static str },
    #[error("unknown hostPath type {kind:?}")]
    HostPathKind { kind: String },
    #[error("{path:?} is not a path inside a volume")]
    Path { path: String },
    #[error("{0:?} is not the UID of a pod")]
    Uid(String),
    #[error("image {image} has {count} layers, too many for one mount")]
    Layers { image: String, count: usize },
    #[error("volume {name:?}: its image is not mounted")]
    ImageNotMounted { name: String },
    #[error("{what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl VolumeError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
