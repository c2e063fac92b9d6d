//! The task: looks every ten seconds, tells the node's conditions, reclaims, and ends one pod at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::observation::{Observations, Places};
use super::signal::{Pressure, Signal};
use super::threshold::Threshold;
use super::tracker::Tracker;
use super::usage::{Gauge, Parts};
use super::{EVICTED, limits, message, rank};
use crate::container_spec::blocking;
use crate::events::{EventRecorder, EventType, node_reference};
use crate::gc;
use crate::pod::end::PodEnds;
use crate::pod::worker::End;
use crate::pod::{PodStore, facts};
use crate::runtime::{PodRuntime, RuntimePod};
use crate::status::pod_status::Verdict;

/// How often the host is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// A hard threshold leaves no time to say goodbye.
const HARD_GRACE: Duration = Duration::from_secs(1);
/// How long the remains of an evicted pod are waited for before the host is looked at again.
const CLEANUP: Duration = Duration::from_secs(30);
/// Looking at files may take this share of the time.
const LOOKING: u32 = 20;

/// From the configuration.
#[derive(Debug, Clone)]
pub struct EvictionSettings {
    pub thresholds: Vec<Threshold>,
    /// How long a condition stays after its threshold was crossed last.
    pub transition: Duration,
    /// Longest grace of a pod that a soft threshold ends.
    pub max_pod_grace: Duration,
    /// Limits on local storage are enforced.
    pub local_storage: bool,
}

/// Owns what was seen and who is ended.
pub struct EvictionManager {
    node: String,
    settings: EvictionSettings,
    tracker: Tracker,
    places: Places,
    split: bool,
    gauge: Gauge,
    store: PodStore,
    images: Arc<gc::images::ImageCollector>,
    events: EventRecorder,
    ends: PodEnds,
    pressure: watch::Sender<Pressure>,
    /// When the pods' files may be looked at again.
    files_due: Instant,
}

/// What the manager works with.
pub struct EvictionParts {
    pub node: String,
    pub settings: EvictionSettings,
    pub places: Places,
    pub runtime: Arc<dyn PodRuntime>,
    pub log_root: std::path::PathBuf,
    pub store: PodStore,
    pub images: Arc<gc::images::ImageCollector>,
    pub events: EventRecorder,
    pub ends: PodEnds,
}

impl EvictionManager {
    /// Looks once, so that the node's conditions are known before the node is registered. Blocks for a few system calls.
    #[must_use]
    pub fn new(parts: EvictionParts) -> (Self, watch::Receiver<Pressure>) {
        let mut tracker = Tracker::new(parts.settings.thresholds.clone(), parts.settings.transition);
        let (seen, _) = tracker.observe(&parts.places.observe(), Instant::now());
        let (pressure, receiver) = watch::channel(seen);
        let manager = Self {
            node: parts.node,
            tracker,
            split: parts.places.split(),
            gauge: Gauge {
                runtime: parts.runtime,
                cgroups: Arc::clone(&parts.places.cgroups),
                pods: parts.places.node.join("pods"),
                log_root: parts.log_root,
                engine: parts.places.images.clone(),
            },
            places: parts.places,
            settings: parts.settings,
            store: parts.store,
            images: parts.images,
            events: parts.events,
            ends: parts.ends,
            pressure,
            files_due: Instant::now(),
        };
        (manager, receiver)
    }

