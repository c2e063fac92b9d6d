//! `/pods`, `/runningpods/`, `/configz`: what this kubelet should run, what it runs, how it is configured.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::error::HttpError;
use super::state::ServerState;
use crate::runtime::ContainerState;

/// A `PodList` of all pods bound to this node, static pods included, with the status as last computed.
pub async fn pods(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let items: Vec<Pod> = state
        .store
        .list()
        .into_iter()
        .map(|pod| {
            let mut pod = Arc::unwrap_or_clone(pod);
            let status = pod.metadata.uid.as_deref().and_then(|uid| state.store.status(uid));
            pod.status = status.or(pod.status);
            pod
        })
        .collect();
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// A `PodList` made from what the engine runs.
pub async fn running(State(state): State<Arc<ServerState>>) -> Result<Json<Value>, HttpError> {
    let pods = state.runtime.list_pods().await.map_err(|error| HttpError::internal(&error))?;
    let items: Vec<Value> = pods
        .iter()
        .filter_map(|engine| {
            let containers: Vec<Value> = engine
                .containers
                .iter()
                .filter(|c| matches!(c.state, ContainerState::Running { .. }))
                .map(|c| json!({"name": c.name, "image": c.image, "resources": {}}))
                .collect();
            let pod = &engine.pod;
            (!containers.is_empty()).then(|| {
                json!({
                    "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                    "spec": {"containers": containers},
                    "status": {},
                })
            })
        })
        .collect();
    Ok(Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})))
}

/// The configuration in force.
pub async fn configz(State(state): State<Arc<ServerState>>) -> Json<Value> {
    Json(json!({"kubeletconfig": state.options.configuration}))
}
