//! Turns flags and configuration into what the parts of the kubelet are built from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::certs::{ApiClient, CertificateStore, bootstrap};
use crate::config::{Flags, KubeletConfiguration};
use crate::container_spec::{CgroupDriver, CgroupSettings, NodeAmounts, NodeInfo, SpecContext, may_lower_oom_score};
use crate::error::KubeletError;
use crate::error_chain::chain;
use crate::node::machine::{self, Machine};
use crate::node::registration::Registration;
use crate::node::status::NodeFacts;
use crate::node::{addresses, capacity};
use crate::objects::{ObjectCache, ServiceSource, TokenManager};
use crate::runtime::docker::{DockerOptions, DockerRuntime};
use crate::runtime::{RuntimeError, RuntimeVersion};

const ENGINE_RETRY: Duration = Duration::from_millis(500);
/// A container engine that does not answer for so long at the start is an error to be seen.
const ENGINE_TRIES: usize = 120;

/// Other runtimes' sockets, by file name.
const CRI_SOCKETS: [&str; 3] = ["containerd.sock", "crio.sock", "cri-dockerd.sock"];

/// The engine's socket.
#[must_use]
pub fn socket(flags: &Flags, config: &KubeletConfiguration) -> PathBuf {
    let endpoint = flags
        .container_runtime_endpoint
        .as_deref()
        .or(config.container_runtime_endpoint.as_deref())
        .unwrap_or_default();
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    // kubeadm's files name a CRI socket, which Docker Engine does not have.
    if path.is_empty() || CRI_SOCKETS.iter().any(|name| path.ends_with(name)) {
        PathBuf::from("/run/docker.sock")
    } else {
        PathBuf::from(path)
    }
}

/// Reference of the pause image.
#[must_use]
pub fn pause_image(flags: &Flags) -> String {
    flags.pod_infra_container_image.clone().unwrap_or_else(|| DockerOptions::default().pause_image)
}

/// Connects to the engine, waiting for one that is just starting.
pub async fn connect(flags: &Flags, config: &KubeletConfiguration) -> Result<DockerRuntime, KubeletError> {
    let socket = socket(flags, config);
    let defaults = DockerOptions::default();
    let size =
        config.container_log_max_size.as_deref().and_then(|size| size.parse::<crate::container_spec::Quantity>().ok());
    let options = DockerOptions {
        pause_image: pause_image(flags),
        log_max_size: size.and_then(|size| u64::try_from(size.value()).ok()).unwrap_or(defaults.log_max_size),
        log_max_files: config.container_log_max_files.unwrap_or(defaults.log_max_files),
        container_log_dir: flags.container_log_dir.clone(),
        owner: flags.engine_owner.clone(),
    };
    let mut tries = 0;
    loop {
        match DockerRuntime::connect(&socket, options.clone()).await {
            Ok(runtime) => return Ok(runtime),
            Err(error) if tries < ENGINE_TRIES && matches!(error, RuntimeError::Unreachable(_)) => {
                if tries == 0 {
                    tracing::warn!(error = chain(&error), socket = %socket.display(), "waiting for the container engine");
                }
                tries += 1;
                tokio::time::sleep(ENGINE_RETRY).await;
            }
            Err(source) => return Err(KubeletError::Engine { socket, source }),
        }
    }
}

/// `None` without `--kubeconfig`. Without a kubeconfig that works, one is made with the bootstrap one first.
pub async fn connect_api(flags: &Flags, node: &str) -> Result<Option<ApiClient>, KubeletError> {
    let Some(path) = &flags.kubeconfig else { return Ok(None) };
    if let Some(bootstrap) = &flags.bootstrap_kubeconfig {
        bootstrap::ensure(bootstrap, path, &CertificateStore::client(cert_dir(flags)), node).await;
    }
    Ok(Some(ApiClient::from_kubeconfig(path)?))
}

/// Where certificates are.
#[must_use]
pub fn cert_dir(flags: &Flags) -> PathBuf {
    flags.cert_dir.clone().unwrap_or_else(|| flags.root_dir.join("pki"))
}

