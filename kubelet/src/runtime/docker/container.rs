//! Creating, starting and removing containers of pods.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions, StartContainerOptions};

use super::client::DockerRuntime;
use super::error::{CONFLICT, classify, gone_is_done};
use super::labels::Role;
use super::sandbox::never;
use super::{labels, log_links, naming, security};
use crate::runtime::{
    ContainerConfig, ContainerId, ContainerState, Mount, PidMode, Propagation, Resources, RuntimeError, SandboxId,
};

/// Leftovers of one name that are cleared before the engine's conflict is reported.
const CONFLICTS: usize = 3;
/// First engine that starts privileged containers under an incomplete capability bounding set.
const PRIVILEGED_ANYWHERE: u32 = 23;

impl DockerRuntime {
    pub(super) async fn make_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, RuntimeError> {
        let handler = self.handler_of(sandbox).await?;
        let name = naming::container_name(&config.pod, &config.name, config.attempt);
        let body = self.container_body(sandbox, config, handler);
        let id =
            self.create_named("create container", &name, body).await.map(ContainerId).map_err(|error| match error {
                RuntimeError::ImageAbsent { .. } => RuntimeError::ImageAbsent { reference: config.image.clone() },
                other => other,
            })?;
        let links = log_links::Links::new(
            &self.inner.options.container_log_dir,
            &config.pod,
            &config.name,
            &id,
            &config.log_path,
        );
        links.make(&self.engine_log_path(&id))?;
        Ok(id)
    }

