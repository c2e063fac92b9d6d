//! Puts the descriptions of sandbox and container together.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;

use super::annotations::container_annotations;
use super::blocking::blocking;
use super::container_ref::ContainerRef;
use super::context::{SpecContext, is_alone, is_host_network, name, namespace, uid};
use super::environment::environment;
use super::error::SpecError;
use super::expand::expand;
use super::hash::container_hash;
use super::hostname::pod_name;
use super::mounts::{pod_file_mounts, termination_message_mount, volume_mounts};
use super::pod_files::prepare_pod_files;
use super::resources::{container_resources, regular_containers};
use super::security::security;
use crate::runtime::{ContainerConfig, ContainerKind, PidMode, PodRef, PortMapping, RuntimeImage, SandboxConfig};
use crate::volume::PodVolumes;

/// The pod's identity for the engine.
#[must_use]
pub fn pod_ref(pod: &Pod) -> PodRef {
    PodRef { uid: uid(pod).to_owned(), namespace: namespace(pod).to_owned(), name: name(pod).to_owned() }
}

/// Describes the sandbox. `runtime_handler` is left empty: see [`runtime_handler`].
pub fn sandbox_config(ctx: &SpecContext, pod: &Pod, attempt: u32) -> Result<SandboxConfig, SpecError> {
    let spec = pod.spec.as_ref().ok_or(SpecError::NoSpec)?;
    let host_network = is_host_network(pod);
    let hostname = if host_network { String::new() } else { pod_name(pod, &ctx.cluster_domain)?.hostname };
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.as_deref()).unwrap_or_default();
    Ok(SandboxConfig {
        pod: pod_ref(pod),
        attempt,
        hostname,
        host_network,
        host_pid: spec.host_pid.unwrap_or(false),
        host_ipc: spec.host_ipc.unwrap_or(false),
        share_pid: spec.share_process_namespace.unwrap_or(false),
        cgroup_parent: ctx.cgroup.parent(pod),
        sysctls: sysctls.iter().map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        port_mappings: if host_network { Vec::new() } else { port_mappings(pod) },
        runtime_handler: None,
    })
}

/// The handler of the pod's RuntimeClass, asked of the API server; `None` is the engine's default runtime.
pub async fn runtime_handler(ctx: &SpecContext, pod: &Pod) -> Result<Option<String>, SpecError> {
    let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.clone()).filter(|name| !name.is_empty());
    let Some(class) = class else { return Ok(None) };
    let failed = |message: String| SpecError::RuntimeClass { name: class.clone(), message };
    let api = ctx.api.as_ref().ok_or_else(|| failed("this kubelet has no API server".to_owned()))?;
    let classes: Api<RuntimeClass> = Api::all(api.current());
    let found = classes.get(&class).await.map_err(|error| failed(error.to_string()))?;
    Ok(Some(found.handler).filter(|handler| !handler.is_empty()))
}

