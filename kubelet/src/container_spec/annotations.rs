//! What a container carries as engine labels, so that a restarted kubelet knows how to treat it.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};

/// The restart count.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// `terminationMessagePath` inside the container.
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// `File` or `FallbackToLogsOnError`.
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// The file on the host that is bound to the termination message path.
pub const TERMINATION_MESSAGE_FILE: &str = "junio.io/termination-message-file";
/// The preStop hook as JSON (`LifecycleHandler`).
pub const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
/// The container's ports as JSON, for hooks that name a port.
pub const PORTS: &str = "io.kubernetes.container.ports";
/// `terminationGracePeriodSeconds` of the pod.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";

/// The path that a container's termination message has when its spec says nothing.
pub const DEFAULT_TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// All annotations of one container instance.
#[must_use]
pub fn container_annotations(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    termination_file: Option<&Path>,
) -> BTreeMap<String, String> {
    let mut result = BTreeMap::from([
        (RESTART_COUNT.to_owned(), attempt.to_string()),
        (TERMINATION_MESSAGE_PATH.to_owned(), termination_message_path(container).to_owned()),
        (
            TERMINATION_MESSAGE_POLICY.to_owned(),
            container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned()),
        ),
    ]);
    if let Some(path) = termination_file {
        result.insert(TERMINATION_MESSAGE_FILE.to_owned(), path.display().to_string());
    }
    if let Some(text) = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        .and_then(|handler| serde_json::to_string(handler).ok())
    {
        result.insert(PRE_STOP.to_owned(), text);
    }
    if let Some(text) = container.ports.as_ref().and_then(|ports| serde_json::to_string(ports).ok()) {
        result.insert(PORTS.to_owned(), text);
    }
    if let Some(seconds) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        result.insert(GRACE_PERIOD.to_owned(), seconds.to_string());
    }
    result
}

/// Where the container writes its last words.
#[must_use]
pub fn termination_message_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or(DEFAULT_TERMINATION_MESSAGE_PATH)
}
