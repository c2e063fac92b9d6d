//! The Docker Engine of this host, as the installer sees it: is it there, is it new enough, how is it set up.

use std::io;
use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};
use junio_api::versions;
use serde::Serialize;

use crate::error::BundleError;

/// Seconds that one answer may take; loading a large image on a slow disk takes the longest.
const TIMEOUT: u64 = 600;

/// Facts about a Docker Engine that phases decide by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerFacts {
    /// For example `20.10.24+dfsg1`.
    pub version: String,
    /// For example `1.41`.
    pub api_version: String,
    /// `cgroupfs` or `systemd`; the kubelet has to use the same.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// For example `overlay2`.
    pub storage_driver: String,
    /// Where Docker keeps its data, for example `/var/lib/docker`.
    pub root_dir: PathBuf,
    pub kernel_version: String,
    pub operating_system: String,
    /// Containers that exist, running or not.
    pub containers: u64,
    pub live_restore: bool,
    /// Docker's own warnings, for example `No swap limit support`.
    pub warnings: Vec<String>,
}

/// Connects to the engine behind `socket` and agrees on the API version.
///
/// # Errors
/// [`BundleError::DockerMissing`] without a socket, [`BundleError::DockerUnreachable`] when nobody answers,
/// [`BundleError::DockerTooOld`] below API 1.41.
pub async fn connect(socket: &Path) -> Result<Docker, BundleError> {
    if !socket.exists() {
        return Err(BundleError::DockerMissing { socket: socket.to_owned() });
    }
    let unreachable = |source| BundleError::DockerUnreachable { socket: socket.to_owned(), source };
    let path = socket.to_str().ok_or_else(|| BundleError::Io {
        operation: "connect to",
        path: socket.to_owned(),
        source: io::Error::from(io::ErrorKind::InvalidFilename),
    })?;
    let docker = Docker::connect_with_unix(path, TIMEOUT, API_DEFAULT_VERSION).map_err(unreachable)?;
    let docker = docker.negotiate_version().await.map_err(unreachable)?;
    let server = docker.version().await.map_err(unreachable)?;
    let api = server.api_version.unwrap_or_default();
    if api_number(&api) < api_number(versions::DOCKER_API_MIN) {
        let version = server.version.unwrap_or_default();
        return Err(BundleError::DockerTooOld { version, api, needed: versions::DOCKER_API_MIN });
    }
    Ok(docker)
}

/// Asks the engine about itself.
///
/// # Errors
/// [`BundleError::DockerUnreachable`] when it does not answer.
pub async fn facts(docker: &Docker, socket: &Path) -> Result<DockerFacts, BundleError> {
    let unreachable = |source| BundleError::DockerUnreachable { socket: socket.to_owned(), source };
    let version = docker.version().await.map_err(unreachable)?;
    let info = docker.info().await.map_err(unreachable)?;
    Ok(DockerFacts {
        version: version.version.unwrap_or_default(),
        api_version: version.api_version.unwrap_or_default(),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
        cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        storage_driver: info.driver.unwrap_or_default(),
        root_dir: info.docker_root_dir.unwrap_or_default().into(),
        kernel_version: info.kernel_version.unwrap_or_default(),
        operating_system: info.operating_system.unwrap_or_default(),
        containers: info.containers.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        warnings: info.warnings.unwrap_or_default(),
    })
}

/// `1.41` as something that compares; what is no version is older than all.
fn api_number(text: &str) -> (u32, u32) {
    let parse = |text: &str| text.parse().ok();
    text.split_once('.').and_then(|(major, minor)| Some((parse(major)?, parse(minor)?))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(api_number("1.41") > api_number("1.9"));
        assert!(api_number("1.40") < api_number("1.41"));
        assert!(api_number("") < api_number("1.12"));
    }

    #[tokio::test]
    async fn a_host_without_docker_is_told_so() {
        let error = connect(Path::new("/nonexistent/docker.sock")).await.expect_err("no socket");
        assert!(matches!(error, BundleError::DockerMissing { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_unreachable() {
        let directory = tempfile::tempdir().expect("directory");
        let socket = directory.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("socket"));
        let error = connect(&socket).await.expect_err("nobody listens");
        assert!(matches!(error, BundleError::DockerUnreachable { .. }), "{error}");
    }
}