/// All hostPorts of the pod.
#[must_use]
pub fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let port = |number: i32| u16::try_from(number).ok().filter(|number| *number != 0);
    regular_containers(spec)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|declared| {
            Some(PortMapping {
                host_port: port(declared.host_port?)?,
                container_port: port(declared.container_port)?,
                protocol: declared.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                host_ip: declared.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}

/// `LOG-ROOT/NAMESPACE_NAME_UID`
#[must_use]
pub fn pod_log_dir(ctx: &SpecContext, pod: &Pod) -> PathBuf {
    pod_log_dir_in(&ctx.log_root, pod)
}

/// The pod's directory below `log_root`.
#[must_use]
pub fn pod_log_dir_in(log_root: &Path, pod: &Pod) -> PathBuf {
    log_root.join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
}

/// Describes one instance of a container: everything it refers to is looked up, its files are made.
///
/// `pod_ips` may be empty while [`super::needs_pod_ip`] is false; the hosts file is then filled later, by
/// [`super::write_hosts_file`]. For an ephemeral container with a target, the caller replaces `pid_mode` by the
/// target's container.
pub async fn container_config(
    ctx: &Arc<SpecContext>,
    pod: &Arc<Pod>,
    container: ContainerRef<'_>,
    attempt: u32,
    image: &RuntimeImage,
    volumes: &PodVolumes,
    pod_ips: &[IpAddr],
) -> Result<ContainerConfig, SpecError> {
    let kind = container.kind();
    let spec = container.container().into_owned();
    let env = environment(ctx, pod, &spec, pod_ips).await?;
    let security = security(pod, &spec, &image.user, ctx.seccomp_default, &ctx.root.join("seccomp"))?;
    let resources = if kind == ContainerKind::Ephemeral {
        // The API forbids resources here; the pod's cgroup is the limit.
        container_resources(
            pod,
            ContainerRef::App(&spec),
            ctx.node.capacity.memory.value(),
            false,
            ctx.cgroup.may_lower_oom_score,
        )
    } else {
        let cgroup = &ctx.cgroup;
        container_resources(
            pod,
            container,
            ctx.node.capacity.memory.value(),
            cgroup.enforce_cpu_limits,
            cgroup.may_lower_oom_score,
        )
    };
    let (termination_file, mounts) = files(ctx, pod, &spec, &env, volumes, security.read_only_root).await?;
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let expand_all = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand(text, lookup)).collect();
    let pod_spec = pod.spec.as_ref().ok_or(SpecError::NoSpec)?;
    Ok(ContainerConfig {
        pod: pod_ref(pod),
        name: spec.name.clone(),
        kind,
        attempt,
        image: image.id.clone(),
        command: expand_all(&spec.command),
        args: expand_all(&spec.args),
        working_dir: spec.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts,
        user: security.user,
        supplemental_groups: security.supplemental_groups,
        privileged: security.privileged,
        capabilities_add: security.capabilities_add,
        capabilities_drop: security.capabilities_drop,
        read_only_root: security.read_only_root,
        no_new_privileges: security.no_new_privileges,
        seccomp: security.seccomp,
        apparmor: security.apparmor,
        unmasked_proc: security.unmasked_proc,
        resources,
        cgroup_parent: ctx.cgroup.parent(pod),
        pid_mode: pid_mode(pod_spec.host_pid, pod_spec.share_process_namespace),
        host_network: is_host_network(pod),
        alone: kind == ContainerKind::App && is_alone(pod),
        host_ipc: pod_spec.host_ipc.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        stdin: spec.stdin.unwrap_or(false),
        stdin_once: spec.stdin_once.unwrap_or(false),
        stop_signal: None,
        hash: container_hash(&spec),
        annotations: container_annotations(pod, &spec, attempt, Some(&termination_file)),
        log_path: pod_log_dir(ctx, pod).join(&spec.name).join(format!("{attempt}.log")),
        env,
    })
}

/// The blocking part, away from the async threads.
async fn files(
    ctx: &Arc<SpecContext>,
    pod: &Arc<Pod>,
    container: &Container,
    environment: &[(String, String)],
    volumes: &PodVolumes,
    read_only_root: bool,
) -> Result<(PathBuf, Vec<crate::runtime::Mount>), SpecError> {
    let (ctx, pod, container, environment, volumes) =
        (Arc::clone(ctx), Arc::clone(pod), container.clone(), environment.to_vec(), volumes.clone());
    let work = move || {
        let pod_files = prepare_pod_files(&ctx, &pod)?;
        let mut mounts = volume_mounts(&ctx, &pod, &container, &environment, &volumes)?;
        mounts.extend(pod_file_mounts(&container, &pod_files, read_only_root));
        let (file, mount) = termination_message_mount(&ctx, &pod, &container)?;
        mounts.push(mount);
        Ok((file, mounts))
    };
    blocking(work).await
}

fn pid_mode(host_pid: Option<bool>, shared: Option<bool>) -> PidMode {
    match (host_pid, shared) {
        (Some(true), _) => PidMode::Host,
        (_, Some(true)) => PidMode::Sandbox,
        _ => PidMode::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::tests_support::context;

    fn image() -> RuntimeImage {
        RuntimeImage { id: "sha256:1".into(), tags: Vec::new(), digests: Vec::new(), size: 0, user: String::new() }
    }

    fn pod() -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "web", "namespace": "n", "uid": "u"},
                "spec": {"shareProcessNamespace": true, "terminationGracePeriodSeconds": 5,
                    "securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
                    "volumes": [{"name": "data", "emptyDir": {}}],
                    "containers": [{"name": "c", "image": "i", "command": ["sh", "-c", "$(A) $$(A)"], "args": ["$(NO)"],
                        "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}],
                        "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}
            }))
            .expect("a pod"),
        )
    }

    #[tokio::test]
    async fn describes_a_whole_container() {
        let (dir, ctx) = context();
        let pod = pod();
        let container = ContainerRef::App(&pod.spec.as_ref().expect("spec").containers[0]);
        let volumes = PodVolumes { volumes: [("data".to_owned(), dir.path().join("data"))].into() };
        let config = container_config(&ctx, &pod, container, 2, &image(), &volumes, &[]).await.expect("a config");
        assert_eq!(config.command, ["sh", "-c", "1 $(A)"]);
        assert_eq!(config.args, ["$(NO)"]);
        assert_eq!(config.pid_mode, PidMode::Sandbox);
        assert_eq!(config.log_path, ctx.log_root.join("n_web_u/c/2.log"));
        assert_eq!(config.annotations[crate::container_spec::annotations::RESTART_COUNT], "2");
        assert_eq!(config.annotations[crate::container_spec::annotations::GRACE_PERIOD], "5");
        assert!(config.annotations[crate::container_spec::annotations::PRE_STOP].contains("true"));
        let mut targets: Vec<&str> = config.mounts.iter().map(|mount| mount.container_path.as_str()).collect();
        targets.sort_unstable();
        assert_eq!(targets, ["/data", "/dev/termination-log", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]);
        assert!(
            config.mounts.iter().filter(|mount| mount.container_path != "/data").all(|mount| mount.host_path.exists())
        );
    }

    #[tokio::test]
    async fn describes_a_sandbox() {
        let (_dir, ctx) = context();
        let config = sandbox_config(&ctx, &pod(), 1).expect("a config");
        assert_eq!((config.hostname.as_str(), config.attempt, config.share_pid), ("web", 1, true));
        assert_eq!(config.sysctls["kernel.shm_rmid_forced"], "1");
        assert_eq!(config.port_mappings.len(), 1);
        assert_eq!((config.port_mappings[0].host_port, config.port_mappings[0].protocol.as_str()), (8080, "TCP"));
        assert_eq!(config.cgroup_parent.as_deref(), Some("/kubepods/besteffort/podu"));
        assert_eq!(runtime_handler(&ctx, &pod()).await.expect("no class"), None);
    }
}
