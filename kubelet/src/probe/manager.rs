//! Starts and stops the workers of pods and answers what they found.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Probe};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::counts::{Counters, ProbeCount};
use super::results::{Found, Key, ProbeKind, ProbeResults, ResultStore};
use super::worker::{Running, Target, Worker};
use crate::container_spec::{ContainerRef, all_containers, uid};
use crate::runtime::{ContainerId, ContainerState, PodRuntime, RuntimePod};

/// Takes events about a container: the pod, the container's name, the reason, the message. Must not block.
pub type ProbeEvents = Arc<dyn Fn(&Pod, &str, &'static str, String) + Send + Sync>;

/// A verdict on some container of this pod has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeUpdate {
    pub uid: String,
}

pub struct ProbeManager {
    runtime: Arc<dyn PodRuntime>,
    events: ProbeEvents,
    started: Timestamp,
    results: ResultStore,
    workers: Mutex<HashMap<Key, Handle>>,
    updates: broadcast::Sender<ProbeUpdate>,
}

struct Handle {
    target: watch::Sender<Target>,
    pod: Arc<Pod>,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ProbeManager {
    #[must_use]
    pub fn new(runtime: Arc<dyn PodRuntime>, events: ProbeEvents) -> Self {
        let (updates, _) = broadcast::channel(1024);
        Self {
            runtime,
            events,
            started: Timestamp::now(),
            results: ResultStore::default(),
            workers: Mutex::default(),
            updates,
        }
    }

    /// Tells the workers of the pod what runs now, and starts those that are missing. `pod_ips` are the node's for a
    /// hostNetwork pod. In a pod that terminates only readiness goes on. Must be called inside a tokio runtime.
    pub fn sync_pod(&self, pod: &Arc<Pod>, runtime: &RuntimePod, pod_ips: &[IpAddr], terminating: bool) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for container in all_containers(pod).filter(is_probed) {
            let spec = container.container();
            for (kind, probe) in probes(&spec) {
                let key = Key { uid: uid(pod).to_owned(), container: spec.name.clone(), kind };
                if terminating && kind != ProbeKind::Readiness {
                    workers.remove(&key);
                    if kind == ProbeKind::Liveness {
                        self.results.remove(&key);
                    }
                    continue;
                }
                let target = self.target(pod, &spec, kind, runtime, pod_ips);
                if let Some(handle) = workers.get(&key) {
                    handle.target.send_if_modified(|old| {
                        let changed = *old != target;
                        *old = target;
                        changed
                    });
                    continue;
                }
                let (found, receiver) = watch::channel(Found::default());
                let gate = Key { kind: ProbeKind::Startup, ..key.clone() };
                let startup = if kind == ProbeKind::Startup { None } else { self.results.receiver(&gate) };
                self.results.insert(key.clone(), receiver);
                let (sender, receiver) = watch::channel(target);
                let counters = Arc::new(Counters::default());
                let worker = Worker {
                    runtime: Arc::clone(&self.runtime),
                    pod: Arc::clone(pod),
                    container: spec.clone().into_owned(),
                    kind,
                    probe: probe.clone(),
                    target: receiver,
                    found,
                    startup,
                    updates: self.updates.clone(),
                    events: Arc::clone(&self.events),
                    counters: Arc::clone(&counters),
                };
                let task = tokio::spawn(worker.run()).abort_handle();
                workers.insert(key, Handle { target: sender, pod: Arc::clone(pod), counters, task });
            }
        }
    }

    /// Stops everything about the pod.
    pub fn remove_pod(&self, uid: &str) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|key, _| key.uid != uid);
        self.results.remove_pod(uid);
    }

    /// What is known of this instance of the container.
    #[must_use]
    pub fn results(&self, uid: &str, container: &str, id: &ContainerId) -> ProbeResults {
        self.results.results(uid, container, id)
    }

    /// How often everything is and was probed, sorted.
    #[must_use]
    pub fn counts(&self) -> Vec<ProbeCount> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<ProbeCount> = workers
            .iter()
            .map(|(key, handle)| {
                let (successful, failed, unknown, buckets, sum) = handle.counters.read();
                ProbeCount {
                    kind: key.kind,
                    container: key.container.clone(),
                    pod: handle.pod.metadata.name.clone().unwrap_or_default(),
                    namespace: handle.pod.metadata.namespace.clone().unwrap_or_default(),
                    uid: key.uid.clone(),
                    successful,
                    failed,
                    unknown,
                    buckets,
                    sum,
                }
            })
            .collect();
        drop(workers);
        list.sort_by(|a, b| {
            (&a.namespace, &a.pod, &a.container, a.kind).cmp(&(&b.namespace, &b.pod, &b.container, b.kind))
        });
        list
    }

    /// Pods whose results have changed: sync them. `Lagged` means: sync all.
    #[must_use]
    pub fn updates(&self) -> broadcast::Receiver<ProbeUpdate> {
        self.updates.subscribe()
    }

    fn target(
        &self,
        pod: &Pod,
        container: &Container,
        kind: ProbeKind,
        runtime: &RuntimePod,
        pod_ips: &[IpAddr],
    ) -> Target {
        let newest = runtime.containers.iter().find(|found| found.name == container.name);
        let running = newest.and_then(|found| match found.state {
            ContainerState::Running { started_at } => Some(Running {
                id: found.id.clone(),
                started_at,
                inherited: (started_at < self.started).then(|| was_fine(pod, &found.id, kind)),
            }),
            ContainerState::Created | ContainerState::Exited { .. } => None,
        });
        Target { running, ip: pod_ips.first().copied() }
    }
}

