//! A lab that exists: its hosts, found by Docker's labels.

use std::path::PathBuf;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::engine::{self, LABEL_ADDRESS, LABEL_HOST, LABEL_LAB, LABEL_NUMBER, belongs_to};
use crate::state::StateDir;
use crate::{LabError, LabHost, LabName, ssh};

/// A lab and its hosts, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct Lab {
    pub(crate) name: LabName,
    pub(crate) hosts: Vec<LabHost>,
    pub(crate) state: StateDir,
}

impl Lab {
    /// Finds a lab by name, whatever state its hosts are in.
    ///
    /// # Errors
    /// [`LabError::NotFound`] when no host of that name exists; engine errors.
    pub async fn open(name: &LabName) -> Result<Self, LabError> {
        let docker = engine::connect().await?;
        let hosts = hosts_of(&docker, Some(name)).await?;
        if hosts.is_empty() {
            return Err(LabError::NotFound { name: name.to_string() });
        }
        Ok(Self { name: name.clone(), hosts, state: StateDir::of(name)? })
    }

    #[must_use]
    pub fn name(&self) -> &LabName {
        &self.name
    }

    #[must_use]
    pub fn hosts(&self) -> &[LabHost] {
        &self.hosts
    }

    /// A host by its name (`demo-2`), its number (`2`) or its address.
    ///
    /// # Errors
    /// [`LabError::HostNotFound`] names the hosts that there are.
    pub fn host(&self, wanted: &str) -> Result<&LabHost, LabError> {
        let is_wanted = |host: &&LabHost| {
            host.name == wanted || host.number.to_string() == wanted || host.address.to_string() == wanted
        };
        self.hosts.iter().find(is_wanted).ok_or_else(|| LabError::HostNotFound {
            lab: self.name.to_string(),
            host: wanted.to_owned(),
            hosts: self.hosts.iter().map(LabHost::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The ssh client, ready to be run with the caller's own streams: a shell on the host; one word of `command` is a script
    /// for the host's shell, several words reach the program as they are. `terminal` asks for a terminal with a command too.
    ///
    /// # Errors
    /// As [`Lab::host`].
    pub fn ssh(&self, host: &str, command: &[String], terminal: bool) -> Result<std::process::Command, LabError> {
        Ok(ssh::command(&self.state, self.host(host)?.name(), command, terminal))
    }

    /// A client configuration for `ssh -F`, with the lab's key and its hosts' known keys. It knows the hosts by name.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.state.path("ssh_config")
    }

    /// The private key that every host of the lab lets in as root (OpenSSH format, ed25519).
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.state.path("id_ed25519")
    }

    /// The hosts' keys in the format of `known_hosts`, by name and by address.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.state.path("known_hosts")
    }
}

/// The hosts of one lab, or of all labs, from the engine's labels.
pub(crate) async fn hosts_of(docker: &Docker, lab: Option<&LabName>) -> Result<Vec<LabHost>, LabError> {
    let mut hosts: Vec<LabHost> =
        containers(docker, lab).await?.iter().filter_map(|container| from_labels(docker, container)).collect();
    hosts.sort_by(|left, right| (&left.lab, left.number).cmp(&(&right.lab, right.number)));
    Ok(hosts)
}

/// The containers of one lab, or of all labs, running or not.
pub(crate) async fn containers(docker: &Docker, lab: Option<&LabName>) -> Result<Vec<ContainerSummary>, LabError> {
    let options = ListContainersOptionsBuilder::new().all(true).filters(&belongs_to(lab)).build();
    docker.list_containers(Some(options)).await.map_err(LabError::engine("list containers"))
}

fn from_labels(docker: &Docker, container: &ContainerSummary) -> Option<LabHost> {
    let labels = container.labels.as_ref()?;
    Some(LabHost {
        docker: docker.clone(),
        lab: labels.get(LABEL_LAB)?.parse().ok()?,
        name: labels.get(LABEL_HOST)?.clone(),
        number: labels.get(LABEL_NUMBER)?.parse().ok()?,
        address: labels.get(LABEL_ADDRESS)?.parse().ok()?,
    })
}
