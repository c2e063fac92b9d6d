//! What this kubelet should run and what it knows of it. Written by the sync loop and the workers, read by the server, the
//! probes and the garbage collectors. Holds no logic about pods.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::pod::facts;
use crate::runtime::RuntimePod;

/// Shared by clones.
#[derive(Clone, Default)]
pub struct PodStore {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    pods: HashMap<String, Arc<Pod>>,
    /// `NAMESPACE/NAME` of pods that should run, to their UID.
    names: HashMap<String, String>,
    /// Mirror pods by `NAMESPACE/NAME`.
    mirrors: HashMap<String, Arc<Pod>>,
    runtime: HashMap<String, Arc<RuntimePod>>,
    statuses: HashMap<String, Arc<PodStatus>>,
}

impl PodStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All pods that have not gone, static ones under their own UID.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.read().pods.values().cloned().collect()
    }

    #[must_use]
    pub fn get(&self, uid: &str) -> Option<Arc<Pod>> {
        self.read().pods.get(uid).cloned()
    }

    /// The pod of this name; a mirror pod's name resolves to its static pod.
    #[must_use]
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let inner = self.read();
        let uid = inner.names.get(&format!("{namespace}/{name}"))?;
        inner.pods.get(uid).cloned()
    }

    /// The engine's state when it was last looked at.
    #[must_use]
    pub fn runtime_pod(&self, uid: &str) -> Option<Arc<RuntimePod>> {
        self.read().runtime.get(uid).cloned()
    }

    /// The status that was last computed.
    #[must_use]
    pub fn status(&self, uid: &str) -> Option<PodStatus> {
        self.status_ref(uid).map(|status| PodStatus::clone(&status))
    }

    #[must_use]
    pub fn status_ref(&self, uid: &str) -> Option<Arc<PodStatus>> {
        self.read().statuses.get(uid).cloned()
    }

    /// The mirror of a static pod, as the API server has it.
    #[must_use]
    pub fn mirror(&self, full_name: &str) -> Option<Arc<Pod>> {
        self.read().mirrors.get(full_name).cloned()
    }

    #[must_use]
    pub fn mirrors(&self) -> Vec<Arc<Pod>> {
        self.read().mirrors.values().cloned().collect()
    }

    /// Adds or replaces a pod that should run.
    pub fn set(&self, pod: Arc<Pod>) {
        let mut inner = self.write();
        let uid = facts::uid(&pod).to_owned();
        inner.names.insert(facts::full_name(&pod), uid.clone());
        inner.pods.insert(uid, pod);
    }

    pub fn set_mirror(&self, pod: Arc<Pod>) {
        self.write().mirrors.insert(facts::full_name(&pod), pod);
    }

    /// Forgets a mirror pod, unless another one has taken its name.
    pub fn remove_mirror(&self, full_name: &str, uid: &str) {
        let mut inner = self.write();
        if inner.mirrors.get(full_name).is_some_and(|mirror| facts::uid(mirror) == uid) {
            inner.mirrors.remove(full_name);
        }
    }

    pub fn set_runtime(&self, uid: &str, pod: Arc<RuntimePod>) {
        self.write().runtime.insert(uid.to_owned(), pod);
    }

    pub fn set_status(&self, uid: &str, status: Arc<PodStatus>) {
        self.write().statuses.insert(uid.to_owned(), status);
    }

    /// Forgets a pod altogether.
    pub fn remove(&self, uid: &str) {
        let mut inner = self.write();
        if let Some(pod) = inner.pods.remove(uid) {
            let full_name = facts::full_name(&pod);
            if inner.names.get(&full_name).is_some_and(|owner| owner == uid) {
                inner.names.remove(&full_name);
            }
        }
        inner.runtime.remove(uid);
        inner.statuses.remove(uid);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn pod(uid: &str) -> Arc<Pod> {
        Arc::new(Pod {
            metadata: ObjectMeta {
                uid: Some(uid.into()),
                name: Some("a".into()),
                namespace: Some("n".into()),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        })
    }

    #[test]
    fn a_name_belongs_to_its_newest_pod() {
        let store = PodStore::new();
        store.set(pod("1"));
        store.set(pod("2"));
        store.remove("1");
        assert_eq!(store.by_name("n", "a").map(|pod| facts::uid(&pod).to_owned()), Some("2".to_owned()));
        store.remove("2");
        assert!(store.by_name("n", "a").is_none());
    }

    #[test]
    fn a_new_mirror_is_not_forgotten_with_the_old_one() {
        let store = PodStore::new();
        store.set_mirror(pod("2"));
        store.remove_mirror("n/a", "1");
        assert!(store.mirror("n/a").is_some());
    }
}
