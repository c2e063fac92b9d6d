//! Pods that the API server has bound to this node, by list and watch.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc;

use super::SourceUpdate;
use crate::certs::ApiClient;

/// How soon a refused connection is tried again: the API server may be a pod that is just starting.
const REFUSED: Duration = Duration::from_millis(100);
/// How soon any other failure is tried again.
const FAILED: Duration = Duration::from_secs(1);

/// Watches for ever; ends when nobody listens any more.
pub async fn run(api: ApiClient, node: String, updates: mpsc::Sender<SourceUpdate>) {
    let mut changed = api.changed();
    let mut quiet = false;
    loop {
        changed.mark_unchanged();
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let mut events = watcher::watcher(Api::<Pod>::all(api.current()), config).boxed();
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = changed.changed() => break,
            };
            let update = match event {
                Some(Ok(Event::Init)) => {
                    listed.clear();
                    continue;
                }
                Some(Ok(Event::InitApply(pod))) => {
                    listed.push(trim(pod));
                    continue;
                }
                Some(Ok(Event::InitDone)) => SourceUpdate::ApiAll(std::mem::take(&mut listed)),
                Some(Ok(Event::Apply(pod))) => SourceUpdate::ApiApplied(trim(pod)),
                Some(Ok(Event::Delete(pod))) => SourceUpdate::ApiDeleted(trim(pod)),
                Some(Err(error)) => {
                    let wait = if is_refused(&error) { REFUSED } else { FAILED };
                    if !quiet {
                        tracing::info!(%error, "cannot watch pods yet");
                    }
                    quiet = true;
                    tokio::time::sleep(wait).await;
                    continue;
                }
                None => break,
            };
            quiet = false;
            if updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

/// Who set which field is most of a pod's size, and nothing that a kubelet looks at.
fn trim(mut pod: Pod) -> Arc<Pod> {
    pod.metadata.managed_fields = None;
    Arc::new(pod)
}

/// The connection itself failed, so nobody was asked anything yet.
fn is_refused(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        return false;
    };
    crate::certs::client::is_connection_error(error)
}
