//! What an earlier life of the kubelet left behind: pods that no source has, directories, control groups, addresses.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Slot, SyncLoop};
use crate::container_spec::annotations::GRACE_PERIOD;
use crate::error_chain::chain;
use crate::pod::facts;
use crate::pod::worker::{End, Order, WorkerHandle};
use crate::runtime::RuntimePod;

const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

impl SyncLoop {
    /// Finds what an earlier life of the kubelet left: pods that no source has, directories, cgroups, addresses.
    pub(super) async fn housekeep(&mut self) {
        let told_all = self.static_seen && self.api_seen;
        if !told_all || !self.unadmitted.is_empty() {
            return;
        }
        // Everything else waits for this loop, so an engine that hangs is asked again later.
        let engine = match tokio::time::timeout(ENGINE_PATIENCE, self.context.runtime.list_pods()).await {
            Ok(Ok(engine)) => engine,
            Ok(Err(error)) => return self.down(Some(chain(&error))),
            Err(_) => return,
        };
        for pod in engine {
            let uid = &pod.pod.uid;
            let known = self.workers.contains_key(uid) || self.waiting.iter().any(|waiting| facts::uid(waiting) == uid);
            if !known {
                self.end_unknown(&pod);
            }
        }
        // Workers start in this loop only, so none can make a directory or cgroup while these are looked for.
        let known: HashSet<String> = self.workers.keys().cloned().collect();
        if let Err(error) = self.context.volumes.orphans(&known).await {
            tracing::debug!(error = chain(&error), "volume leftovers stay");
        }
        let cgroups = Arc::clone(&self.context.cgroups);
        let removed = tokio::task::spawn_blocking(move || {
            let orphans = cgroups.pods().into_iter().filter(|uid| !known.contains(uid)).collect::<Vec<_>>();
            orphans.iter().try_for_each(|uid| cgroups.remove_pod(uid))
        });
        if let Ok(Err(error)) = removed.await {
            tracing::debug!(error = chain(&error), "cgroup leftovers stay");
        }
    }

    /// Gives back addresses of sandboxes that died while nobody looked. Only before the first worker: later the list of
    /// live sandboxes would be older than the newest record.
    pub(super) async fn clean_network(&self, engine: &[RuntimePod]) {
        let live = engine
            .iter()
            .flat_map(|pod| &pod.sandboxes)
            .filter(|sandbox| sandbox.ready)
            .map(|sandbox| sandbox.id.clone())
            .collect();
        if let Err(error) = self.context.network.cleanup(&live).await {
            tracing::warn!(error = chain(&error), "network leftovers stay");
        }
    }

    /// Ends a pod that only the engine knows.
    fn end_unknown(&mut self, found: &RuntimePod) {
        tracing::info!(
            pod = found.pod.name,
            namespace = found.pod.namespace,
            uid = found.pod.uid,
            "ending a pod that no source has"
        );
        let seconds =
            found.containers.iter().find_map(|container| container.annotations.get(GRACE_PERIOD)?.parse::<u64>().ok());
        let pod = Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(found.pod.name.clone()),
                namespace: Some(found.pod.namespace.clone()),
                uid: Some(found.pod.uid.clone()),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        });
        let end = End { grace: Duration::from_secs(seconds.unwrap_or(30).max(1)), verdict: None };
        let handle =
            WorkerHandle::spawn(Arc::clone(&self.context), Order { pod, end: Some(end) }, self.reports.0.clone());
        self.workers.insert(found.pod.uid.clone(), Slot { handle, terminated: false, gone: true, verdict: true });
    }
}
