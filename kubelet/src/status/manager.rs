//! Tells the API server about pods: a PATCH when something changed, and the final DELETE of a pod that is gone from this
//! node. One request per pod at a time; the latest status wins. Owns what was sent; computes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::conditions;
use crate::certs::ApiClient;
use crate::certs::client::is_connection_error;
use crate::pod::{PodStore, facts};

const REFUSED: Duration = Duration::from_millis(200);
const FAILED: Duration = Duration::from_secs(2);
/// How often what the API server has is compared with what it should have.
const RECONCILE: Duration = Duration::from_secs(10);

enum Request {
    /// The status or the mirror pod of this UID changed.
    Changed(String),
    /// The pod is gone from this node: delete it from the API server once its last status is there.
    Delete(String),
    /// The API server does not have it any more.
    Forget(String),
}

/// Handle for workers and the sync loop. Clones are cheap.
#[derive(Clone)]
pub struct StatusManager {
    store: PodStore,
    requests: mpsc::UnboundedSender<Request>,
}

/// The task behind the handle.
pub struct StatusTask {
    store: PodStore,
    api: Option<ApiClient>,
    requests: mpsc::UnboundedReceiver<Request>,
    entries: HashMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    /// What the API object with this UID was last told.
    sent: Option<(String, Arc<PodStatus>)>,
    delete: bool,
    busy: bool,
    again: bool,
    retry: Option<Instant>,
}

enum Outcome {
    Sent(String, Arc<PodStatus>),
    Gone,
    Failed { wait: Duration },
}

impl StatusManager {
    #[must_use]
    pub fn new(store: PodStore, api: Option<ApiClient>) -> (Self, StatusTask) {
        let (sender, requests) = mpsc::unbounded_channel();
        let task = StatusTask { store: store.clone(), api, requests, entries: HashMap::new() };
        (Self { store, requests: sender }, task)
    }

    /// Publishes a status; nothing happens if it is what was published before. True if it changed.
    pub fn set(&self, uid: &str, status: PodStatus) -> bool {
        if self.store.status_ref(uid).is_some_and(|old| *old == status) {
            return false;
        }
        self.store.set_status(uid, Arc::new(status));
        self.changed(uid);
        true
    }

    /// Looks at the pod again, for example because its mirror pod appeared.
    pub fn changed(&self, uid: &str) {
        let _ = self.requests.send(Request::Changed(uid.to_owned()));
    }

    /// Deletes the pod from the API server after its last status has arrived there.
    pub fn delete(&self, uid: &str) {
        let _ = self.requests.send(Request::Delete(uid.to_owned()));
    }

    pub fn forget(&self, uid: &str) {
        let _ = self.requests.send(Request::Forget(uid.to_owned()));
    }
}

