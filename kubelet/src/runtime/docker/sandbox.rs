//! The pause container, whose network namespace is the pod's.
//! `NetworkDisabled` keeps the engine from building a network sandbox of its own (80 ms, `facts/limits.md` 0.1): the
//! namespace is new and empty, and CNI fills it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StartContainerOptions};
use futures::future::try_join_all;

use super::client::DockerRuntime;
use super::convert::Seen;
use super::error::{CONFLICT, classify, gone_is_done, io};
use super::labels::{self, Role};
use super::naming;
use crate::runtime::{ContainerState, RuntimeError, SandboxConfig, SandboxId, StartedSandbox};

const SANDBOX_OOM_SCORE: i64 = -998;
const SANDBOX_CPU_SHARES: i64 = 2;

impl DockerRuntime {
    pub(super) async fn make_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId, RuntimeError> {
        let name = naming::sandbox_name(&config.pod, config.attempt);
        let body = self.sandbox_body(config);
        let id = SandboxId(self.create_named("create sandbox", &name, body).await?);
        self.handlers().insert(id.clone(), config.runtime_handler.clone());
        Ok(id)
    }

    pub(super) async fn run_sandbox(&self, id: &SandboxId) -> Result<StartedSandbox, RuntimeError> {
        self.docker()
            .start_container(&id.0, None::<StartContainerOptions>)
            .await
            .map_err(|error| classify("start", "sandbox", &id.0, error))?;
        let seen = self.inspect(&id.0).await?;
        let Some(pid) = seen.pid.filter(|_| matches!(seen.state, ContainerState::Running { .. })) else {
            return Err(ended_at_once(id, &seen));
        };
        let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
        if matches!(seen.identity.role, Role::Sandbox { host_network: false, .. }) {
            self.require_own_namespace(id, &netns).await?;
        }
        Ok(StartedSandbox { pid, netns })
    }

    /// Containers first: without their namespaces' owner they would live on unseen.
    pub(super) async fn halt_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let inside = self.list(vec![labels::sandbox_filter(id)]).await?;
        try_join_all(
            inside
                .iter()
                .filter(|(_, seen)| matches!(seen.state, ContainerState::Running { .. }))
                .map(|(container, _)| self.kill(container)),
        )
        .await?;
        self.kill(&id.0).await
    }

    pub(super) async fn drop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        gone_is_done(self.remove(&id.0).await)
    }

    /// The engine runtime that containers of this sandbox must use too; `None` is the default.
    pub(super) async fn handler_of(&self, id: &SandboxId) -> Result<Option<String>, RuntimeError> {
        if let Some(handler) = self.handlers().get(id) {
            return Ok(handler.clone());
        }
        let seen = self.inspect(&id.0).await?;
        let Role::Sandbox { handler, .. } = seen.identity.role else {
            return Err(RuntimeError::NotFound { kind: "sandbox", id: id.0.clone() });
        };
        self.handlers().insert(id.clone(), handler.clone());
        Ok(handler)
    }

    /// Removes a dead container with its anonymous volumes.
    pub(super) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        let mut result = self.docker().remove_container(id, Some(options.clone())).await;
        let conflict = matches!(&result, Err(Error::DockerResponseServerError { status_code: CONFLICT, .. }));
        if conflict && self.seen().get(id).is_some_and(|seen| matches!(seen.state, ContainerState::Exited { .. })) {
            // Dead, but the engine has yet to record it.
            self.recorded_end(id).await?;
            result = self.docker().remove_container(id, Some(options)).await;
        }
        match result.map_err(|error| classify("remove", "container", id, error)) {
            Err(RuntimeError::Refused { message, .. }) if message.contains("already in progress") => {}
            other => other?,
        }
        self.forget(|known| known != id);
        Ok(())
    }

    /// `NetworkDisabled` was measured on 20.10 and 26; another engine might not make a namespace for it. Then this
    /// sandbox is given up, and all later ones use the network `none`.
    async fn require_own_namespace(&self, id: &SandboxId, netns: &Path) -> Result<(), RuntimeError> {
        let read = |path: &Path| std::fs::read_link(path).map_err(|error| io("read", path.display(), error));
        if read(netns)? != read(Path::new("/proc/self/ns/net"))? {
            return Ok(());
        }
        self.inner.network_disabled.store(false, Ordering::Relaxed);
        tracing::warn!("this engine gives no network namespace to NetworkDisabled containers; using network none");
        self.kill(&id.0).await?;
        Err(RuntimeError::Refused {
            operation: "start",
            object: id.0.clone(),
            message: "the sandbox shares the host's network namespace".to_owned(),
        })
    }

    fn sandbox_body(&self, config: &SandboxConfig) -> ContainerCreateBody {
        let host = |wanted: bool| wanted.then(|| "host".to_owned());
        let network_mode = if config.host_network { "host" } else { "none" };
        let disabled = !config.host_network && self.inner.network_disabled.load(Ordering::Relaxed);
        ContainerCreateBody {
            image: Some(self.inner.options.pause_image.clone()),
            // A hostname conflicts with the host's UTS namespace; an empty one is the node's name there.
            hostname: Some(config.hostname.clone()).filter(|name| !name.is_empty() && !config.host_network),
            network_disabled: disabled.then_some(true),
            labels: Some(labels::of_sandbox(&self.inner.options.owner, config)),
            host_config: Some(HostConfig {
                network_mode: Some(network_mode.to_owned()),
                uts_mode: host(config.host_network),
                pid_mode: host(config.host_pid),
                ipc_mode: Some(if config.host_ipc { "host" } else { "shareable" }.to_owned()),
                cgroup_parent: config.cgroup_parent.clone(),
                cpu_shares: Some(SANDBOX_CPU_SHARES),
                oom_score_adj: Some(self.inner.bounding.oom_score_adj(SANDBOX_OOM_SCORE)),
                sysctls: Some(config.sysctls.clone().into_iter().collect()),
                runtime: config.runtime_handler.clone(),
                restart_policy: Some(never()),
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                readonly_rootfs: Some(true),
                // The pause program only waits: it needs no rights, and a filter of its calls would cost 10 ms.
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(["no-new-privileges", "seccomp=unconfined"].map(str::to_owned).to_vec()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }
}

/// The kubelet alone decides about restarts.
pub(super) fn never() -> RestartPolicy {
    RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }
}

fn ended_at_once(id: &SandboxId, seen: &Seen) -> RuntimeError {
    let message = match &seen.state {
        ContainerState::Exited { exit_code, error, .. } => format!("ended at once with code {exit_code} {error}"),
        other => format!("is {other:?} after its start"),
    };
    RuntimeError::Refused { operation: "start", object: id.0.clone(), message }
}
