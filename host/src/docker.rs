//! Docker Engine on this host, as far as installing and cleaning need it: facts, a kubelet's containers, their logs, images.
//! Loading images is the bundle's business, running pods the kubelet's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures::StreamExt;
use serde::Serialize;

use crate::error::HostError;

/// The label that a kubelet puts on each container of a pod.
pub const KUBELET_LABEL: &str = "io.kubernetes.pod.uid";

const CONNECT_SECONDS: u64 = 120;

/// A connection to Docker Engine; clones share it.
#[derive(Debug, Clone)]
pub struct Docker {
    client: bollard::Docker,
    socket: PathBuf,
}

/// What the engine says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerFacts {
    pub version: String,
    pub api_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    pub storage_driver: String,
    pub root_directory: String,
    pub live_restore: bool,
    /// Kernel features whose absence the engine warns of.
    pub warnings: Vec<String>,
}

/// A container, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    pub id: String,
    pub name: String,
    /// `created`, `running`, `exited`, ...
    pub state: String,
    pub labels: HashMap<String, String>,
}

/// How a container's process ended or goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    pub running: bool,
    pub exit_code: i64,
    /// Set when the process could not be started at all.
    pub error: String,
}

impl Docker {
    /// Connects and checks that somebody answers.
    pub async fn connect(socket: &Path) -> Result<Self, HostError> {
        let unreachable = |source| HostError::DockerUnreachable { socket: socket.to_owned(), source };
        let client = bollard::Docker::connect_with_unix(
            &socket.to_string_lossy(),
            CONNECT_SECONDS,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(unreachable)?
        .negotiate_version()
        .await
        .map_err(unreachable)?;
        Ok(Self { client, socket: socket.to_owned() })
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub async fn facts(&self) -> Result<DockerFacts, HostError> {
        let fail = failed("describe itself");
        let (info, version) = tokio::try_join!(self.client.info(), self.client.version()).map_err(fail)?;
        Ok(DockerFacts {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            cgroup_driver: info.cgroup_driver.map(|d| d.to_string()).unwrap_or_default(),
            cgroup_version: info.cgroup_version.map(|v| v.to_string()).unwrap_or_default(),
            storage_driver: info.driver.unwrap_or_default(),
            root_directory: info.docker_root_dir.unwrap_or_default(),
            live_restore: info.live_restore_enabled.unwrap_or_default(),
            warnings: info.warnings.unwrap_or_default(),
        })
    }

    /// All containers that carry `label` (`KEY` or `KEY=VALUE`), running or not.
    pub async fn containers(&self, label: &str) -> Result<Vec<ContainerFacts>, HostError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.client.list_containers(Some(options)).await.map_err(failed("list containers"))?;
        Ok(found
            .into_iter()
            .map(|container| ContainerFacts {
                id: container.id.unwrap_or_default(),
                name: container
                    .names
                    .unwrap_or_default()
                    .first()
                    .map_or_else(String::new, |n| n.trim_start_matches('/').to_owned()),
                state: container.state.map(|s| s.to_string()).unwrap_or_default(),
                labels: container.labels.unwrap_or_default(),
            })
            .collect())
    }

    /// Kills a container and removes it with its anonymous volumes; one that is gone already is fine.
    pub async fn remove_container(&self, id: &str) -> Result<(), HostError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        absent_is_fine(self.client.remove_container(id, Some(options)).await, || format!("remove container {id}"))
    }

    pub async fn container_end(&self, id: &str) -> Result<ContainerEnd, HostError> {
        let found = self.client.inspect_container(id, None).await.map_err(failed("inspect a container"))?;
        let state = found.state.unwrap_or_default();
        Ok(ContainerEnd {
            running: state.running.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            error: state.error.unwrap_or_default(),
        })
    }

    /// The last `count` lines that a container wrote.
    pub async fn last_lines(&self, id: &str, count: usize) -> Result<Vec<String>, HostError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&count.to_string()).build();
        let mut stream = std::pin::pin!(self.client.logs(id, Some(options)));
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk.map_err(failed("read a container's log"))?.into_bytes());
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect())
    }

    /// References (`REPOSITORY:TAG`) of all images.
    pub async fn image_references(&self) -> Result<Vec<String>, HostError> {
        let options = ListImagesOptionsBuilder::default().build();
        let images = self.client.list_images(Some(options)).await.map_err(failed("list images"))?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// Removes a reference, and the image when it was the last one; one that is gone already is fine.
    pub async fn remove_image(&self, reference: &str) -> Result<(), HostError> {
        let options = RemoveImageOptionsBuilder::default().build();
        let removed = self.client.remove_image(reference, Some(options), None).await.map(|_| ());
        absent_is_fine(removed, || format!("remove image {reference}"))
    }
}

fn failed(operation: &'static str) -> impl Fn(bollard::errors::Error) -> HostError {
    move |source| HostError::Docker { operation: operation.to_owned(), source }
}

fn absent_is_fine(
    result: Result<(), bollard::errors::Error>,
    operation: impl FnOnce() -> String,
) -> Result<(), HostError> {
    match result {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(source) => Err(HostError::Docker { operation: operation(), source }),
    }
}
