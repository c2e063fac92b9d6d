//! Builds all parts of the kubelet and joins their tasks. A task that ends ends the process, with its name.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::certs::{CertificateStore, rotate};
use crate::config::{Flags, KubeletConfiguration};
use crate::container_spec::{CgroupManager, find_container};
use crate::error::KubeletError;
use crate::error_chain::chain;
use crate::events::{EventRecorder, EventType};
use crate::eviction::{EvictionManager, EvictionParts, Places};
use crate::gc;
use crate::network::cni::Cni;
use crate::node::engine;
use crate::node::healthz::Heartbeat;
use crate::node::manager::NodeManager;
use crate::node::status::NodeFacts;
use crate::pod::PodStore;
use crate::pod::allocation::Allocations;
use crate::pod::context::{WorkerContext, field_path};
use crate::pod::end::PodEnds;
use crate::pod::images::ImageManager;
use crate::pod::mirror::MirrorTask;
use crate::pod::start_slots::StartSlots;
use crate::probe::{ProbeEvents, ProbeManager};
use crate::runtime::PodRuntime;
use crate::serve;
use crate::setup::{cert_dir, connect, connect_api, node_facts, pause_image, registration, socket, spec_context};
use crate::shutdown::ShutdownManager;
use crate::source::{apiserver, file::FileSource};
use crate::status::StatusManager;
use crate::sync_loop::{Gate, LoopOptions, SyncLoop};
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
    let docker = connect(&flags, &config).await?;
    let version =
        docker.version().await.map_err(|source| KubeletError::Engine { socket: socket(&flags, &config), source })?;
    let runtime: Arc<dyn PodRuntime> = Arc::new(docker);
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
    serve::healthz(&mut tasks, &config, &heartbeat);
    let collector = Arc::new(gc::images::ImageCollector {
        runtime: Arc::clone(&runtime),
        limits: config.image_limits(),
        directory: version.root_dir.clone(),
        pods: flags.root_dir.join("pods"),
        pause_image: pause_image(&flags),
        events: events.clone(),
        node: facts.name.clone(),
        seen: tokio::sync::Mutex::default(),
    });
    tasks.spawn("image garbage collection", Arc::clone(&collector).run());
    let (pod_ends, ends) = PodEnds::channel();
    let (eviction, pressure) = EvictionManager::new(EvictionParts {
        node: facts.name.clone(),
        settings: config.eviction().map_err(KubeletError::Threshold)?,
        places: Places {
            node: flags.root_dir.clone(),
            images: version.root_dir.clone(),
            cgroups: Arc::clone(&cgroups),
        },
        runtime: Arc::clone(&runtime),
        log_root: spec.log_root.clone(),
        store: store.clone(),
        images: collector,
        events: events.clone(),
        ends: pod_ends.clone(),
    });
    tasks.spawn("eviction", eviction.run());
    let (shutdown_sender, shutting_down) = watch::channel(false);
    let shutdown = ShutdownManager {
        node: facts.name.clone(),
        graces: config.shutdown_graces(),
        store: store.clone(),
        ends: pod_ends,
        events: events.clone(),
        shutting_down: shutdown_sender,
    };
    tasks.spawn("shutdown", shutdown.run());
    let (node_sender, node) = watch::channel(None);
    let node_wanted = Arc::new(Notify::new());
    let (runtime_down, down) = watch::channel(None);
    tasks.spawn("engine watch", engine::watch(Arc::clone(&runtime), runtime_down.clone()));
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
            pressure: pressure.clone(),
            shutting_down: shutting_down.clone(),
            api: api.clone(),
            facts: facts.clone(),
            registration,
            register_node: flags.register_node && config.register_node.unwrap_or(true),
            config: Arc::clone(&config),
            runtime: Arc::clone(&runtime),
            network,
            runtime_down: down,
            events: events.clone(),
            wanted: Arc::clone(&node_wanted),
            node: node_sender,
        };
        tasks.spawn("node", manager.run());
        if config.rotate_certificates.unwrap_or(false) {
            let files = CertificateStore::client(cert_dir(&flags));
            rotate::adopt(api.kubeconfig(), &files)?;
            tasks.spawn("certificate rotation", rotate::rotate_client(api, files, facts.name.clone(), cancel.clone()));
        }
    }
    if facts.port != 0 {
        let server =
            serve::Https { flags: &flags, config: &config, facts: &facts, context: &context, api: api.clone() };
        server.spawn(&mut tasks, cancel.clone())?;
    }
    tasks.spawn("container garbage collection", gc::containers::run(Arc::clone(&runtime), store));
    let options = LoopOptions {
        updates: received,
        node,
        node_wanted,
        ends,
        gate: Gate { pressure, shutting_down },
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
pub(crate) struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
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
