//! One host of a lab: its container, and what can be done with it.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum, NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder};
use futures::StreamExt;

use crate::address::LabSubnet;
use crate::engine::{LABEL_ADDRESS, LABEL_FIRST_PROCESS, LABEL_HOST, LABEL_LAB, LABEL_NUMBER, LABEL_SUITE};
use crate::exec::{self, ExecOutput, OutputStream};
use crate::image::Suite;
use crate::machine::Confinement;
use crate::network::network_name;
use crate::{LabError, LabName, copy};

/// How long a host may take from start to a running system with Docker; it takes 2 to 4 s on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// What runs as process 1 of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstProcess {
    #[default]
    Systemd,
    /// A script that starts Docker Engine and sshd, as in containers and on CI machines.
    Script,
}

impl FirstProcess {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Script => "no systemd",
        }
    }
}

/// A host of a lab. Cheap to clone; methods talk to the machine's Docker Engine.
#[derive(Clone)]
pub struct LabHost {
    pub(crate) docker: Docker,
    pub(crate) lab: LabName,
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) address: Ipv4Addr,
}

impl fmt::Debug for LabHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabHost").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

impl LabHost {
    /// The host's name, which is its container's name on the machine and the system's own host name: `NAME-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number in the name, counted from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The address, reachable from the machine and from the lab's other hosts.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs a command as root and gathers its output; any exit code is a result.
    ///
    /// # Errors
    /// Only when the engine cannot run it, for example because the host is stopped.
    pub async fn run(&self, command: &[&str]) -> Result<ExecOutput, LabError> {
        exec::run(&self.docker, &self.name, command).await
    }

    /// Runs a shell script (`sh -c`); any exit code is a result.
    ///
    /// # Errors
    /// As [`LabHost::run`].
    pub async fn shell(&self, script: &str) -> Result<ExecOutput, LabError> {
        self.run(&["sh", "-c", script]).await
    }

    /// Runs a command that must succeed and returns its standard output as text.
    ///
    /// # Errors
    /// [`LabError::Command`] with the command's error output when it ends with another code than 0.
    pub async fn check(&self, command: &[&str]) -> Result<String, LabError> {
        let output = self.run(command).await?;
        if output.success() {
            return Ok(output.text());
        }
        Err(LabError::Command {
            host: self.name.clone(),
            command: command.join(" "),
            status: output.status,
            stderr: output.error_text(),
        })
    }

    /// Runs a command and hands over its output as it comes. Returns the exit code.
    ///
    /// # Errors
    /// As [`LabHost::run`].
    pub async fn stream(
        &self,
        command: &[&str],
        output: impl FnMut(OutputStream, &[u8]) + Send,
    ) -> Result<i64, LabError> {
        exec::stream(&self.docker, &self.name, command, output).await
    }

    /// Writes a file, owned by root; its directory must exist. Not below `/run` or `/tmp`, which are memory of the host.
    ///
    /// # Errors
    /// When the directory is missing or the engine refuses.
    pub async fn write_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), LabError> {
        copy::write_file(&self.docker, &self.name, path, mode, content).await
    }

    /// Reads a regular file whole. Not below `/run` or `/tmp`.
    ///
    /// # Errors
    /// When the file is missing or no regular file.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, LabError> {
        copy::read_file(&self.docker, &self.name, path).await
    }

    /// Waits until the host's system has come up with Docker and sshd, and returns its public ssh host key.
    pub(crate) async fn wait_ready(&self) -> Result<String, LabError> {
        match tokio::time::timeout(READY_DEADLINE, self.ready()).await {
            Ok(result) => result,
            Err(_) => {
                Err(self.not_ready(format!("its system did not come up within {} s", READY_DEADLINE.as_secs())).await)
            }
        }
    }

    async fn ready(&self) -> Result<String, LabError> {
        // systemd answers once its socket is there; it then says itself when the boot has ended, Docker included
        let script = "until [ -S /run/systemd/private ] || [ -e /run/lab-ready ]; do sleep 0.02; done
            if [ -e /run/lab-ready ]; then echo running; else systemctl is-system-running --wait; fi";
        let state = match self.shell(script).await {
            Ok(output) => output.text(),
            Err(error) => return Err(self.not_ready(error.to_string()).await),
        };
        if state != "running" {
            let failed = self.run(&["systemctl", "--failed", "--no-legend", "--plain"]).await?.text();
            return Err(self.not_ready(format!("its system is {state}: {failed}")).await);
        }
        let docker = self.run(&["docker", "version", "--format", "{{.Server.Version}}"]).await?;
        if !docker.success() {
            return Err(self.not_ready(format!("its Docker Engine does not answer: {}", docker.error_text())).await);
        }
        self.check(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).await
    }

    /// The error of a host that does not come up, with the last lines that its container wrote.
    async fn not_ready(&self, detail: String) -> LabError {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("10").build();
        let lines: Vec<String> = self
            .docker
            .logs(&self.name, Some(options))
            .filter_map(|line| async move { Some(line.ok()?.to_string().trim_end().to_owned()) })
            .collect()
            .await;
        let detail = if lines.is_empty() { detail } else { format!("{detail}; it wrote: {}", lines.join(" | ")) };
        LabError::HostNotReady { host: self.name.clone(), detail }
    }

    /// Makes the host's container without starting it.
    pub(crate) async fn create(
        docker: &Docker,
        lab: &LabName,
        plan: &HostPlan<'_>,
        number: usize,
    ) -> Result<Self, LabError> {
        let host = Self {
            docker: docker.clone(),
            lab: lab.clone(),
            name: lab.host(number),
            number,
            address: plan.subnet.host(number),
        };
        let options = CreateContainerOptionsBuilder::new().name(&host.name).build();
        docker
            .create_container(Some(options), plan.body(&host))
            .await
            .map_err(LabError::engine(format!("create the host {}", host.name)))?;
        Ok(host)
    }
}

