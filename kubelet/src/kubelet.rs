//! Builds all parts of the kubelet and joins their tasks. A task that ends ends the process, with its name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::certs::{ApiClient, ClientStore, rotate, serving};
use crate::config::{Flags, KubeletConfiguration};
use crate::container_spec::{CgroupManager, find_container};
use crate::error::KubeletError;
use crate::error_chain::chain;
use crate::events::{EventRecorder, EventType};
use crate::gc;
use crate::network::cni::Cni;
use crate::node::healthz::{self, Heartbeat};
use crate::node::manager::NodeManager;
use crate::node::status::NodeFacts;
use crate::pod::PodStore;
use crate::pod::allocation::Allocations;
use crate::pod::context::{WorkerContext, field_path};
use crate::pod::images::ImageManager;
use crate::pod::mirror::MirrorTask;
use crate::pod::start_slots::StartSlots;
use crate::probe::{ProbeEvents, ProbeManager};
use crate::runtime::PodRuntime;
use crate::server::{self, AuthorizationMode, ServerOptions, ServerState, ServingCertificate};
use crate::setup::{cert_dir, connect, connect_api, node_facts, pause_image, registration, socket, spec_context};
use crate::source::{apiserver, file::FileSource};
use crate::status::StatusManager;
use crate::sync_loop::{LoopOptions, SyncLoop};
use crate::volume::VolumeManager;

