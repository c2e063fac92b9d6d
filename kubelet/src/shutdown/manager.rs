//! The task: holds logind's lock, and when the host goes down ends the pods group by group before it lets go.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::groups::{grace_of, groups, longest};
use super::logind::{Logind, ShutdownError};
use crate::config::ShutdownGrace;
use crate::error_chain::chain;
use crate::events::{EventRecorder, EventType, node_reference};
use crate::pod::end::PodEnds;
use crate::pod::worker::End;
use crate::pod::{PodStore, facts};
use crate::status::pod_status::Verdict;

/// How long after a failure logind is tried again.
const RETRY: Duration = Duration::from_secs(10);
const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

/// What it works with.
pub struct ShutdownManager {
    pub node: String,
    /// Lowest priority first; empty: a shutdown is none of the kubelet's business.
    pub graces: Vec<ShutdownGrace>,
    pub store: PodStore,
    pub ends: PodEnds,
    pub events: EventRecorder,
    /// Tells the node's condition and admission.
    pub shutting_down: watch::Sender<bool>,
}

impl ShutdownManager {
    /// Works for ever.
    pub async fn run(self) {
        if longest(&self.graces).is_zero() {
            return std::future::pending().await;
        }
        let mut told = String::new();
        loop {
            if let Err(error) = self.guard().await {
                let text = chain(&error);
                if text != told {
                    tracing::warn!(error = text, "pods do not end in order when this host shuts down");
                    told = text;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Until logind goes away.
    async fn guard(&self) -> Result<(), ShutdownError> {
        let logind = Logind::connect().await?;
        logind.allow(longest(&self.graces)).await?;
        // A shutdown between the two would not be heard of if the lock came first.
        let mut shutdowns = logind.shutdowns().await?;
        let mut lock = Some(logind.inhibit().await?);
        tracing::info!(seconds = longest(&self.graces).as_secs(), "a shutdown of this host waits for its pods");
        while let Some(begins) = shutdowns.next().await {
            let text = if begins { "shutdown event" } else { "shutdown cancellation" };
            let text = format!("Shutdown manager detected {text}");
            tracing::info!("{text}");
            self.events.event(&node_reference(&self.node, None), EventType::Normal, "NodeShutdown", text);
            self.shutting_down.send_replace(begins);
            if begins {
                self.end_all().await;
                lock = None;
            } else {
                lock = Some(logind.inhibit().await?);
            }
        }
        drop(lock);
        Err(ShutdownError::Ended)
    }

    async fn end_all(&self) {
        let active = |pod: &Arc<Pod>| {
            let status = self.store.status_ref(facts::uid(pod));
            let phase = status.as_ref().and_then(|status| status.phase.as_deref());
            !facts::is_terminal_phase(phase.unwrap_or_else(|| facts::stored_phase(pod)))
        };
        let pods: Vec<Arc<Pod>> = self.store.list().into_iter().filter(active).collect();
        for group in groups(&self.graces, &pods) {
            tracing::info!(pods = group.pods.len(), seconds = group.grace.as_secs(), "ending pods");
            let ends = group.pods.iter().map(|pod| {
                let verdict =
                    Verdict { reason: "Terminated".to_owned(), message: MESSAGE.to_owned(), disruption: true };
                let end = End { grace: grace_of(pod, &group), verdict: Some(verdict) };
                self.ends.end(facts::uid(pod), end)
            });
            if tokio::time::timeout(group.grace, join_all(ends)).await.is_err() {
                tracing::warn!("pods did not end in time, the next ones are ended");
            }
        }
        tracing::info!("the host may shut down");
    }
}
