//! Kubernetes Events about pods and the node. Recording never blocks and never fails: when the API server is away or a
//! reason repeats too often, events are merged or dropped.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

use crate::certs::ApiClient;
use crate::pod::facts;

/// Events waiting to be sent; more are dropped.
const QUEUE: usize = 256;
/// Different events that are remembered for merging.
const REMEMBERED: usize = 256;
/// How long a repeated event is counted up instead of written anew.
const MERGE_SECONDS: i64 = 600;

/// `Normal` or `Warning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

struct Record {
    object: ObjectReference,
    type_: EventType,
    reason: &'static str,
    message: String,
    time: Timestamp,
}

/// Handle for everybody who has something to tell. Clones are cheap.
#[derive(Clone)]
pub struct EventRecorder {
    records: mpsc::Sender<Record>,
}

/// The task behind the handle.
pub struct EventTask {
    api: Option<ApiClient>,
    node: String,
    records: mpsc::Receiver<Record>,
}

impl EventRecorder {
    #[must_use]
    pub fn new(api: Option<ApiClient>, node: String) -> (Self, EventTask) {
        let (sender, records) = mpsc::channel(QUEUE);
        (Self { records: sender }, EventTask { api, node, records })
    }

    /// An event about any object.
    pub fn event(&self, object: &ObjectReference, type_: EventType, reason: &'static str, message: impl Into<String>) {
        let message = message.into();
        tracing::debug!(object = object.name.as_deref().unwrap_or_default(), reason, message, "event");
        let record = Record { object: object.clone(), type_, reason, message, time: facts::now_in_seconds() };
        // A full queue means that the API server is away; who waits for it must not stop pods.
        let _ = self.records.try_send(record);
    }

    /// An event about a pod.
    pub fn pod(&self, pod: &Pod, type_: EventType, reason: &'static str, message: impl Into<String>) {
        self.event(&pod_reference(pod), type_, reason, message);
    }

    /// An event about a container; `field` is for example `spec.containers{web}`.
    pub fn container(
        &self,
        pod: &Pod,
        field: String,
        type_: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let reference = ObjectReference { field_path: Some(field), ..pod_reference(pod) };
        self.event(&reference, type_, reason, message);
    }
}

/// How events name a pod.
#[must_use]
pub fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(facts::namespace(pod).to_owned()),
        name: Some(facts::name(pod).to_owned()),
        uid: Some(facts::uid(pod).to_owned()),
        resource_version: pod.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// How events name the node; its name stands for the UID, as in upstream.
#[must_use]
pub fn node_reference(name: &str, node: Option<&Node>) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(node.and_then(|node| node.metadata.uid.clone()).unwrap_or_else(|| name.to_owned())),
        ..ObjectReference::default()
    }
}

/// An event that was written and may be counted up.
struct Written {
    name: String,
    count: i32,
    first: Timestamp,
}

impl EventTask {
    /// Works until all recorders are dropped. Before the API server answers, records wait in the queue.
    pub async fn run(mut self) {
        let mut known: HashMap<String, Written> = HashMap::new();
        let mut order = VecDeque::new();
        let mut serial = 0u64;
        while let Some(record) = self.records.recv().await {
            let Some(api) = &self.api else { continue };
            let key = key(&record);
            let namespace = record.object.namespace.as_deref().unwrap_or("default");
            let events: Api<Event> = Api::namespaced(api.current(), namespace);
            let time = Time(record.time);
            if let Some(written) = known
                .get_mut(&key)
                .filter(|written| record.time.as_second() - written.first.as_second() < MERGE_SECONDS)
            {
                written.count += 1;
                let patch = serde_json::json!({ "count": written.count, "lastTimestamp": time });
                let sent = events.patch(&written.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
                if !matches!(sent, Err(kube::Error::Api(ref answer)) if answer.code == 404) {
                    continue;
                }
            }
            serial += 1;
            let name = format!(
                "{}.{:x}{serial:04x}",
                record.object.name.as_deref().unwrap_or_default(),
                record.time.as_nanosecond()
            );
            let event = self.event(&record, &name, namespace);
            self.write(&events, &event).await;
            if known.insert(key.clone(), Written { name, count: 1, first: record.time }).is_none() {
                order.push_back(key);
            }
            if order.len() > REMEMBERED
                && let Some(oldest) = order.pop_front()
            {
                known.remove(&oldest);
            }
        }
    }

    /// Writes one event, waiting for an API server that cannot be reached; an answer that refuses it drops it.
    async fn write(&self, events: &Api<Event>, event: &Event) {
        loop {
            match events.create(&PostParams::default(), event).await {
                Ok(_) => return,
                Err(error) if crate::certs::client::is_connection_error(&error) => {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "event dropped");
                    return;
                }
            }
        }
    }

    fn event(&self, record: &Record, name: &str, namespace: &str) -> Event {
        let time = Time(record.time);
        Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: record.object.clone(),
            reason: Some(record.reason.to_owned()),
            message: Some(record.message.chars().take(1024).collect()),
            type_: Some(record.type_.as_str().to_owned()),
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(self.node.clone()) }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node.clone()),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            count: Some(1),
            ..Event::default()
        }
    }
}

fn key(record: &Record) -> String {
    let object = &record.object;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}/{}/{}/{}/{}",
        part(&object.uid),
        part(&object.name),
        part(&object.field_path),
        record.reason,
        record.message
    )
}
