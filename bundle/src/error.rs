//! Everything that can be wrong with a bundle or with the Docker that its images go to.

use std::path::PathBuf;

use junio_api::hint::{Code, Hint, NextStep};

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("there is no bundle at {path}")]
    Missing { path: PathBuf },
    #[error("{path} is not a junioadm bundle: {reason}")]
    NotABundle { path: PathBuf, reason: &'static str },
    #[error("{path} has bundle format {found}, this program reads format {supported}")]
    Format { path: PathBuf, found: u32, supported: u32 },
    #[error("the bundle {path} is damaged: {part} has sha256 {found}, expected {expected}")]
    Corrupt { path: PathBuf, part: String, expected: String, found: String },
    #[error("the bundle {path} is damaged: {part} ends early")]
    Truncated { path: PathBuf, part: String },
    #[error("the bundle {path} holds only what this host lacked when it was sent, and {part} is not in it")]
    Absent { path: PathBuf, part: String },
    #[error("the manifest of the bundle {path} cannot be read")]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error("the manifest of the bundle {path} contradicts itself: {reason}")]
    Inconsistent { path: PathBuf, reason: String },
    #[error("the bundle has no image {reference}")]
    NoImage { reference: String },
    #[error("the bundle has no file {name}")]
    NoFile { name: String },
    #[error("cannot {operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no Docker Engine here: no socket at {socket}")]
    DockerMissing { socket: PathBuf },
    #[error("the Docker Engine at {socket} does not answer")]
    DockerUnreachable { socket: PathBuf, source: bollard::errors::Error },
    #[error("Docker Engine {version} (API {api}) is too old, API {needed} is needed")]
    DockerTooOld { version: String, api: String, needed: &'static str },
    #[error("Docker cannot load {images}")]
    Load { images: String, source: bollard::errors::Error },
    #[error("Docker cannot tell about the image {reference}")]
    InspectImage { reference: String, source: bollard::errors::Error },
    #[error("Docker loaded {reference} as {found}, expected {expected}")]
    WrongImage { reference: String, expected: String, found: String },
}

impl BundleError {
    /// For `map_err`: an I/O error with what was tried on which path.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

impl Hint for BundleError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Missing { .. } => "BUNDLE-MISSING",
            Self::NotABundle { .. } => "BUNDLE-INVALID",
            Self::Format { .. } => "BUNDLE-FORMAT",
            Self::Corrupt { .. } | Self::Truncated { .. } => "BUNDLE-DAMAGED",
            Self::Absent { .. } => "BUNDLE-PARTIAL",
            Self::Manifest { .. } | Self::Inconsistent { .. } => "BUNDLE-MANIFEST",
            Self::NoImage { .. } | Self::NoFile { .. } => "BUNDLE-INCOMPLETE",
            Self::Io { .. } => "BUNDLE-IO",
            Self::DockerMissing { .. } => "DOCKER-MISSING",
            Self::DockerUnreachable { .. } => "DOCKER-UNREACHABLE",
            Self::DockerTooOld { .. } => "DOCKER-TOO-OLD",
            Self::Load { .. } | Self::InspectImage { .. } | Self::WrongImage { .. } => "IMAGE-LOAD",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        let docs = Some("BUNDLE.md");
        Some(match self {
            Self::Missing { path } => NextStep {
                command: Some(format!("cp bundle.jbundle {}", path.display())),
                why: Some("the bundle is the file that `junio-bundle build` makes; --bundle names another path".into()),
                docs,
            },
            Self::NotABundle { .. } | Self::Format { .. } | Self::Manifest { .. } | Self::Inconsistent { .. } => {
                NextStep {
                    why: Some("take the bundle that was built with this junioadm".into()),
                    docs,
                    ..NextStep::default()
                }
            }
            Self::Corrupt { path, .. } | Self::Truncated { path, .. } => NextStep {
                command: Some(format!("junio-bundle verify {}", path.display())),
                why: Some("the file changed after it was built, probably in transfer: copy it again".into()),
                docs,
            },
            Self::Absent { .. } => NextStep {
                command: Some("junioadm join --ssh HOST".into()),
                why: Some(
                    "run where the whole bundle is, it sends what is missing; a copy of the whole bundle does it, too"
                        .into(),
                ),
                docs,
            },
            Self::NoImage { .. } => NextStep::command("junioadm config images list")
                .because("the configuration names an image or a version that this bundle does not carry"),
            Self::DockerMissing { .. } => NextStep::command("apt-get install docker.io"),
            Self::DockerUnreachable { .. } => NextStep::command("systemctl status docker"),
            Self::DockerTooOld { .. } => {
                NextStep::command("apt-get install docker.io").because("Docker Engine 20.10 is the oldest that works")
            }
            Self::Load { .. } => {
                NextStep::command("docker system df").because("often the disk of Docker's data directory is full")
            }
            Self::NoFile { .. } | Self::Io { .. } | Self::InspectImage { .. } | Self::WrongImage { .. } => return None,
        })
    }

    fn expected(&self) -> bool {
        !matches!(self, Self::Inconsistent { .. } | Self::NoFile { .. } | Self::WrongImage { .. })
    }
}
