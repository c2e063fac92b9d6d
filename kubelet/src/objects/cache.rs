//! Config maps and secrets of the pods on this node, each kept current by a watch of that one object.
//!
//! A watch lives as long as some registered pod names the object; the last known value survives an API outage.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::{ObjectError, ObjectKey, ObjectKind, references_of};
use crate::certs::ApiClient;

/// How long a caller waits for the first answer before it reports what is missing. The watch goes on meanwhile, and
/// the pod is woken when the object arrives.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones share the watches.
#[derive(Clone)]
pub struct ObjectCache {
    inner: Arc<Inner>,
}

struct Inner {
    api: Option<ApiClient>,
    state: Mutex<State>,
    changed: broadcast::Sender<String>,
}

#[derive(Default)]
struct State {
    entries: HashMap<ObjectKey, Entry>,
    pods: HashMap<String, BTreeSet<ObjectKey>>,
}

struct Entry {
    pods: HashSet<String>,
    value: watch::Receiver<Loaded>,
    task: Option<AbortHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[derive(Debug, Clone)]
enum Loaded {
    Pending,
    Known(Option<Object>),
    Failed(String),
}

#[derive(Debug, Clone)]
enum Object {
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

impl ObjectCache {
    /// `None` is a standalone kubelet: every lookup fails with [`ObjectError::NoApiServer`].
    #[must_use]
    pub fn new(api: Option<ApiClient>) -> Self {
        let (changed, _) = broadcast::channel(256);
        Self { inner: Arc::new(Inner { api, state: Mutex::default(), changed }) }
    }

    /// UIDs of pods one of whose objects has changed: sync them. `Lagged` means: sync all.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.inner.changed.subscribe()
    }

    /// Starts watches of everything the pod names and drops those of what it named before. Call again at will.
    pub fn register(&self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let wanted = references_of(pod);
        let mut state = self.lock();
        let before = state.pods.insert(uid.clone(), wanted.clone()).unwrap_or_default();
        for key in before.difference(&wanted) {
            state.drop_user(key, &uid);
        }
        for key in wanted {
            match state.entries.get_mut(&key) {
                Some(entry) => {
                    entry.pods.insert(uid.clone());
                }
                None => {
                    let entry = self.watch_new(&key, &uid);
                    state.entries.insert(key, entry);
                }
            }
        }
    }

    /// Forgets the pod; objects that no other pod names are no longer watched.
    pub fn release(&self, uid: &str) {
        let mut state = self.lock();
        for key in state.pods.remove(uid).unwrap_or_default() {
            state.drop_user(&key, uid);
        }
    }

    /// The config map, which a registered pod must name.
    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, ObjectError> {
        let key = key(ObjectKind::ConfigMap, namespace, name);
        match self.object(&key).await? {
            Object::ConfigMap(object) => Ok(object),
            Object::Secret(_) => Err(ObjectError::NotFound(key)),
        }
    }

    /// The secret, which a registered pod must name.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, ObjectError> {
        let key = key(ObjectKind::Secret, namespace, name);
        match self.object(&key).await? {
            Object::Secret(object) => Ok(object),
            Object::ConfigMap(_) => Err(ObjectError::NotFound(key)),
        }
    }

    async fn object(&self, key: &ObjectKey) -> Result<Object, ObjectError> {
        let receiver = self.lock().entries.get(key).map(|entry| entry.value.clone());
        let Some(mut receiver) = receiver else {
            return Err(ObjectError::Unavailable { key: key.clone(), message: "no pod of this node names it".into() });
        };
        if self.inner.api.is_none() && matches!(*receiver.borrow(), Loaded::Pending) {
            return Err(ObjectError::NoApiServer(key.clone()));
        }
        let known = receiver.wait_for(|value| matches!(value, Loaded::Known(_)));
        let known =
            tokio::time::timeout(FIRST_ANSWER, known).await.ok().and_then(Result::ok).map(|value| value.clone());
        let loaded = known.unwrap_or_else(|| receiver.borrow().clone());
        let message = match loaded {
            Loaded::Known(Some(object)) => return Ok(object),
            Loaded::Known(None) => return Err(ObjectError::NotFound(key.clone())),
            Loaded::Failed(message) => message,
            Loaded::Pending => format!("no answer within {} s", FIRST_ANSWER.as_secs()),
        };
        Err(ObjectError::Unavailable { key: key.clone(), message })
    }