    pub(super) async fn run_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.docker()
            .start_container(&id.0, None::<StartContainerOptions>)
            .await
            .map_err(|error| classify("start", "container", &id.0, error))
    }

    pub(super) async fn resize_container(&self, id: &ContainerId, resources: &Resources) -> Result<(), RuntimeError> {
        let set = |number: i64| Some(number).filter(|number| *number != 0);
        let body = ContainerUpdateBody {
            cpu_shares: set(resources.cpu_shares),
            cpu_quota: set(resources.cpu_quota),
            cpu_period: set(resources.cpu_period),
            memory: set(resources.memory),
            // as at the start: no swap
            memory_swap: set(resources.memory),
            ..ContainerUpdateBody::default()
        };
        self.docker()
            .update_container(&id.0, body)
            .await
            .map_err(|error| classify("update", "container", &id.0, error))?;
        // what is remembered of it is out of date now
        self.inspect(&id.0).await.map(drop)
    }

    pub(super) async fn drop_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let seen = match self.inspect(&id.0).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        gone_is_done(self.remove(&id.0).await)?;
        if let Role::Container { name, log_path, .. } = &seen.identity.role {
            log_links::Links::new(&self.inner.options.container_log_dir, &seen.identity.pod, name, id, log_path)
                .remove()?;
        }
        Ok(())
    }

    /// Creates under a name that must be free. What holds it already is adopted if it is the same thing, and removed if
    /// it is a dead thing of ours.
    pub(super) async fn create_named(
        &self,
        operation: &'static str,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        let mut left = CONFLICTS;
        loop {
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            match self.docker().create_container(Some(options), body.clone()).await {
                Ok(created) => return Ok(created.id),
                Err(error @ Error::DockerResponseServerError { status_code: CONFLICT, .. }) if left > 0 => {
                    left -= 1;
                    if let Some(id) = self.resolve_conflict(name, body.labels.as_ref(), &error).await? {
                        return Ok(id);
                    }
                }
                Err(error) => return Err(classify(operation, "container", name, error)),
            }
        }
    }

    /// The ID to adopt, or `None` when the name is free now.
    async fn resolve_conflict(
        &self,
        name: &str,
        wanted: Option<&HashMap<String, String>>,
        conflict: &Error,
    ) -> Result<Option<String>, RuntimeError> {
        let refuse =
            || RuntimeError::Refused { operation: "create", object: name.to_owned(), message: conflict.to_string() };
        let holder = match self.docker().inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(holder) => holder,
            Err(Error::DockerResponseServerError { status_code: super::error::NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(classify("inspect", "container", name, error)),
        };
        let (Some(id), Some(found)) = (holder.id, holder.config.and_then(|config| config.labels)) else {
            return Err(refuse());
        };
        let owner = labels::owner_filter(&self.inner.options.owner);
        if !found.iter().any(|(key, value)| format!("{key}={value}") == owner) {
            return Err(refuse());
        }
        let same = wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| found.get(key) == Some(value)));
        let state = self.inspect(&id).await?.state;
        match state {
            ContainerState::Created | ContainerState::Running { .. } if same => Ok(Some(id)),
            ContainerState::Running { .. } => Err(refuse()),
            ContainerState::Created | ContainerState::Exited { .. } => {
                gone_is_done(self.remove(&id).await)?;
                Ok(None)
            }
        }
    }

    fn container_body(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        handler: Option<String>,
    ) -> ContainerCreateBody {
        let set = |number: i64| Some(number).filter(|number| *number != 0);
        let list = |words: &[String]| Some(words.to_vec()).filter(|words| !words.is_empty());
        let joined = format!("container:{}", sandbox.0);
        let resources = config.resources;
        let mut host = HostConfig {
            network_mode: Some(if config.alone { "host".to_owned() } else { joined.clone() }),
            ipc_mode: Some(match (config.host_ipc, config.alone) {
                (true, _) => "host".to_owned(),
                (false, true) => "private".to_owned(),
                (false, false) => joined.clone(),
            }),
            pid_mode: match &config.pid_mode {
                PidMode::Own => None,
                PidMode::Host => Some("host".to_owned()),
                PidMode::Sandbox => Some(joined),
                PidMode::Container(target) => Some(format!("container:{}", target.0)),
            },
            uts_mode: config.host_network.then(|| "host".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            cgroup_parent: config.cgroup_parent.clone(),
            cpu_shares: set(resources.cpu_shares),
            cpu_quota: set(resources.cpu_quota),
            cpu_period: set(resources.cpu_period),
            memory: set(resources.memory),
            memory_swap: set(resources.memory),
            pids_limit: set(resources.pids),
            oom_score_adj: Some(self.inner.bounding.oom_score_adj(resources.oom_score_adj)),
            readonly_rootfs: Some(config.read_only_root),
            group_add: Some(config.supplemental_groups.iter().map(ToString::to_string).collect()),
            mounts: Some(config.mounts.iter().map(mount).collect()),
            log_config: Some(self.log_config()),
            restart_policy: Some(never()),
            runtime: handler,
            ..HostConfig::default()
        };
        security::apply(&mut host, config, self.inner.bounding, self.starts_privileged());
        ContainerCreateBody {
            image: Some(config.image.clone()),
            entrypoint: list(&config.command),
            cmd: list(&config.args),
            working_dir: config.working_dir.clone().filter(|dir| !dir.is_empty()),
            env: Some(config.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            user: config.user.clone(),
            tty: Some(config.tty),
            open_stdin: Some(config.stdin),
            stdin_once: Some(config.stdin_once),
            stop_signal: config.stop_signal.clone(),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            labels: Some(labels::of_container(&self.inner.options.owner, sandbox, config)),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    fn starts_privileged(&self) -> bool {
        let major = self.inner.version.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.inner.bounding.missing().is_empty() || major.is_none_or(|major| major >= PRIVILEGED_ANYWHERE)
    }

    fn log_config(&self) -> HostConfigLogConfig {
        let options = &self.inner.options;
        HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), options.log_max_size.to_string()),
                ("max-file".to_owned(), options.log_max_files.to_string()),
            ])),
        }
    }
}

/// The source must exist. A read-only mount is not recursive, as Kubernetes has it; engines before 25 know only that.
fn mount(mount: &Mount) -> EngineMount {
    let propagation = match mount.propagation {
        Propagation::Private => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::HostToContainer => MountBindOptionsPropagationEnum::RSLAVE,
        Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
    };
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(mount.host_path.display().to_string()),
        target: Some(mount.container_path.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation),
            read_only_non_recursive: mount.read_only.then_some(true),
            ..MountBindOptions::default()
        }),
        ..EngineMount::default()
    }
}