impl StatusTask {
    /// Works until all handles are dropped.
    pub async fn run(mut self) {
        let Some(api) = self.api.clone() else {
            while self.requests.recv().await.is_some() {}
            return;
        };
        let mut jobs: FuturesUnordered<BoxFuture<'static, (String, Outcome)>> = FuturesUnordered::new();
        let mut reconcile = tokio::time::interval(RECONCILE);
        reconcile.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let retry = self.entries.values().filter_map(|entry| entry.retry).min();
            let mut ready: Vec<String> = Vec::new();
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(Request::Changed(uid)) => ready.push(uid),
                    Some(Request::Delete(uid)) => {
                        self.entries.entry(uid.clone()).or_default().delete = true;
                        ready.push(uid);
                    }
                    Some(Request::Forget(uid)) => { self.entries.remove(&uid); }
                    None => return,
                },
                Some((uid, outcome)) = jobs.next() => {
                    if self.finish(&uid, outcome) {
                        ready.push(uid);
                    }
                }
                () = tokio::time::sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    let now = Instant::now();
                    for (uid, entry) in &mut self.entries {
                        if entry.retry.is_some_and(|at| at <= now) {
                            entry.retry = None;
                            ready.push(uid.clone());
                        }
                    }
                }
                _ = reconcile.tick() => ready.extend(self.drifted()),
            }
            for uid in ready {
                if let Some(job) = self.job(uid, &api) {
                    jobs.push(job.boxed());
                }
            }
        }
    }

    /// The request that the pod needs now, if any.
    fn job(&mut self, uid: String, api: &ApiClient) -> Option<impl Future<Output = (String, Outcome)> + use<>> {
        let pod = self.store.get(&uid)?;
        let entry = self.entries.entry(uid.clone()).or_default();
        if entry.busy {
            entry.again = true;
            return None;
        }
        if entry.retry.is_some() {
            return None;
        }
        let target = if facts::is_static(&pod) { self.store.mirror(&facts::full_name(&pod))? } else { pod };
        let target_uid = facts::uid(&target).to_owned();
        let status = self.store.status_ref(&uid);
        let known = entry.sent.as_ref().filter(|(sent_to, _)| *sent_to == target_uid).map(|(_, status)| status);
        let unsent = status.filter(|status| known.is_none_or(|known| **known != **status));
        if unsent.is_none() && !entry.delete {
            return None;
        }
        let delete = entry.delete;
        let last = known.cloned();
        entry.busy = true;
        let client: Api<Pod> = Api::namespaced(api.current(), facts::namespace(&target));
        Some(async move {
            let outcome = push(&client, &target, unsent.or(last), delete).await;
            (uid, outcome)
        })
    }

    /// Notes an outcome; true if the pod needs another look at once.
    fn finish(&mut self, uid: &str, outcome: Outcome) -> bool {
        let Some(entry) = self.entries.get_mut(uid) else { return false };
        entry.busy = false;
        let again = std::mem::take(&mut entry.again);
        match outcome {
            Outcome::Sent(target, status) => {
                entry.sent = Some((target, status));
                again
            }
            Outcome::Gone => {
                entry.delete = false;
                if let (Some(pod), Some(status)) = (self.store.get(uid), self.store.status_ref(uid)) {
                    let target = self
                        .store
                        .mirror(&facts::full_name(&pod))
                        .map_or_else(|| uid.to_owned(), |mirror| facts::uid(&mirror).to_owned());
                    entry.sent = Some((target, status));
                }
                false
            }
            Outcome::Failed { wait } => {
                entry.retry = Some(Instant::now() + wait);
                false
            }
        }
    }

    /// Pods whose status at the API server is not what was sent: somebody else wrote it.
    fn drifted(&mut self) -> Vec<String> {
        let mut drifted = Vec::new();
        for (uid, entry) in &mut self.entries {
            let (Some((_, sent)), Some(pod)) = (&entry.sent, self.store.get(uid)) else { continue };
            if entry.busy || facts::is_static(&pod) {
                continue;
            }
            let Some(stored) = &pod.status else { continue };
            let same = stored.phase == sent.phase
                && stored.container_statuses == sent.container_statuses
                && stored.init_container_statuses == sent.init_container_statuses
                && stored.pod_ip == sent.pod_ip
                && sent.conditions.iter().flatten().all(|ours| {
                    stored
                        .conditions
                        .iter()
                        .flatten()
                        .any(|theirs| theirs.type_ == ours.type_ && theirs.status == ours.status)
                });
            if !same {
                entry.sent = None;
                drifted.push(uid.clone());
            }
        }
        drifted
    }
}

async fn push(api: &Api<Pod>, target: &Pod, status: Option<Arc<PodStatus>>, delete: bool) -> Outcome {
    let (name, uid) = (facts::name(target), facts::uid(target));
    let Some(status) = status else { return Outcome::Gone };
    if facts::is_mirror(target) {
        return push_mirror(api, target, status).await;
    }
    // Also before a deletion that was tried already: only the answer proves that a terminal phase is stored.
    match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch(target, &status))).await {
        Ok(_) => {}
        Err(error) => return failed(&error, "patch status of", target),
    }
    if delete {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams::default().grace_period(0).preconditions(preconditions);
        return match api.delete(name, &parameters).await {
            Ok(_) => Outcome::Gone,
            Err(error) => failed(&error, "delete", target),
        };
    }
    Outcome::Sent(uid.to_owned(), status)
}

/// A restarted kubelet knows nothing of a static pod's past; its mirror does.
async fn push_mirror(api: &Api<Pod>, mirror: &Pod, status: Arc<PodStatus>) -> Outcome {
    let adapted = with_past(&status, mirror.status.as_ref());
    let same = mirror.status.as_ref().is_some_and(|stored| {
        stored.phase == adapted.phase
            && stored.container_statuses == adapted.container_statuses
            && stored.conditions == adapted.conditions
            && stored.pod_ips == adapted.pod_ips
    });
    if !same
        && let Err(error) = api
            .patch_status(facts::name(mirror), &PatchParams::default(), &Patch::Strategic(patch(mirror, &adapted)))
            .await
    {
        return failed(&error, "patch status of", mirror);
    }
    Outcome::Sent(facts::uid(mirror).to_owned(), status)
}

/// The status with the stored start time, and the stored transition times of conditions that did not change.
fn with_past(status: &PodStatus, stored: Option<&PodStatus>) -> PodStatus {
    let mut adapted = status.clone();
    let Some(stored) = stored else { return adapted };
    adapted.start_time = stored.start_time.clone().or(adapted.start_time);
    for condition in adapted.conditions.iter_mut().flatten() {
        let same = stored
            .conditions
            .iter()
            .flatten()
            .find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(time) = same.and_then(|old| old.last_transition_time.clone()) {
            condition.last_transition_time = Some(time);
        }
    }
    adapted
}

fn failed(error: &kube::Error, operation: &str, pod: &Pod) -> Outcome {
    if let kube::Error::Api(answer) = error {
        // Gone, or another pod has its name by now.
        if answer.code == 404 || answer.code == 409 {
            return Outcome::Gone;
        }
    }
    if is_connection_error(error) {
        return Outcome::Failed { wait: REFUSED };
    }
    tracing::warn!(%error, pod = %facts::full_name(pod), "cannot {operation} pod");
    Outcome::Failed { wait: FAILED }
}