    fn watch_new(&self, key: &ObjectKey, uid: &str) -> Entry {
        let (sender, value) = watch::channel(Loaded::Pending);
        let task = self.inner.api.clone().map(|api| {
            let (key, inner) = (key.clone(), Arc::downgrade(&self.inner));
            let notify = move |key: &ObjectKey| {
                let Some(inner) = inner.upgrade() else { return };
                let pods: Vec<String> = lock(&inner.state)
                    .entries
                    .get(key)
                    .map(|entry| entry.pods.iter().cloned().collect())
                    .unwrap_or_default();
                for uid in pods {
                    // Nobody listening is fine: then nobody runs pods yet.
                    let _ = inner.changed.send(uid);
                }
            };
            let task = match key.kind {
                ObjectKind::ConfigMap => tokio::spawn(watch_one(api, key, sender, notify, Object::ConfigMap)),
                ObjectKind::Secret => tokio::spawn(watch_one(api, key, sender, notify, Object::Secret)),
            };
            task.abort_handle()
        });
        Entry { pods: HashSet::from([uid.to_owned()]), value, task }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    /// Puts a known object in place without an API server.
    #[cfg(test)]
    fn insert(&self, key: ObjectKey, object: Option<Object>) {
        let (_sender, value) = watch::channel(Loaded::Known(object));
        self.lock().entries.insert(key, Entry { pods: HashSet::new(), value, task: None });
    }

    #[cfg(test)]
    pub fn insert_config_map(&self, object: ConfigMap) {
        let key = key(
            ObjectKind::ConfigMap,
            object.metadata.namespace.as_deref().unwrap_or_default(),
            object.metadata.name.as_deref().unwrap_or_default(),
        );
        self.insert(key, Some(Object::ConfigMap(Arc::new(object))));
    }

    #[cfg(test)]
    pub fn insert_secret(&self, object: Secret) {
        let key = key(
            ObjectKind::Secret,
            object.metadata.namespace.as_deref().unwrap_or_default(),
            object.metadata.name.as_deref().unwrap_or_default(),
        );
        self.insert(key, Some(Object::Secret(Arc::new(object))));
    }

    #[cfg(test)]
    pub fn insert_absent(&self, kind: ObjectKind, namespace: &str, name: &str) {
        self.insert(key(kind, namespace, name), None);
    }
}

impl State {
    fn drop_user(&mut self, key: &ObjectKey, uid: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.pods.remove(uid);
            if entry.pods.is_empty() {
                self.entries.remove(key);
            }
        }
    }
}

/// Follows one object for ever. The first lists may be refused, because the API server learns a little after the
/// kubelet that the pod is bound here; they are repeated at once.
async fn watch_one<K>(
    api: ApiClient,
    key: ObjectKey,
    sender: watch::Sender<Loaded>,
    notify: impl Fn(&ObjectKey),
    wrap: fn(Arc<K>) -> Object,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let mut generation = api.changed();
    let mut delay = RETRY_MIN;
    loop {
        generation.mark_unchanged();
        let client: Api<K> = Api::namespaced(api.current(), &key.namespace);
        let mut stream = std::pin::pin!(watch_object(client, &key.name));
        loop {
            let item = tokio::select! {
                item = stream.next() => item,
                Ok(()) = generation.changed() => break,
            };
            match item {
                Some(Ok(object)) => {
                    delay = RETRY_MIN;
                    sender.send_replace(Loaded::Known(object.map(|object| wrap(Arc::new(object)))));
                    notify(&key);
                }
                Some(Err(error)) => {
                    tracing::debug!(object = %key, namespace = key.namespace, error = %error, "watch failed");
                    sender.send_if_modified(|value| {
                        let unknown = !matches!(value, Loaded::Known(_));
                        if unknown {
                            *value = Loaded::Failed(error.to_string());
                        }
                        unknown
                    });
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_MAX);
                }
                None => break,
            }
        }
    }
}

fn key(kind: ObjectKind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, map: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"uid": uid, "namespace": "n", "name": uid},
            "spec": {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": map}}]}]}
        }))
        .expect("a pod")
    }

    #[tokio::test]
    async fn an_object_lives_as_long_as_a_pod_names_it() {
        let cache = ObjectCache::new(None);
        cache.register(&pod("1", "a"));
        cache.register(&pod("2", "a"));
        cache.release("1");
        assert!(matches!(cache.config_map("n", "a").await, Err(ObjectError::NoApiServer(_))));
        cache.register(&pod("2", "b"));
        assert!(matches!(cache.config_map("n", "a").await, Err(ObjectError::Unavailable { .. })));
        cache.release("2");
        assert!(cache.lock().entries.is_empty());
        assert!(cache.lock().pods.is_empty());
    }

    #[tokio::test]
    async fn tells_absent_from_present() {
        let cache = ObjectCache::new(None);
        cache.insert_absent(ObjectKind::Secret, "n", "s");
        let error = cache.secret("n", "s").await.expect_err("absent");
        assert_eq!(error.to_string(), "secret \"s\" not found");
    }
}
