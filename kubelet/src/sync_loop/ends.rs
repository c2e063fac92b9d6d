//! Pods that others want ended: evicted ones, and all of them when the node shuts down. And pods that are kept out.

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{oneshot, watch};

use super::SyncLoop;
use crate::eviction::{self, Pressure};
use crate::pod::end::EndRequest;
use crate::pod::facts;
use crate::status::pod_status::Verdict;

/// What the state of the node says of new pods.
pub struct Gate {
    pub pressure: watch::Receiver<Pressure>,
    pub shutting_down: watch::Receiver<bool>,
}

impl Gate {
    pub(super) fn admit(&self, pod: &Pod) -> Result<(), Verdict> {
        eviction::admit(pod, *self.pressure.borrow())?;
        if *self.shutting_down.borrow() {
            return Err(Verdict {
                reason: "NodeShutdown".to_owned(),
                // upstream says it twice, too
                message: "Pod was rejected: Pod was rejected as the node is shutting down.".to_owned(),
                disruption: false,
            });
        }
        Ok(())
    }
}

/// Who waits for the end of which pod.
pub(super) type Waiting = Vec<(String, oneshot::Sender<()>)>;

impl SyncLoop {
    pub(super) fn end_asked(&mut self, request: EndRequest) {
        let Some(slot) = self.workers.get(&request.uid).filter(|slot| !slot.terminated) else { return };
        tracing::debug!(pod = facts::full_name(&slot.handle.pod()), "ended on request");
        slot.handle.end(request.end);
        self.asked.push((request.uid, request.done));
    }

    /// Tells those who wait for it.
    pub(super) fn told_ended(&mut self, uid: &str) {
        for (_, done) in self.asked.extract_if(.., |(asked, _)| asked == uid) {
            let _ = done.send(());
        }
    }
}