    /// Works for ever.
    pub async fn run(mut self) {
        loop {
            // After an eviction the next look is due at once: one pod may not have been enough.
            if !self.round().await {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    /// True if a pod was ended.
    async fn round(&mut self) -> bool {
        let seen = self.look().await;
        let (pressure, due) = self.tracker.observe(&seen, Instant::now());
        self.pressure.send_if_modified(|told| std::mem::replace(told, pressure) != pressure);
        let pods = self.candidates();
        if self.settings.local_storage && self.enforce_limits(&pods).await {
            return true;
        }
        let Some(first) = due.first() else { return false };
        let resource = first.signal.resource();
        tracing::warn!(signal = first.signal.name(), "eviction threshold is crossed");
        let text = format!("Attempting to reclaim {resource}");
        self.events.event(&node_reference(&self.node, None), EventType::Warning, "EvictionThresholdMet", text);
        if self.reclaim(first.signal).await && self.tracker.is_relieved(&self.look().await) {
            tracing::info!("enough was reclaimed without ending a pod");
            return false;
        }
        self.evict_one(pods, first, &due, &seen).await
    }

    async fn look(&self) -> Observations {
        let places = self.places.clone();
        blocking(move || places.observe()).await
    }

    /// Pods that have or may have something running.
    fn candidates(&self) -> Vec<(Arc<Pod>, Arc<RuntimePod>)> {
        let active = |pod: &Arc<Pod>| {
            let status = self.store.status_ref(facts::uid(pod));
            let phase = status.as_ref().and_then(|status| status.phase.as_deref());
            !facts::is_terminal_phase(phase.unwrap_or_else(|| facts::stored_phase(pod)))
        };
        let pods = self.store.list().into_iter().filter(active);
        pods.map(|pod| {
            let runtime = self.store.runtime_pod(facts::uid(&pod)).unwrap_or_default();
            (pod, runtime)
        })
        .collect()
    }

    async fn enforce_limits(&mut self, pods: &[(Arc<Pod>, Arc<RuntimePod>)]) -> bool {
        let started = Instant::now();
        if started < self.files_due {
            return false;
        }
        let mut evicted = false;
        for (pod, runtime) in pods.iter().filter(|(pod, _)| limits::has_limits(pod) && !facts::is_critical(pod)) {
            let files = self.gauge.files(pod, runtime).await;
            if let Some(text) = limits::exceeded(pod, &files, self.split) {
                self.evict(pod, HARD_GRACE, text, false).await;
                evicted = true;
            }
        }
        self.files_due = Instant::now() + started.elapsed() * LOOKING;
        evicted
    }

    /// Frees what nobody uses; false if the signal has nothing of the kind.
    async fn reclaim(&self, signal: Signal) -> bool {
        let engine = match signal {
            Signal::ImageFsAvailable | Signal::ImageFsInodesFree => true,
            // Images elsewhere do not help the node's own disk.
            Signal::NodeFsAvailable | Signal::NodeFsInodesFree => !self.split,
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable | Signal::PidAvailable => false,
        };
        if engine {
            gc::containers::remove_dead(&*self.gauge.runtime, &self.store).await;
            self.images.remove_unused().await;
        }
        engine
    }

    async fn evict_one(
        &self,
        pods: Vec<(Arc<Pod>, Arc<RuntimePod>)>,
        threshold: &Threshold,
        due: &[Threshold],
        seen: &Observations,
    ) -> bool {
        let resource = threshold.signal.resource();
        let mut ranked = Vec::new();
        for (pod, runtime) in pods {
            // A critical pod is never ended, so its rank does not matter.
            if !facts::is_critical(&pod) {
                let usage = self.gauge.usage(&pod, &runtime, resource, self.parts(threshold.signal)).await;
                ranked.push((pod, usage));
            }
        }
        rank::rank(&mut ranked, resource);
        let Some((pod, usage)) = ranked.first() else {
            tracing::warn!(%resource, "no pod can be ended to reclaim it");
            return false;
        };
        let asked = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let grace = match threshold.is_hard() {
            true => HARD_GRACE,
            false => self.settings.max_pod_grace.min(Duration::from_secs(u64::try_from(asked).unwrap_or(0))),
        };
        let text = message::message(pod, usage, resource, due, seen);
        self.evict(pod, grace.max(HARD_GRACE), text, true).await;
        true
    }

    fn parts(&self, signal: Signal) -> Parts {
        let nodes = matches!(signal, Signal::NodeFsAvailable | Signal::NodeFsInodesFree);
        Parts { volumes_and_logs: !self.split || nodes, layers: !self.split || !nodes }
    }

    /// Ends the pod and waits until nothing is left of it, or for a while.
    async fn evict(&self, pod: &Arc<Pod>, grace: Duration, message: String, disruption: bool) {
        tracing::warn!(pod = facts::full_name(pod), message, "evicting pod");
        self.events.pod(pod, EventType::Warning, EVICTED, message.clone());
        let verdict = Verdict { reason: EVICTED.to_owned(), message, disruption };
        let end = self.ends.end(facts::uid(pod), End { grace, verdict: Some(verdict) });
        if tokio::time::timeout(grace + CLEANUP, end).await.is_err() {
            tracing::warn!(pod = facts::full_name(pod), "evicted pod is not gone yet");
        }
    }
}