/// What is told of the node and does not change.
#[must_use]
pub fn node_facts(flags: &Flags, config: &KubeletConfiguration, version: &RuntimeVersion) -> NodeFacts {
    let hostname = hostname();
    let name = flags.hostname_override.clone().unwrap_or_else(|| hostname.clone()).trim().to_lowercase();
    let machine = Machine::read();
    let capacity = capacity::capacity(&machine, machine::disk(&flags.root_dir), config.pod_limit());
    let allocatable = capacity::allocatable(&capacity, config);
    let serves = config.enable_server.unwrap_or(true);
    NodeFacts {
        ips: addresses::node_ips(flags.node_ip.as_deref(), &name),
        hostname: name.clone(),
        name,
        capacity,
        allocatable,
        machine,
        runtime: Some(version.clone()),
        port: if serves { config.port.filter(|port| *port != 0).unwrap_or(junio_api::ports::KUBELET) } else { 0 },
        declared_features: if serves { vec!["ExtendWebSocketsToKubelet".to_owned()] } else { Vec::new() },
        max_images: match config.node_status_max_images {
            Some(limit) if limit < 0 => usize::MAX,
            Some(limit) => usize::try_from(limit).unwrap_or(50),
            None => 50,
        },
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// What a new Node object carries.
pub fn registration(flags: &Flags, config: &KubeletConfiguration) -> Result<Registration, KubeletError> {
    let mut taints = flags.taints().map_err(KubeletError::Taint)?;
    taints.extend(config.register_with_taints.clone());
    Ok(Registration {
        labels: flags.labels(),
        taints,
        provider_id: flags.provider_id.clone().or_else(|| config.provider_id.clone()).filter(|id| !id.is_empty()),
    })
}

/// What containers are described from.
#[must_use]
pub fn spec_context(
    flags: &Flags,
    config: &KubeletConfiguration,
    facts: &NodeFacts,
    version: &RuntimeVersion,
    api: Option<ApiClient>,
) -> Arc<SpecContext> {
    let amounts = |amounts: &capacity::Amounts| {
        let amount = |name: &str| amounts.get(name).and_then(|value| value.0.parse().ok()).unwrap_or_default();
        NodeAmounts { cpu: amount("cpu"), memory: amount("memory"), ephemeral_storage: amount("ephemeral-storage") }
    };
    let driver = if version.cgroup_driver == "systemd" { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
    if config.cgroup_driver.as_deref().is_some_and(|wanted| wanted != version.cgroup_driver) {
        tracing::warn!(
            configured = config.cgroup_driver,
            engine = version.cgroup_driver,
            "the engine's cgroup driver is used"
        );
    }
    Arc::new(SpecContext {
        root: flags.root_dir.clone(),
        log_root: config.pod_logs_dir.clone().unwrap_or_else(|| PathBuf::from("/var/log/pods")),
        node: NodeInfo {
            name: facts.name.clone(),
            hostname: hostname(),
            ips: facts.ips.clone(),
            allocatable: amounts(&facts.allocatable),
            capacity: amounts(&facts.capacity),
        },
        cluster_dns: config.cluster_dns.iter().filter_map(|address| address.parse().ok()).collect(),
        cluster_domain: config.cluster_domain.clone().unwrap_or_default(),
        resolv_conf: config.resolv_conf.clone().unwrap_or_else(|| PathBuf::from("/etc/resolv.conf")),
        cgroup: CgroupSettings {
            enabled: config.cgroups_per_qos.unwrap_or(true),
            driver,
            root: config.cgroup_root.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
            pod_pids_limit: config.pod_pids_limit.filter(|limit| *limit > 0),
            enforce_cpu_limits: config.cpu_cfs_quota.unwrap_or(true),
            may_lower_oom_score: may_lower_oom_score(),
        },
        objects: ObjectCache::new(api.clone()),
        services: ServiceSource::new(api.is_none()),
        tokens: TokenManager::new(api.clone()),
        api,
        seccomp_default: config.seccomp_default.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn any_socket_is_the_engines_unless_it_is_another_runtimes() {
        let config = KubeletConfiguration::default();
        let named = |words: &[&str]| socket(&Flags::parse_from([&["junio-kubelet"], words].concat()), &config);
        assert_eq!(named(&[]), PathBuf::from("/run/docker.sock"));
        let other = named(&["--container-runtime-endpoint=unix:///run/containerd/containerd.sock"]);
        assert_eq!(other, PathBuf::from("/run/docker.sock"));
        assert_eq!(named(&["--container-runtime-endpoint=unix:///srv/engine"]), PathBuf::from("/srv/engine"));
    }
}
