//! The one loop that everything meets in: news from sources, the engine, probes and workers become orders to workers. It
//! owns the workers and never waits for one.

mod doubts;
mod ends;
mod leftovers;

pub use ends::Gate;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::Instant;

use self::doubts::Doubts;
use crate::error_chain::chain;
use crate::events::EventType;
use crate::gc;
use crate::node::healthz::Heartbeat;
use crate::node::manager::RuntimeDown;
use crate::pod::context::WorkerContext;
use crate::pod::end::EndRequest;
use crate::pod::worker::{End, Order, Report, WorkerHandle};
use crate::pod::{admission, facts};
use crate::runtime::{RuntimeEvent, RuntimePod};
use crate::source::SourceUpdate;

/// How often what nobody reports is looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
const ENGINE_RETRY: Duration = Duration::from_millis(500);

/// The loop and what it owns.
pub struct SyncLoop {
    context: Arc<WorkerContext>,
    options: LoopOptions,
    workers: HashMap<String, Slot>,
    /// Static pods whose name another pod still has.
    waiting: Vec<Arc<Pod>>,
    /// Pods from the API that wait for the node's registration, or for what it is now.
    unadmitted: Vec<Arc<Pod>>,
    doubts: Doubts,
    /// What the engine had when the kubelet started.
    adopted: HashSet<String>,
    static_seen: bool,
    api_seen: bool,
    reports: (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Report>),
    /// Who asked for the end of which pod.
    asked: ends::Waiting,
}

/// Ends of the channels to the other tasks.
pub struct LoopOptions {
    pub updates: mpsc::Receiver<SourceUpdate>,
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// Has the Node object read anew; it comes by `node`.
    pub node_wanted: Arc<Notify>,
    pub ends: mpsc::UnboundedReceiver<EndRequest>,
    pub gate: Gate,
    pub runtime_down: watch::Sender<RuntimeDown>,
    pub sources_ready: watch::Sender<bool>,
    pub mirror_wake: Arc<Notify>,
    pub heartbeat: Heartbeat,
    pub max_pods: usize,
    /// No API server: static pods are all there is.
    pub standalone: bool,
}

struct Slot {
    handle: WorkerHandle,
    terminated: bool,
    /// No source has it any more.
    gone: bool,
    /// It takes no resources: rejected, or run to its end.
    verdict: bool,
}

impl SyncLoop {
    #[must_use]
    pub fn new(context: Arc<WorkerContext>, options: LoopOptions) -> Self {
        let api_seen = options.standalone;
        let doubts = Doubts::new(Arc::clone(&options.node_wanted));
        Self {
            context,
            options,
            workers: HashMap::new(),
            waiting: Vec::new(),
            unadmitted: Vec::new(),
            doubts,
            adopted: HashSet::new(),
            static_seen: false,
            api_seen,
            reports: mpsc::unbounded_channel(),
            asked: Vec::new(),
        }
    }