/// A strategic merge patch that sets what the kubelet owns and touches nothing else.
fn patch(target: &Pod, status: &PodStatus) -> Value {
    let mut fields = serde_json::to_value(status).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        for name in ["message", "reason", "podIP", "podIPs", "initContainerStatuses", "ephemeralContainerStatuses"] {
            fields.entry(name).or_insert(Value::Null);
        }
        // Conditions are merged by type, so what one no longer says must be taken back.
        for condition in fields
            .get_mut("conditions")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            condition.entry("reason").or_insert(Value::Null);
            condition.entry("message").or_insert(Value::Null);
        }
        // Taken back whether or not the watch has brought them here: to delete what is not there is no error.
        if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
            for passing in conditions::PASSING {
                if !conditions.iter().any(|condition| condition["type"] == passing) {
                    conditions.push(json!({ "$patch": "delete", "type": passing }));
                }
            }
        }
        // Lists of addresses are merged by address; a changed one must replace the list.
        let stored = target.status.as_ref();
        replace_list(
            fields,
            "podIPs",
            stored.is_some_and(|stored| stored.pod_ips.is_some() && stored.pod_ips != status.pod_ips),
        );
        replace_list(
            fields,
            "hostIPs",
            stored.is_some_and(|stored| stored.host_ips.is_some() && stored.host_ips != status.host_ips),
        );
    }
    json!({ "metadata": { "uid": target.metadata.uid }, "status": fields })
}

fn replace_list(fields: &mut serde_json::Map<String, Value>, name: &str, replace: bool) {
    if let Some(Value::Array(list)) = fields.get_mut(name).filter(|_| replace) {
        list.push(json!({ "$patch": "replace" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::test_support::pod;
    use k8s_openapi::api::core::v1::{PodCondition, PodIP};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn a_patch_carries_the_uid_and_clears_what_is_gone() {
        let mut target = pod("Always", &[], &["a"]);
        let status = PodStatus {
            phase: Some("Running".into()),
            pod_ip: Some("10.0.0.2".into()),
            pod_ips: Some(vec![PodIP { ip: "10.0.0.2".into() }]),
            ..PodStatus::default()
        };
        let text = patch(&target, &status);
        assert_eq!(text["metadata"]["uid"], "u");
        assert_eq!(text["status"]["reason"], Value::Null);
        assert_eq!(text["status"]["podIPs"].as_array().map(Vec::len), Some(1));
        assert!(text["status"].get("conditions").is_none(), "conditions that nobody computed are not touched");
        let ready = PodCondition { type_: "Ready".into(), status: "True".into(), ..PodCondition::default() };
        let text = patch(&target, &PodStatus { conditions: Some(vec![ready]), ..PodStatus::default() });
        assert_eq!(text["status"]["conditions"][0].get("reason"), Some(&Value::Null));
        assert_eq!(text["status"]["conditions"][1], json!({ "$patch": "delete", "type": "PodResizePending" }));
        let waits = PodCondition { type_: "PodResizePending".into(), status: "True".into(), ..PodCondition::default() };
        let text = patch(&target, &PodStatus { conditions: Some(vec![waits]), ..PodStatus::default() });
        assert_eq!(text["status"]["conditions"].as_array().map(Vec::len), Some(2), "{text}");
        assert_eq!(text["status"]["conditions"][1]["type"], "PodResizeInProgress");
        target.status =
            Some(PodStatus { pod_ips: Some(vec![PodIP { ip: "10.0.0.1".into() }]), ..PodStatus::default() });
        assert_eq!(patch(&target, &status)["status"]["podIPs"][1]["$patch"], "replace");
    }

    #[test]
    fn a_mirror_keeps_its_past() {
        let at = |second| Some(Time(jiff::Timestamp::from_second(second).expect("valid")));
        let condition = |type_: &str, status: &str, second| PodCondition {
            type_: type_.into(),
            status: status.into(),
            last_transition_time: at(second),
            ..PodCondition::default()
        };
        let status = |ready: &str, second| PodStatus {
            start_time: at(second),
            conditions: Some(vec![condition("Ready", ready, second), condition("Initialized", "True", second)]),
            ..PodStatus::default()
        };
        let adapted = with_past(&status("False", 9), Some(&status("True", 1)));
        assert_eq!(adapted.start_time, at(1));
        let times: Vec<_> =
            adapted.conditions.iter().flatten().map(|condition| condition.last_transition_time.clone()).collect();
        assert_eq!(times, [at(9), at(1)]);
    }

    #[tokio::test]
    async fn an_equal_status_is_no_change() {
        let (manager, _task) = StatusManager::new(PodStore::new(), None);
        let status = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        assert!(manager.set("u", status.clone()));
        assert!(!manager.set("u", status));
    }
}
