//! Keeps the Node object true: registers it as soon as the API server answers, then patches its status when something
//! changed, at once for what matters, and now and then as a sign of life. Owns the last stored Node object.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::conditions::{Health, change_event};
use super::lease;
use super::registration::{Registration, register};
use super::status::{NodeFacts, node_status, status_patch};
use crate::certs::ApiClient;
use crate::certs::client::is_connection_error;
use crate::config::KubeletConfiguration;
use crate::events::{EventRecorder, EventType, node_reference};
use crate::eviction::Pressure;
use crate::network::cni::Cni;
use crate::pod::facts;
use crate::runtime::{PodRuntime, RuntimeImage};

/// While the API server refuses connections: it may be a pod that is just starting.
const REFUSED: Duration = Duration::from_millis(100);
const REFUSED_BY_RBAC: Duration = Duration::from_millis(250);
const FAILED_MAX: Duration = Duration::from_secs(7);
/// An engine that is silent for longer makes the node NotReady.
const RUNTIME_SILENCE: Duration = Duration::from_secs(30);
/// How often the list of images is read again.
const IMAGES: Duration = Duration::from_secs(60);
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);
const PATCH_TRIES: usize = 5;

/// Why the engine does not answer, and since when.
pub type RuntimeDown = Option<(String, Instant)>;

/// Everything that the task needs.
pub struct NodeManager {
    pub api: ApiClient,
    pub facts: NodeFacts,
    pub registration: Registration,
    pub register_node: bool,
    pub config: Arc<KubeletConfiguration>,
    pub runtime: Arc<dyn PodRuntime>,
    pub network: Arc<Cni>,
    pub runtime_down: watch::Receiver<RuntimeDown>,
    pub events: EventRecorder,
    /// Decided by the eviction manager.
    pub pressure: watch::Receiver<Pressure>,
    pub shutting_down: watch::Receiver<bool>,
    /// Somebody needs the Node object as it is now.
    pub wanted: Arc<Notify>,
    /// Tells the stored Node object to admission and mirror pods.
    pub node: watch::Sender<Option<Arc<Node>>>,
}

impl NodeManager {
    /// Runs for ever.
    pub async fn run(self) {
        let mut images = self.runtime.images().await.unwrap_or_default();
        let mut images_read = Instant::now();
        let mut node = self.register(&images).await;
        tracing::info!(node = self.facts.name, "node is registered");
        self.node.send_replace(Some(Arc::new(node.clone())));
        self.events.event(&node_reference(&self.facts.name, None), EventType::Normal, "Starting", "Starting kubelet.");
        let lease = tokio::spawn(lease::run(self.api.clone(), node.clone(), self.config.lease_seconds()));
        let _lease = tokio_util::task::AbortOnDropHandle::new(lease);

        let mut network = self.network.ready_changed();
        let mut runtime_down = self.runtime_down.clone();
        let (mut pressure, mut shutting_down) = (self.pressure.clone(), self.shutting_down.clone());
        let mut reported = Instant::now() - self.config.node_report_period();
        let mut wanted = false;
        let mut wait = Duration::ZERO;
        loop {
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.wanted.notified() => wanted = true,
                    _ = network.changed() => {}
                    _ = runtime_down.changed() => {}
                    Ok(()) = pressure.changed() => {}
                    Ok(()) = shutting_down.changed() => {}
                }
            }
            if images_read.elapsed() > IMAGES && self.runtime_down.borrow().is_none() {
                // An engine that hangs must not keep the node from saying so.
                if let Ok(Ok(list)) = tokio::time::timeout(ENGINE_PATIENCE, self.runtime.images()).await {
                    images = list;
                    images_read = Instant::now();
                }
            }
            let heartbeat = reported.elapsed() >= self.config.node_report_period();
            wait = match self.update(&mut node, &images, heartbeat).await {
                Ok(patched) => {
                    if patched {
                        reported = Instant::now();
                    }
                    // It was read, also where nothing had to be patched.
                    if std::mem::take(&mut wanted) || patched {
                        self.node.send_replace(Some(Arc::new(node.clone())));
                    }
                    self.config.node_status_period().mul_f64(1.0 + 0.04 * rand::random::<f64>())
                }
                Err(error) if is_connection_error(&error) => REFUSED * 2,
                Err(error) => {
                    tracing::warn!(%error, "cannot update node status");
                    Duration::from_secs(1)
                }
            };
        }
    }

    async fn register(&self, images: &[RuntimeImage]) -> Node {
        let mut wait = REFUSED;
        let mut told = false;
        loop {
            let api: Api<Node> = Api::all(self.api.current());
            let status = node_status(&self.facts, &self.health(), images, None, facts::now_in_seconds());
            let result = if self.register_node {
                register(&api, &self.facts, &self.registration, status).await
            } else {
                api.get(&self.facts.name).await
            };
            let error = match result {
                Ok(node) => return node,
                Err(error) => error,
            };
            let pause = match &error {
                error if is_connection_error(error) => REFUSED,
                // While the API server starts, it knows no roles yet.
                kube::Error::Api(answer) if matches!(answer.code, 401 | 403 | 429 | 500..=504) => REFUSED_BY_RBAC,
                _ => {
                    wait = (wait * 2).min(FAILED_MAX);
                    wait
                }
            };
            if !told || !is_connection_error(&error) {
                tracing::info!(%error, "node is not registered yet");
                told = true;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Patches the status if it must; true if it did.
    async fn update(&self, node: &mut Node, images: &[RuntimeImage], heartbeat: bool) -> Result<bool, kube::Error> {
        let api: Api<Node> = Api::all(self.api.current());
        let mut last = None;
        for attempt in 0..PATCH_TRIES {
            if attempt > 0 || !heartbeat {
                *node = api.get(&self.facts.name).await?;
            }
            let now = facts::now_in_seconds();
            let wanted = node_status(&self.facts, &self.health(), images, node.status.as_ref(), now);
            let Some(patch) = status_patch(node, &wanted, heartbeat) else { return Ok(false) };
            match api.patch_status(&self.facts.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(patched) => {
                    self.tell_changes(node, &patched);
                    *node = patched;
                    node.metadata.managed_fields = None;
                    return Ok(true);
                }
                Err(error) if is_connection_error(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(false), Err)
    }

    fn tell_changes(&self, old: &Node, new: &Node) {
        let conditions =
            |node: &Node| node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let before = conditions(old);
        for condition in conditions(new) {
            let same = before.iter().any(|old| old.type_ == condition.type_ && old.status == condition.status);
            if let Some(reason) = change_event(&condition.type_, &condition.status).filter(|_| !same) {
                let message = format!("Node {} status is now: {reason}", self.facts.name);
                self.events.event(&node_reference(&self.facts.name, None), EventType::Normal, reason, message);
            }
        }
    }

    fn health(&self) -> Health {
        Health {
            network: self.network.status().err().map(|cause| cause.to_string()),
            runtime: self
                .runtime_down
                .borrow()
                .as_ref()
                .filter(|(_, since)| since.elapsed() > RUNTIME_SILENCE)
                .map(|(cause, _)| cause.clone()),
            pressure: *self.pressure.borrow(),
            shutting_down: *self.shutting_down.borrow(),
        }
    }
}
