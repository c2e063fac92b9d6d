//! Mirror pods: what the API server is told of static pods. One task compares both sides and puts them in line; it owns no
//! state but the store's.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use tokio::sync::{Notify, watch};

use super::{PodStore, facts};
use crate::certs::ApiClient;
use crate::certs::client::is_connection_error;

const RETRY: Duration = Duration::from_secs(1);
const REFUSED: Duration = Duration::from_millis(200);

/// The task.
pub struct MirrorTask {
    pub api: ApiClient,
    pub store: PodStore,
    /// Set once the node is registered.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// Set once both sources have told all their pods.
    pub sources_ready: watch::Receiver<bool>,
    /// Static pods or mirror pods changed.
    pub wake: Arc<Notify>,
}

impl MirrorTask {
    /// Works for ever.
    pub async fn run(mut self) {
        let Ok(_) = self.node.wait_for(Option::is_some).await else { return };
        let Ok(_) = self.sources_ready.wait_for(|ready| *ready).await else { return };
        loop {
            let wait = self.reconcile().await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
            }
        }
    }

    /// One comparison; the pause before the next try if something failed.
    async fn reconcile(&self) -> Option<Duration> {
        let statics: Vec<Arc<Pod>> = self.store.list().into_iter().filter(|pod| facts::is_static(pod)).collect();
        let mut wait: Option<Duration> = None;
        for mirror in self.store.mirrors() {
            let full_name = facts::full_name(&mirror);
            let wanted = statics.iter().find(|pod| facts::full_name(pod) == full_name);
            let same = wanted.is_some_and(|pod| {
                facts::annotation(pod, facts::CONFIG_HASH) == facts::annotation(&mirror, facts::CONFIG_MIRROR)
            });
            if !same || facts::is_deleting(&mirror) {
                match self.delete(&mirror).await {
                    Ok(()) => self.store.remove_mirror(&full_name, facts::uid(&mirror)),
                    Err(error) => wait = later(wait, &error),
                }
            }
        }
        for pod in statics {
            if self.store.mirror(&facts::full_name(&pod)).is_none()
                && let Err(error) = self.create(&pod).await
            {
                wait = later(wait, &error);
            }
        }
        wait
    }

    async fn create(&self, pod: &Pod) -> Result<(), kube::Error> {
        let node = self.node.borrow().clone();
        let Some(node) = node else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(self.api.current(), facts::namespace(pod));
        match api.create(&PostParams::default(), &mirror_of(pod, &node)).await {
            // The watch brings it to the store; this is only sooner.
            Ok(mirror) => {
                self.store.set_mirror(Arc::new(mirror));
                Ok(())
            }
            Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, mirror: &Pod) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.api.current(), facts::namespace(mirror));
        let preconditions = Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams::default().grace_period(0).preconditions(preconditions);
        match api.delete(facts::name(mirror), &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn later(wait: Option<Duration>, error: &kube::Error) -> Option<Duration> {
    // A starting API server refuses by 403 while it has no priority classes and roles yet.
    let soon = is_connection_error(error) || matches!(error, kube::Error::Api(answer) if answer.code == 403);
    let pause = if soon { REFUSED } else { RETRY };
    tracing::debug!(%error, "mirror pod not in line yet");
    Some(wait.map_or(pause, |wait| wait.min(pause)))
}

/// The object to create: as NodeRestriction wants it, owned by the node and without API references.
#[must_use]
pub fn mirror_of(pod: &Pod, node: &Node) -> Pod {
    let mut mirror = pod.clone();
    let hash = facts::annotation(pod, facts::CONFIG_HASH).unwrap_or_default().to_owned();
    mirror.metadata.uid = None;
    mirror.metadata.annotations.get_or_insert_default().insert(facts::CONFIG_MIRROR.to_owned(), hash);
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror.status = None;
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::test_support::pod;

    #[test]
    fn a_mirror_is_owned_by_the_node_and_carries_the_hash() {
        let mut pod = pod("Always", &[], &["a"]);
        pod.metadata.annotations = Some([(facts::CONFIG_HASH.to_owned(), "h".to_owned())].into());
        let mut node = Node::default();
        node.metadata.uid = Some("node-uid".into());
        let mirror = mirror_of(&pod, &node);
        assert_eq!(facts::annotation(&mirror, facts::CONFIG_MIRROR), Some("h"));
        assert!(mirror.metadata.uid.is_none());
        let owner = &mirror.metadata.owner_references.expect("owner")[0];
        assert_eq!(
            (owner.kind.as_str(), owner.uid.as_str(), owner.controller, owner.block_owner_deletion),
            ("Node", "node-uid", Some(true), None)
        );
    }
}
