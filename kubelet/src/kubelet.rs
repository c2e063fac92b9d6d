//! Builds all parts of the kubelet and joins their tasks. A task that ends ends the process, with its name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::certs::{ApiClient, CertsError, ClientStore, rotate, serving};
use crate::config::{ConfigError, Flags, KubeletConfiguration};
use crate::container_spec::{
    CgroupDriver, CgroupError, CgroupManager, CgroupSettings, NodeAmounts, NodeInfo, SpecContext, find_container,
    may_lower_oom_score,
};
use crate::events::{EventRecorder, EventType};
use crate::gc;
use crate::network::cni::Cni;
use crate::node::healthz::{self, Heartbeat};
use crate::node::manager::NodeManager;
use crate::node::machine::{self, Machine};
use crate::node::registration::Registration;
use crate::node::status::NodeFacts;
use crate::node::{addresses, capacity};
use crate::objects::{ObjectCache, ServiceSource, TokenManager};
use crate::pod::context::{WorkerContext, field_path};
use crate::pod::images::{ImageManager, chain};
use crate::pod::mirror::MirrorTask;
use crate::pod::PodStore;
use crate::probe::{ProbeEvents, ProbeManager};
use crate::runtime::docker::{DockerOptions, DockerRuntime};
use crate::runtime::{PodRuntime, RuntimeError, RuntimeVersion};
use crate::server::{self, AuthorizationMode, ServerError, ServerOptions, ServerState, ServingCertificate};
use crate::source::{apiserver, file::FileSource};
use crate::status::StatusManager;
use crate::sync_loop::{LoopOptions, SyncLoop};
use crate::volume::VolumeManager;

