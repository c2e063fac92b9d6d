//! Creates the Node object, or reconciles the one that exists. Called until it succeeds.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::status::NodeFacts;

/// What a new Node object carries beside its status.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub provider_id: Option<String>,
}

const ATTACH_ANNOTATION: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// Labels that every node has, and the ones that were asked for.
#[must_use]
pub fn labels(facts: &NodeFacts, registration: &Registration) -> BTreeMap<String, String> {
    let mut labels = registration.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", facts.hostname.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", facts.machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", facts.machine.architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// One try. Returns the stored Node object.
pub async fn register(
    api: &Api<Node>,
    facts: &NodeFacts,
    registration: &Registration,
    status: NodeStatus,
) -> Result<Node, kube::Error> {
    let labels = labels(facts, registration);
    let node = Node {
        metadata: ObjectMeta {
            name: Some(facts.name.clone()),
            labels: Some(labels.clone()),
            annotations: Some(BTreeMap::from([(ATTACH_ANNOTATION.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: (!registration.taints.is_empty()).then(|| registration.taints.clone()),
            provider_id: registration.provider_id.clone(),
            ..NodeSpec::default()
        }),
        status: Some(status),
    };
    match api.create(&PostParams::default(), &node).await {
        Ok(node) => Ok(node),
        Err(kube::Error::Api(answer)) if answer.code == 409 || answer.code == 403 => {
            let stored = api.get(&facts.name).await.map_err(|error| match error {
                // The refusal of the creation says more than the absence.
                kube::Error::Api(absent) if absent.code == 404 => kube::Error::Api(answer),
                other => other,
            })?;
            reconcile(api, stored, labels).await
        }
        Err(error) => Err(error),
    }
}

async fn reconcile(api: &Api<Node>, stored: Node, labels: BTreeMap<String, String>) -> Result<Node, kube::Error> {
    let present = stored.metadata.labels.clone().unwrap_or_default();
    let missing: BTreeMap<_, _> = labels.into_iter().filter(|(key, value)| present.get(key) != Some(value)).collect();
    let annotated =
        stored.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ATTACH_ANNOTATION));
    if missing.is_empty() && annotated {
        return Ok(stored);
    }
    let name = stored.metadata.name.clone().unwrap_or_default();
    let patch = json!({ "metadata": { "labels": missing, "annotations": { ATTACH_ANNOTATION: "true" } } });
    api.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await
}