/// What the pod's status, as the API has it, says of this instance.
fn was_fine(pod: &Pod, id: &ContainerId, kind: ProbeKind) -> bool {
    let Some(status) = &pod.status else { return false };
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let same = |status: &&ContainerStatus| {
        status.container_id.as_deref().is_some_and(|text| text.ends_with(&format!("://{}", id.0)))
    };
    let found = lists.into_iter().flat_map(|list| list.iter().flatten()).find(same);
    found.is_some_and(|status| match kind {
        ProbeKind::Startup => status.started == Some(true),
        ProbeKind::Readiness | ProbeKind::Liveness => status.ready,
    })
}

/// App containers and sidecars.
fn is_probed(container: &ContainerRef<'_>) -> bool {
    matches!(container, ContainerRef::App(_)) || container.is_sidecar()
}

/// Startup first, because the others wait for it.
fn probes(container: &Container) -> impl Iterator<Item = (ProbeKind, &Probe)> {
    [
        (ProbeKind::Startup, container.startup_probe.as_ref()),
        (ProbeKind::Liveness, container.liveness_probe.as_ref()),
        (ProbeKind::Readiness, container.readiness_probe.as_ref()),
    ]
    .into_iter()
    .filter_map(|(kind, probe)| Some((kind, probe?)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::tests_support::FakeRuntime;
    use super::*;
    use crate::runtime::{ContainerKind, ExecOutcome, PodRef, RuntimeContainer, SandboxId};

    const GOOD: ExecOutcome = ExecOutcome::Exited { code: 0, output: Vec::new() };
    const BAD: ExecOutcome = ExecOutcome::Exited { code: 1, output: Vec::new() };

    struct Fixture {
        runtime: Arc<FakeRuntime>,
        manager: ProbeManager,
        events: Arc<Mutex<Vec<String>>>,
    }

    fn fixture() -> Fixture {
        let runtime = Arc::new(FakeRuntime::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let record: ProbeEvents = Arc::new(move |_, container, reason, message| {
            sink.lock().expect("not poisoned").push(format!("{container} {reason} {message}"));
        });
        Fixture { manager: ProbeManager::new(Arc::<FakeRuntime>::clone(&runtime), record), runtime, events }
    }

    fn pod(probes: serde_json::Value, status: serde_json::Value) -> Arc<Pod> {
        let mut container = probes;
        container["name"] = "c".into();
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [container]}, "status": status
            }))
            .expect("a pod"),
        )
    }

    fn running(id: &str, started_at: Timestamp) -> RuntimePod {
        let container = RuntimeContainer {
            id: ContainerId(id.to_owned()),
            sandbox: SandboxId("s".to_owned()),
            pod: PodRef::default(),
            name: "c".to_owned(),
            kind: ContainerKind::App,
            attempt: 0,
            hash: String::new(),
            state: ContainerState::Running { started_at },
            image: String::new(),
            image_id: String::new(),
            created_at: started_at,
            pid: None,
            annotations: [].into(),
            tty: false,
            stdin: false,
            applied: crate::runtime::Applied::default(),
        };
        RuntimePod { containers: vec![container], ..RuntimePod::default() }
    }

    fn exec(extra: serde_json::Value) -> serde_json::Value {
        let mut probe = extra;
        probe["exec"] = serde_json::json!({"command": ["x"]});
        probe
    }

    async fn until(fixture: &Fixture, id: &str, wanted: impl Fn(ProbeResults) -> bool) {
        let mut updates = fixture.manager.updates();
        let id = ContainerId(id.to_owned());
        timeout(Duration::from_secs(10), async {
            while !wanted(fixture.manager.results("u", "c", &id)) {
                updates.recv().await.expect("an update");
            }
        })
        .await
        .expect("the result in time");
    }

    #[tokio::test]
    async fn readiness_is_repeated_quickly_and_quietly() {
        let fixture = fixture();
        for outcome in [BAD, BAD, GOOD] {
            fixture.runtime.answer(outcome);
        }
        let pod = pod(
            serde_json::json!({"readinessProbe": exec(serde_json::json!({"periodSeconds": 60}))}),
            serde_json::json!({}),
        );
        fixture.manager.sync_pod(&pod, &running("1", Timestamp::now()), &[], false);
        let id = ContainerId("1".to_owned());
        assert!(!fixture.manager.results("u", "c", &id).ready);
        until(&fixture, "1", |results| results.ready).await;
        assert_eq!(fixture.runtime.calls(), 3);
        assert_eq!(fixture.events.lock().expect("not poisoned").len(), 1);
        fixture.manager.remove_pod("u");
        assert!(fixture.manager.results("u", "c", &id).ready);
    }

    #[tokio::test]
    async fn liveness_holds_until_the_next_instance() {
        let fixture = fixture();
        fixture.runtime.answer(BAD);
        let pod = pod(
            serde_json::json!({"livenessProbe": exec(serde_json::json!({"periodSeconds": 1, "failureThreshold": 1}))}),
            serde_json::json!({}),
        );
        fixture.manager.sync_pod(&pod, &running("1", Timestamp::now()), &[], false);
        until(&fixture, "1", |results| results.liveness_failed).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(fixture.runtime.calls(), 1);
        assert!(fixture.events.lock().expect("not poisoned")[0].starts_with("c Unhealthy Liveness probe failed"));
        fixture.manager.sync_pod(&pod, &running("2", Timestamp::now()), &[], false);
        let second = ContainerId("2".to_owned());
        assert!(!fixture.manager.results("u", "c", &second).liveness_failed);
        fixture.manager.sync_pod(&pod, &running("2", Timestamp::now()), &[], true);
        assert!(!fixture.manager.results("u", "c", &ContainerId("1".to_owned())).liveness_failed);
    }

    #[tokio::test]
    async fn startup_gates_the_others() {
        let fixture = fixture();
        for outcome in [BAD, GOOD, GOOD] {
            fixture.runtime.answer(outcome);
        }
        let pod = pod(
            serde_json::json!({"startupProbe": exec(serde_json::json!({"periodSeconds": 60})),
                               "readinessProbe": exec(serde_json::json!({"periodSeconds": 60}))}),
            serde_json::json!({}),
        );
        fixture.manager.sync_pod(&pod, &running("1", Timestamp::now()), &[], false);
        assert!(!fixture.manager.results("u", "c", &ContainerId("1".to_owned())).started);
        until(&fixture, "1", |results| results.started && results.ready).await;
        assert_eq!(fixture.runtime.calls(), 3);
        let after = fixture.manager.results("u", "c", &ContainerId("2".to_owned()));
        assert!(!after.started && !after.ready);
    }

    #[tokio::test]
    async fn startup_fails_by_its_threshold() {
        let fixture = fixture();
        for _ in 0..20 {
            fixture.runtime.answer(BAD);
        }
        let pod = pod(
            serde_json::json!({"startupProbe": exec(serde_json::json!({"periodSeconds": 1, "failureThreshold": 2}))}),
            serde_json::json!({}),
        );
        let begun = tokio::time::Instant::now();
        fixture.manager.sync_pod(&pod, &running("1", Timestamp::now()), &[], false);
        until(&fixture, "1", |results| results.startup_failed).await;
        assert!(begun.elapsed() >= Duration::from_millis(900), "quick tries must not count");
    }

    #[tokio::test]
    async fn what_ran_before_the_kubelet_keeps_its_state() {
        let fixture = fixture();
        let status = serde_json::json!({"containerStatuses": [{"name": "c", "containerID": "docker://1", "ready": true, "started": true,
            "image": "", "imageID": "", "restartCount": 0}]});
        let probe = || exec(serde_json::json!({"periodSeconds": 3600}));
        let pod = pod(serde_json::json!({"startupProbe": probe(), "readinessProbe": probe()}), status);
        let earlier = Timestamp::now() - jiff::SignedDuration::from_secs(60);
        fixture.manager.sync_pod(&pod, &running("1", earlier), &[], false);
        until(&fixture, "1", |results| results.started && results.ready).await;
        assert_eq!(fixture.runtime.calls(), 0);
    }
}
