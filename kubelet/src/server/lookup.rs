//! From the names in a path to a pod and a container of the engine.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerState, Pod};

use super::error::HttpError;
use super::state::ServerState;
use crate::runtime::{ContainerState as EngineState, RuntimeContainer, RuntimePod};

/// The `{namespace}/{pod}[/{uid}]/{container}` of a path.
pub type PathNames = HashMap<String, String>;

/// The pod that a path names, static pods by the name of their mirror pod.
pub fn pod(state: &ServerState, names: &PathNames) -> Result<Arc<Pod>, HttpError> {
    let part = |key: &str| names.get(key).map(String::as_str).unwrap_or_default();
    let (namespace, name) = (part("namespace"), part("pod"));
    // A UID in the path may be the mirror pod's, which names resolve as well.
    state
        .store
        .by_name(namespace, name)
        .ok_or_else(|| HttpError::not_found(format!("pod \"{name}\" does not exist in namespace \"{namespace}\"")))
}

/// The engine's present view of a pod.
pub async fn engine_pod(state: &ServerState, pod: &Pod) -> Result<RuntimePod, HttpError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    state.runtime.pod(uid).await.map_err(|error| HttpError::internal(&error))
}

/// The newest instance of a container, whatever its state.
pub fn newest<'a>(engine: &'a RuntimePod, name: &str) -> Option<&'a RuntimeContainer> {
    engine.containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt)
}

/// The newest instance, which must run.
pub fn running<'a>(engine: &'a RuntimePod, pod: &Pod, name: &str) -> Result<&'a RuntimeContainer, HttpError> {
    exists(pod, name)?;
    newest(engine, name)
        .filter(|c| matches!(c.state, EngineState::Running { .. }))
        .ok_or_else(|| HttpError::not_found(format!("container {name} of pod {} is not running", pod_name(pod))))
}

/// 404 unless the pod's spec has a container of that name.
pub fn exists(pod: &Pod, name: &str) -> Result<(), HttpError> {
    let spec = pod.spec.as_ref();
    let known = spec.is_some_and(|spec| {
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|c| c.name == name)
            || spec.ephemeral_containers.iter().flatten().any(|c| c.name == name)
    });
    if known {
        return Ok(());
    }
    Err(HttpError::not_found(format!("container {name} not found in pod {}", pod_name(pod))))
}

/// Why a container that never ran waits; clients retry on these texts.
pub fn waiting(state: &ServerState, pod: &Pod, name: &str) -> HttpError {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let status = state.store.status(uid).or_else(|| pod.status.clone()).unwrap_or_default();
    let waiting = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .find(|c| c.name == name)
        .and_then(|c| c.state)
        .and_then(|ContainerState { waiting, .. }| waiting)
        .and_then(|waiting| waiting.reason);
    let reason = match waiting.as_deref() {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    };
    let pod = pod_name(pod);
    HttpError::bad_request(format!("container \"{name}\" in pod \"{pod}\" is waiting to start: {reason}"))
}

pub fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