/// Why the kubelet ended.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--register-with-taints: {0:?} is no taint")]
    Taint(String),
    #[error("{operation} {}", path.display())]
    Io { operation: &'static str, path: PathBuf, #[source] source: std::io::Error },
    #[error("container engine at {}", socket.display())]
    Engine { socket: PathBuf, #[source] source: RuntimeError },
    #[error(transparent)]
    Certs(#[from] CertsError),
    #[error("control groups")]
    Cgroups(#[source] CgroupError),
    #[error("HTTPS server")]
    Server(#[from] ServerError),
    #[error("task {0} ended")]
    Task(&'static str),
}

const SOURCE_QUEUE: usize = 16;
const ENGINE_RETRY: Duration = Duration::from_millis(500);
/// A container engine that does not answer for so long at the start is an error to be seen.
const ENGINE_TRIES: usize = 120;
const BOOTSTRAP_RETRY: Duration = Duration::from_secs(1);

/// Runs until `cancel` or until a task ends. Containers keep running.
pub async fn run(flags: Flags, config: KubeletConfiguration, cancel: CancellationToken, ready: impl FnOnce() + Send + 'static) -> Result<(), KubeletError> {
    let config = Arc::new(config);
    for directory in [&flags.root_dir, &cert_dir(&flags)] {
        std::fs::create_dir_all(directory).map_err(|source| KubeletError::Io { operation: "create", path: directory.clone(), source })?;
    }
    let engine = connect(&flags, &config).await?;
    let version = engine.version().await.map_err(|source| KubeletError::Engine { socket: socket(&flags, &config), source })?;
    let runtime: Arc<dyn PodRuntime> = Arc::new(engine);
    let facts = node_facts(&flags, &config, &version);
    tracing::info!(node = facts.name, engine = version.version, cgroup = version.cgroup_version, driver = version.cgroup_driver, "starting");
    let api = connect_api(&flags, &facts.name).await?;

    let mut tasks = Tasks::default();
    let (events, event_task) = EventRecorder::new(api.clone(), facts.name.clone());
    tasks.spawn("events", event_task.run());
    let store = PodStore::new();
    let (status, status_task) = StatusManager::new(store.clone(), api.clone());
    tasks.spawn("status", status_task.run());
    let network = Arc::new(Cni::new(flags.cni_conf_dir.clone(), flags.cni_bin_dir.clone(), flags.cni_cache_dir.clone()));
    let spec = spec_context(&flags, &config, &facts, &version, api.clone());
    if let Some(api) = api.clone() {
        let (spec, cancel) = (Arc::clone(&spec), cancel.clone());
        tasks.spawn("services", async move { spec.services.run(api, cancel).await });
    }
    let cgroups = Arc::new(CgroupManager::detect(spec.cgroup.clone()).map_err(KubeletError::Cgroups)?);
    let probes = Arc::new(ProbeManager::new(Arc::clone(&runtime), probe_events(&events)));
    let pulls = if config.serialize_image_pulls.unwrap_or(true) { 1 } else { config.max_parallel_image_pulls.unwrap_or(5) };
    let context = Arc::new(WorkerContext {
        store: store.clone(),
        runtime: Arc::clone(&runtime),
        network: Arc::clone(&network),
        spec: Arc::clone(&spec),
        volumes: VolumeManager::new(Arc::clone(&spec)),
        cgroups: Arc::clone(&cgroups),
        probes,
        images: ImageManager::new(Arc::clone(&runtime), Arc::clone(&spec), events.clone(), pulls as usize),
        status,
        events: events.clone(),
        crash_loop_cap: config.crash_loop_cap(),
        sync_period: config.sync_period(),
    });
    ensure_classes(&cgroups, &facts);

    let heartbeat = Heartbeat::default();
    serve_healthz(&mut tasks, &config, &heartbeat);
    let (node_sender, node) = watch::channel(None);
    let (runtime_down, down) = watch::channel(None);
    let (sources_ready, ready_watch) = watch::channel(false);
    let (updates, received) = mpsc::channel(SOURCE_QUEUE);
    let mirror_wake = Arc::new(Notify::new());
    if let Some(directory) = flags.pod_manifest_path.clone().or_else(|| config.static_pod_path.clone()) {
        let source = FileSource { directory, node: facts.name.clone(), period: config.file_check_period(), updates: updates.clone() };
        tasks.spawn("static pods", source.run());
    } else {
        let updates = updates.clone();
        // No directory is a source that has told all its pods.
        let _ = updates.send(crate::source::SourceUpdate::Static(Vec::new())).await;
    }
    if let Some(api) = api.clone() {
        tasks.spawn("pods", apiserver::run(api.clone(), facts.name.clone(), updates.clone()));
        let mirror = MirrorTask { api: api.clone(), store: store.clone(), node: node.clone(), sources_ready: ready_watch, wake: Arc::clone(&mirror_wake) };
        tasks.spawn("mirror pods", mirror.run());
        let registration = registration(&flags, &config)?;
        let manager = NodeManager {
            api: api.clone(),
            facts: facts.clone(),
            registration,
            register_node: flags.register_node && config.register_node.unwrap_or(true),
            config: Arc::clone(&config),
            runtime: Arc::clone(&runtime),
            network,
            runtime_down: down,
            events: events.clone(),
            root_dir: flags.root_dir.clone(),
            node: node_sender,
        };
        tasks.spawn("node", manager.run());
        if config.rotate_certificates.unwrap_or(false) {
            let files = ClientStore::new(cert_dir(&flags));
            rotate::adopt(api.kubeconfig(), &files)?;
            tasks.spawn("certificate rotation", rotate::rotate_forever(api, files, facts.name.clone(), cancel.clone()));
        }
    }
    if facts.port != 0 {
        serve_https(&mut tasks, &flags, &config, &facts, &context, api.clone(), cancel.clone())?;
    }
    tasks.spawn("container garbage collection", gc::containers::run(Arc::clone(&runtime), store));
    let collector = gc::images::ImageCollector {
        runtime: Arc::clone(&runtime),
        limits: config.image_limits(),
        directory: version.root_dir.clone(),
        pause_image: pause_image(&flags),
        events,
        node: facts.name.clone(),
    };
    tasks.spawn("image garbage collection", collector.run());
    let options = LoopOptions {
        updates: received,
        node,
        runtime_down,
        sources_ready,
        mirror_wake,
        heartbeat: heartbeat.clone(),
        max_pods: config.pod_limit() as usize,
        standalone: api.is_none(),
    };
    tasks.spawn("sync loop", SyncLoop::new(context, options).run(ready));
    tasks.spawn("watchdog", watchdog(heartbeat));
    // Kept so that a kubelet without sources does not end.
    let _updates = updates;
    tokio::select! {
        () = cancel.cancelled() => Ok(()),
        name = tasks.next_end() => Err(KubeletError::Task(name)),
    }
}

fn probe_events(events: &EventRecorder) -> ProbeEvents {
    let events = events.clone();
    Arc::new(move |pod, name, reason, message| {
        let kind = find_container(pod, name).map_or_else(Default::default, |container| container.kind());
        events.container(pod, field_path(kind, name), EventType::Warning, reason, message);
    })
}

/// Named tasks; none of them is supposed to end.
#[derive(Default)]
struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    async fn next_end(&mut self) -> &'static str {
        match self.set.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(error)) => {
                tracing::error!(%error, "a task failed");
                "unknown (see the log)"
            }
            None => "none",
        }
    }
}

fn socket(flags: &Flags, config: &KubeletConfiguration) -> PathBuf {
    let endpoint = flags.container_runtime_endpoint.as_deref().or(config.container_runtime_endpoint.as_deref()).unwrap_or_default();
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    // kubeadm's default names a CRI socket, which Docker Engine does not have.
    if path.is_empty() || !path.contains("docker") { PathBuf::from("/run/docker.sock") } else { PathBuf::from(path) }
}

fn pause_image(flags: &Flags) -> String {
    flags.pod_infra_container_image.clone().unwrap_or_else(|| DockerOptions::default().pause_image)
}

async fn connect(flags: &Flags, config: &KubeletConfiguration) -> Result<DockerRuntime, KubeletError> {
    let socket = socket(flags, config);
    let defaults = DockerOptions::default();
    let size = config.container_log_max_size.as_deref().and_then(|size| size.parse::<crate::container_spec::Quantity>().ok());
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

/// `None` without `--kubeconfig`. A kubeconfig that does not exist yet is made with the bootstrap one.
async fn connect_api(flags: &Flags, node: &str) -> Result<Option<ApiClient>, KubeletError> {
    let Some(path) = &flags.kubeconfig else { return Ok(None) };
    if !path.exists()
        && let Some(bootstrap) = &flags.bootstrap_kubeconfig
    {
        let files = ClientStore::new(cert_dir(flags));
        while let Err(error) = rotate::bootstrap(bootstrap, path, &files, node).await {
            tracing::warn!(error = chain(&error), "no client certificate yet");
            tokio::time::sleep(BOOTSTRAP_RETRY).await;
        }
    }
    Ok(Some(ApiClient::from_kubeconfig(path)?))
}

fn cert_dir(flags: &Flags) -> PathBuf {
    flags.cert_dir.clone().unwrap_or_else(|| flags.root_dir.join("pki"))
}

fn node_facts(flags: &Flags, config: &KubeletConfiguration, version: &RuntimeVersion) -> NodeFacts {
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

fn registration(flags: &Flags, config: &KubeletConfiguration) -> Result<Registration, KubeletError> {
    let mut taints = flags.taints().map_err(KubeletError::Taint)?;
    taints.extend(config.register_with_taints.clone());
    Ok(Registration {
        labels: flags.labels(),
        taints,
        provider_id: flags.provider_id.clone().or_else(|| config.provider_id.clone()).filter(|id| !id.is_empty()),
    })
}

fn spec_context(flags: &Flags, config: &KubeletConfiguration, facts: &NodeFacts, version: &RuntimeVersion, api: Option<ApiClient>) -> Arc<SpecContext> {
    let amounts = |amounts: &capacity::Amounts| {
        let amount = |name: &str| amounts.get(name).and_then(|value| value.0.parse().ok()).unwrap_or_default();
        NodeAmounts { cpu: amount("cpu"), memory: amount("memory"), ephemeral_storage: amount("ephemeral-storage") }
    };
    let driver = if version.cgroup_driver == "systemd" { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
    if config.cgroup_driver.as_deref().is_some_and(|wanted| wanted != version.cgroup_driver) {
        tracing::warn!(configured = config.cgroup_driver, engine = version.cgroup_driver, "the engine's cgroup driver is used");
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

/// The parents of all pods' cgroups. A host where they cannot be limited still runs pods.
fn ensure_classes(cgroups: &CgroupManager, facts: &NodeFacts) {
    let amount = |name: &str| facts.allocatable.get(name).and_then(|value| value.0.parse::<crate::container_spec::Quantity>().ok());
    let cpu = amount("cpu").map_or(0, |cpu| cpu.milli_value());
    let memory = amount("memory").map(|memory| memory.value());
    if let Err(error) = cgroups.ensure_classes(cpu, memory) {
        tracing::warn!(error = chain(&error), "cannot set up the pods' control groups");
    }
}

fn serve_healthz(tasks: &mut Tasks, config: &KubeletConfiguration, heartbeat: &Heartbeat) {
    let port = config.healthz_port.unwrap_or(junio_api::ports::KUBELET_HEALTHZ);
    if port == 0 {
        return;
    }
    let address = config.healthz_bind_address.as_deref().and_then(|address| address.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let heartbeat = heartbeat.clone();
    tasks.spawn("healthz", async move {
        // The port may still be held by a kubelet that is just ending.
        while let Err(error) = healthz::serve(SocketAddr::new(address, port), heartbeat.clone()).await {
            tracing::warn!(%error, %address, port, "cannot serve healthz");
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
}

fn serve_https(
    tasks: &mut Tasks,
    flags: &Flags,
    config: &KubeletConfiguration,
    facts: &NodeFacts,
    context: &WorkerContext,
    api: Option<ApiClient>,
    cancel: CancellationToken,
) -> Result<(), KubeletError> {
    let address: IpAddr = config.address.as_deref().and_then(|address| address.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let certificate = match (&config.tls_cert_file, &config.tls_private_key_file) {
        (Some(certificate), Some(key)) => ServingCertificate::new(&read(certificate)?, &read(key)?)?,
        _ => {
            let (certificate, key) = serving::self_signed(&cert_dir(flags), std::slice::from_ref(&facts.name), &facts.ips)?;
            ServingCertificate::new(&certificate, key.expose())?
        }
    };
    let authorization = match config.authorization.mode.as_deref() {
        Some("AlwaysAllow") => AuthorizationMode::AlwaysAllow,
        _ => AuthorizationMode::Webhook,
    };
    let options = ServerOptions {
        address: SocketAddr::new(address, facts.port),
        node_name: facts.name.clone(),
        client_ca_file: config.authentication.x509.client_ca_file.clone(),
        anonymous: config.authentication.anonymous.enabled.unwrap_or(false),
        token_webhook: config.authentication.webhook.enabled.unwrap_or(true),
        authorization,
        debugging_handlers: config.enable_debugging_handlers.unwrap_or(true),
        configuration: serde_json::json!({ "kubeletconfig": { "kind": "KubeletConfiguration" } }),
    };
    let state = Arc::new(ServerState::new(context.store.clone(), Arc::clone(&context.runtime), api, options));
    let certificate = Arc::new(certificate);
    tasks.spawn("HTTPS server", async move {
        while let Err(error) = server::serve(Arc::clone(&state), Arc::clone(&certificate), cancel.clone()).await {
            tracing::warn!(error = chain(&error), "HTTPS server does not run");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // It ends well only when everything does.
        std::future::pending::<()>().await;
    });
    Ok(())
}

fn read(path: &Path) -> Result<String, KubeletError> {
    std::fs::read_to_string(path).map_err(|source| KubeletError::Io { operation: "read", path: path.to_owned(), source })
}

/// Tells systemd's watchdog, if there is one, that the sync loop turns.
async fn watchdog(heartbeat: Heartbeat) {
    let Some(period) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        if heartbeat.is_alive() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        tokio::time::sleep(period / 2).await;
    }
}