/// What all hosts of a lab have in common.
pub(crate) struct HostPlan<'a> {
    pub image: &'a str,
    pub suite: Suite,
    pub first_process: FirstProcess,
    pub subnet: LabSubnet,
    pub hosts: usize,
    pub confinement: Confinement,
}

impl HostPlan<'_> {
    fn body(&self, host: &LabHost) -> ContainerCreateBody {
        let names: String = (1..=self.hosts)
            .map(|number| format!("{} {}\\n", self.subnet.host(number), host.lab.host(number)))
            .collect();
        let labels = [
            (LABEL_LAB, host.lab.to_string()),
            (LABEL_HOST, host.name.clone()),
            (LABEL_NUMBER, host.number.to_string()),
            (LABEL_ADDRESS, host.address.to_string()),
            (LABEL_SUITE, self.suite.to_string()),
            (LABEL_FIRST_PROCESS, self.first_process.name().to_owned()),
        ];
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(host.address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        let network = network_name(&host.lab);
        ContainerCreateBody {
            hostname: Some(host.name.clone()),
            image: Some(self.image.to_owned()),
            env: Some(vec![format!("LAB_HOSTS={names}"), format!("LAB_ADDRESS={}", host.address)]),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            // systemd's signal for an orderly stop; without it every stop takes the engine's full 10 s
            stop_signal: Some("SIGRTMIN+3".to_owned()),
            // overlay2 does not work on overlay2: the inner engine needs a disk file system. Anonymous, so they go with the host.
            volumes: Some(vec!["/var/lib/docker".to_owned(), "/var/lib/containerd".to_owned()]),
            host_config: Some(HostConfig { network_mode: Some(network.clone()), ..self.confinement.host_config() }),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint)])) }),
            ..ContainerCreateBody::default()
        }
    }
}

impl Confinement {
    fn host_config(self) -> HostConfig {
        let tmpfs = [("/run", "rw,exec,mode=755"), ("/run/lock", ""), ("/tmp", "rw,exec,mode=1777")];
        let config = HostConfig {
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            tmpfs: Some(tmpfs.into_iter().map(|(path, options)| (path.to_owned(), options.to_owned())).collect()),
            ..HostConfig::default()
        };
        match self {
            Self::Privileged => HostConfig { privileged: Some(true), ..config },
            Self::WithoutSysResource => HostConfig {
                cap_add: Some(vec!["ALL".to_owned()]),
                cap_drop: Some(vec!["SYS_RESOURCE".to_owned()]),
                security_opt: Some(vec!["seccomp=unconfined".to_owned(), "apparmor=unconfined".to_owned()]),
                device_cgroup_rules: Some(vec!["a *:* rwm".to_owned()]),
                // what the command line calls systempaths=unconfined
                masked_paths: Some(Vec::new()),
                readonly_paths: Some(Vec::new()),
                ..config
            },
        }
    }
}