const SOURCE_QUEUE: usize = 16;
/// Runs until `cancel` or until a task ends. Containers keep running.
pub async fn run(
    mut flags: Flags,
    config: KubeletConfiguration,
    cancel: CancellationToken,
    ready: impl FnOnce() + Send + 'static,
) -> Result<(), KubeletError> {
    let config = Arc::new(config);
    // The engine takes absolute paths only.
    for path in [&mut flags.root_dir, &mut flags.container_log_dir, &mut flags.cni_conf_dir, &mut flags.cni_cache_dir] {
        *path = std::path::absolute(&path).map_err(|source| KubeletError::Io {
            operation: "find",
            path: path.clone(),
            source,
        })?;
    }
    for directory in [&flags.root_dir, &cert_dir(&flags)] {
        std::fs::create_dir_all(directory).map_err(|source| KubeletError::Io {
            operation: "create",
            path: directory.clone(),
            source,
        })?;
    }
    let engine = connect(&flags, &config).await?;
    let version =
        engine.version().await.map_err(|source| KubeletError::Engine { socket: socket(&flags, &config), source })?;
    let runtime: Arc<dyn PodRuntime> = Arc::new(engine);
    let facts = node_facts(&flags, &config, &version);
    tracing::info!(
        node = facts.name,
        engine = version.version,
        cgroup = version.cgroup_version,
        driver = version.cgroup_driver,
        "starting"
    );
    let api = connect_api(&flags, &facts.name).await?;

    let mut tasks = Tasks::default();
    let (events, event_task) = EventRecorder::new(api.clone(), facts.name.clone());
    tasks.spawn("events", event_task.run());
    let store = PodStore::new();
    let (status, status_task) = StatusManager::new(store.clone(), api.clone());
    tasks.spawn("status", status_task.run());
    let network =
        Arc::new(Cni::new(flags.cni_conf_dir.clone(), flags.cni_bin_dir.clone(), flags.cni_cache_dir.clone()));
    let spec = spec_context(&flags, &config, &facts, &version, api.clone());
    if let Some(api) = api.clone() {
        let (spec, cancel) = (Arc::clone(&spec), cancel.clone());
        tasks.spawn("services", async move { spec.services.run(api, cancel).await });
    }
    let cgroups = Arc::new(CgroupManager::detect(spec.cgroup.clone()).map_err(KubeletError::Cgroups)?);
    let probes = Arc::new(ProbeManager::new(Arc::clone(&runtime), probe_events(&events)));
    let pulls =
        if config.serialize_image_pulls.unwrap_or(true) { 1 } else { config.max_parallel_image_pulls.unwrap_or(5) };
    let context = Arc::new(WorkerContext {
        store: store.clone(),
        runtime: Arc::clone(&runtime),
        network: Arc::clone(&network),
        spec: Arc::clone(&spec),
        volumes: VolumeManager::new(Arc::clone(&spec)),
        allocations: Allocations::new(spec.node.allocatable),
        cgroups: Arc::clone(&cgroups),
        probes,
        images: ImageManager::new(Arc::clone(&runtime), Arc::clone(&spec), events.clone(), pulls as usize),
        starts: StartSlots::new(std::thread::available_parallelism().map_or(1, usize::from)),
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
        let source = FileSource {
            directory,
            node: facts.name.clone(),
            period: config.file_check_period(),
            updates: updates.clone(),
        };
        tasks.spawn("static pods", source.run());
    } else {
        let updates = updates.clone();
        // No directory is a source that has told all its pods.
        let _ = updates.send(crate::source::SourceUpdate::Static(Vec::new())).await;
    }
    if let Some(api) = api.clone() {
        tasks.spawn("pods", apiserver::run(api.clone(), facts.name.clone(), updates.clone()));
        let mirror = MirrorTask {
            api: api.clone(),
            store: store.clone(),
            node: node.clone(),
            sources_ready: ready_watch,
            wake: Arc::clone(&mirror_wake),
        };
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
        pods: flags.root_dir.join("pods"),
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
        // Some tasks end when they are told to; that is no failure.
        biased;
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

/// The parents of all pods' cgroups. A host where they cannot be limited still runs pods.
fn ensure_classes(cgroups: &CgroupManager, facts: &NodeFacts) {
    let amount = |name: &str| {
        facts.allocatable.get(name).and_then(|value| value.0.parse::<crate::container_spec::Quantity>().ok())
    };
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
    let address = config
        .healthz_bind_address
        .as_deref()
        .and_then(|address| address.parse().ok())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
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
    let address: IpAddr =
        config.address.as_deref().and_then(|address| address.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let given = match (&config.tls_cert_file, &config.tls_private_key_file) {
        (Some(certificate), Some(key)) => Some(ServingCertificate::new(&read(certificate)?, &read(key)?)?),
        _ => None,
    };
    let authorization = match config.authorization.mode.as_deref() {
        Some("AlwaysAllow") => AuthorizationMode::AlwaysAllow,
        _ => AuthorizationMode::Webhook,
    };
    let options = ServerOptions {
        address: SocketAddr::new(address, facts.port),
        node_name: facts.name.clone(),
        root_dir: flags.root_dir.clone(),
        started_at: jiff::Timestamp::now(),
        client_ca_file: config.authentication.x509.client_ca_file.clone(),
        anonymous: config.authentication.anonymous.enabled.unwrap_or(false),
        token_webhook: config.authentication.webhook.enabled.unwrap_or(true),
        authorization,
        debugging_handlers: config.enable_debugging_handlers.unwrap_or(true),
        configuration: serde_json::json!({ "kubeletconfig": { "kind": "KubeletConfiguration" } }),
    };
    let state = Arc::new(ServerState::new(context.store.clone(), Arc::clone(&context.runtime), api, options));
    let (directory, names, ips) = (cert_dir(flags), vec![facts.name.clone()], facts.ips.clone());
    tasks.spawn("HTTPS server", async move {
        // Making a key takes a tenth of a second, for which no pod should wait.
        let made = match given {
            Some(certificate) => Ok(Ok(certificate)),
            None => tokio::task::spawn_blocking(move || self_signed(&directory, &names, &ips)).await,
        };
        let certificate = match made {
            Ok(Ok(certificate)) => Arc::new(certificate),
            Ok(Err(error)) => return tracing::error!(error = chain(&error), "no serving certificate"),
            Err(error) => return tracing::error!(%error, "no serving certificate"),
        };
        while let Err(error) = server::serve(Arc::clone(&state), Arc::clone(&certificate), cancel.clone()).await {
            tracing::warn!(error = chain(&error), "HTTPS server does not run");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // It ends well only when everything does.
        std::future::pending::<()>().await;
    });
    Ok(())
}

fn self_signed(directory: &Path, names: &[String], ips: &[IpAddr]) -> Result<ServingCertificate, KubeletError> {
    let (certificate, key) = serving::self_signed(directory, names, ips)?;
    Ok(ServingCertificate::new(&certificate, key.expose())?)
}

fn read(path: &Path) -> Result<String, KubeletError> {
    std::fs::read_to_string(path).map_err(|source| KubeletError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })
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