    /// Turns for ever. `ready` is called once, when the loop turns for the first time.
    pub async fn run(mut self, ready: impl FnOnce()) {
        // The stream begins before the list, so that nothing falls between the two.
        let mut events = self.context.runtime.events();
        let engine = self.list_engine().await;
        self.adopted.extend(engine.iter().filter(|pod| !pod.containers.is_empty()).map(|pod| pod.pod.uid.clone()));
        self.clean_network(&engine).await;
        drop(engine);
        let mut probes = self.context.probes.updates();
        let mut objects: broadcast::Receiver<String> = self.context.spec.objects.changes();
        let mut network = self.context.network.ready_changed();
        let mut node = self.options.node.clone();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.options.heartbeat.beat();
        ready();
        loop {
            tokio::select! {
                update = self.options.updates.recv() => match update {
                    Some(update) => if self.source(update) { housekeeping.reset_immediately() },
                    None => return,
                },
                event = events.next() => match event {
                    Some(event) => self.engine(event),
                    None => return,
                },
                update = probes.recv() => match update {
                    Ok(update) => self.wake(&update.uid),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = objects.recv() => match changed {
                    Ok(uid) => self.wake(&uid),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                report = self.reports.1.recv() => {
                    if let Some(Report::Terminated(uid)) = report {
                        self.terminated(&uid);
                    }
                }
                Some(request) = self.options.ends.recv() => self.end_asked(request),
                changed = network.changed() => if changed.is_ok() { self.wake_all() },
                changed = node.changed() => if changed.is_ok() { self.node_changed() },
                _ = housekeeping.tick() => self.housekeep().await,
            }
            self.options.heartbeat.beat();
        }
    }

    async fn list_engine(&mut self) -> Vec<RuntimePod> {
        loop {
            match self.context.runtime.list_pods().await {
                Ok(pods) => return pods,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot list pods of the engine");
                    self.down(Some(chain(&error)));
                    tokio::time::sleep(ENGINE_RETRY).await;
                }
            }
        }
    }

    /// True when all sources have told their pods for the first time.
    fn source(&mut self, update: SourceUpdate) -> bool {
        match update {
            SourceUpdate::Static(pods) => self.static_pods(pods),
            SourceUpdate::ApiAll(pods) => {
                let present: HashSet<String> = pods.iter().map(|pod| facts::uid(pod).to_owned()).collect();
                for mirror in self.context.store.mirrors() {
                    if !present.contains(facts::uid(&mirror)) {
                        self.api_deleted(&mirror);
                    }
                }
                for pod in self.context.store.list() {
                    if !facts::is_static(&pod) && !present.contains(facts::uid(&pod)) {
                        self.api_deleted(&pod);
                    }
                }
                for pod in pods {
                    self.api_applied(pod);
                }
                self.api_seen = true;
            }
            SourceUpdate::ApiApplied(pod) => self.api_applied(pod),
            SourceUpdate::ApiDeleted(pod) => self.api_deleted(&pod),
        }
        let first = self.static_seen && self.api_seen && !*self.options.sources_ready.borrow();
        if first {
            self.options.sources_ready.send_replace(true);
        }
        first
    }

    fn static_pods(&mut self, pods: Vec<Arc<Pod>>) {
        self.static_seen = true;
        let wanted: HashSet<&str> = pods.iter().map(|pod| facts::uid(pod)).collect();
        self.waiting.retain(|pod| wanted.contains(facts::uid(pod)));
        for pod in self.context.store.list() {
            if facts::is_static(&pod) && !wanted.contains(facts::uid(&pod)) {
                self.gone(&pod, facts::grace_period(&pod));
            }
        }
        for pod in pods {
            let known = self.workers.contains_key(facts::uid(&pod))
                || self.waiting.iter().any(|waiting| facts::uid(waiting) == facts::uid(&pod));
            if !known {
                self.waiting.push(pod);
            }
        }
        self.start_waiting();
        self.options.mirror_wake.notify_one();
    }

    /// Starts the static pods whose name is free.
    fn start_waiting(&mut self) {
        for pod in std::mem::take(&mut self.waiting) {
            let name = facts::full_name(&pod);
            if self.workers.values().any(|slot| facts::full_name(&slot.handle.pod()) == name) {
                self.waiting.push(pod);
            } else {
                self.admit(pod);
            }
        }
    }

    fn api_applied(&mut self, pod: Arc<Pod>) {
        if facts::is_mirror(&pod) {
            let full_name = facts::full_name(&pod);
            self.context.store.set_mirror(pod);
            self.mirror_changed(&full_name);
            return;
        }
        let uid = facts::uid(&pod);
        if let Some(slot) = self.workers.get(uid) {
            self.context.store.set(Arc::clone(&pod));
            slot.handle.update(Arc::clone(&pod));
            if facts::is_deleting(&pod) {
                slot.handle.end(End { grace: facts::grace_period(&pod), verdict: None });
            }
            return;
        }
        self.unadmitted.retain(|waiting| facts::uid(waiting) != uid);
        self.admit(pod);
    }

    fn api_deleted(&mut self, pod: &Arc<Pod>) {
        let uid = facts::uid(pod);
        if facts::is_mirror(pod) {
            let full_name = facts::full_name(pod);
            self.context.store.remove_mirror(&full_name, uid);
            self.mirror_changed(&full_name);
            return;
        }
        self.unadmitted.retain(|waiting| facts::uid(waiting) != uid);
        self.doubts.forget(uid);
        // Who deleted it by force did not want to wait.
        let grace = if facts::is_deleting(pod) { facts::grace_period(pod) } else { Duration::from_secs(1) };
        self.gone(pod, grace);
    }

    fn mirror_changed(&self, full_name: &str) {
        self.options.mirror_wake.notify_one();
        if let Some((namespace, name)) = full_name.split_once('/')
            && let Some(pod) = self.context.store.by_name(namespace, name)
        {
            self.context.status.changed(facts::uid(&pod));
        }
    }

    /// No source has the pod any more.
    fn gone(&mut self, pod: &Arc<Pod>, grace: Duration) {
        let uid = facts::uid(pod).to_owned();
        let Some(slot) = self.workers.get_mut(&uid) else {
            self.context.store.remove(&uid);
            return;
        };
        slot.gone = true;
        slot.handle.end(End { grace, verdict: None });
        if slot.terminated {
            self.forget(&uid);
        }
    }

    fn admit(&mut self, pod: Arc<Pod>) {
        let uid = facts::uid(&pod).to_owned();
        let ended = facts::is_deleting(&pod).then(|| End { grace: facts::grace_period(&pod), verdict: None });
        let finished = facts::is_terminal_phase(facts::stored_phase(&pod)) && !facts::is_static(&pod);
        if ended.is_some() || finished || self.adopted.contains(&uid) {
            self.start(pod, ended, finished);
            return;
        }
        let node = self.options.node.borrow().clone();
        let node = match node {
            Some(node) => node,
            // Static pods run before there is a node; they are checked against each other only.
            None if facts::is_static(&pod) => Arc::new(Node::default()),
            None => {
                self.unadmitted.push(pod);
                return;
            }
        };
        let others: Vec<Arc<Pod>> = self
            .workers
            .values()
            .filter(|slot| !slot.verdict && !slot.terminated)
            .map(|slot| self.context.allocations.granted(&slot.handle.pod()))
            .collect();
        let others: Vec<&Pod> = others.iter().map(AsRef::as_ref).collect();
        let admitted = self.options.gate.admit(&pod);
        match admitted.and_then(|()| admission::admit(&pod, &others, &node, self.options.max_pods)) {
            Ok(()) => {
                self.doubts.forget(&uid);
                self.start(pod, None, false);
            }
            Err(verdict) if self.doubts.raise(&uid, &verdict) => self.unadmitted.push(pod),
            Err(verdict) => {
                tracing::info!(
                    pod = facts::full_name(&pod),
                    reason = verdict.reason,
                    message = verdict.message,
                    "pod is rejected"
                );
                let message = verdict.message.trim_start_matches("Pod was rejected: ").to_owned();
                self.context.events.pod(&pod, EventType::Warning, reason_name(&verdict.reason), message);
                let end = End { grace: facts::grace_period(&pod), verdict: Some(verdict) };
                self.start(pod, Some(end), true);
            }
        }
    }

    fn start(&mut self, pod: Arc<Pod>, end: Option<End>, verdict: bool) {
        let uid = facts::uid(&pod).to_owned();
        tracing::debug!(pod = facts::full_name(&pod), uid, "worker starts");
        self.context.store.set(Arc::clone(&pod));
        let handle = WorkerHandle::spawn(Arc::clone(&self.context), Order { pod, end }, self.reports.0.clone());
        self.workers.insert(uid, Slot { handle, terminated: false, gone: false, verdict });
    }

    fn terminated(&mut self, uid: &str) {
        self.told_ended(uid);
        let Some(slot) = self.workers.get_mut(uid) else { return };
        slot.terminated = true;
        if slot.gone {
            self.forget(uid);
        }
    }

    /// The pod is gone from its source and from this node: remove its remains.
    fn forget(&mut self, uid: &str) {
        let Some(slot) = self.workers.remove(uid) else { return };
        let pod = facts::pod_ref(&slot.handle.pod());
        self.adopted.remove(uid);
        self.context.store.remove(uid);
        self.context.status.forget(uid);
        let context = Arc::clone(&self.context);
        tokio::spawn(async move { gc::containers::remove_pod(&*context.runtime, &pod, &context.spec.log_root).await });
        self.start_waiting();
        self.options.mirror_wake.notify_one();
    }

    fn engine(&mut self, event: RuntimeEvent) {
        match event {
            // Only workers start containers, and they look after it themselves.
            RuntimeEvent::Started { .. } => {}
            // It ended, or was removed: by us, or by hand.
            RuntimeEvent::Died { pod_uid, .. } | RuntimeEvent::Removed { pod_uid, .. } => self.wake(&pod_uid),
            RuntimeEvent::Resync => {
                self.down(None);
                self.wake_all();
            }
            RuntimeEvent::Down(cause) => self.down(Some(cause)),
        }
    }

    fn down(&self, cause: Option<String>) {
        self.options.runtime_down.send_if_modified(|down| match (cause, down.take()) {
            (Some(cause), Some((_, since))) => {
                *down = Some((cause, since));
                false
            }
            (Some(cause), None) => {
                *down = Some((cause, Instant::now()));
                true
            }
            (None, before) => before.is_some(),
        });
    }

    fn wake(&self, uid: &str) {
        if let Some(slot) = self.workers.get(uid).filter(|slot| !slot.terminated) {
            slot.handle.wake();
        }
    }

    fn wake_all(&self) {
        for slot in self.workers.values().filter(|slot| !slot.terminated) {
            slot.handle.wake();
        }
    }

    fn node_changed(&mut self) {
        for pod in std::mem::take(&mut self.unadmitted) {
            self.admit(pod);
        }
    }
}

/// Event reasons are fixed words; those of extended resources share one.
fn reason_name(reason: &str) -> &'static str {
    const KNOWN: [&str; 11] = [
        "Evicted",
        "NodeShutdown",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfephemeral-storage",
        "OutOfpods",
        "NodeAffinity",
        "NodePorts",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "UnexpectedAdmissionError",
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("OutOfResource")
}
