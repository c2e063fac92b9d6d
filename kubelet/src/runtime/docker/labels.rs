//! Everything a restarted kubelet must know of a container, written as engine labels, which are immutable.
//! Keys under `io.kubernetes` are cri-dockerd's. All keys of ours are always written: a container inherits its image's
//! labels, and an image must not be able to speak for the kubelet.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use junio_api::names::DOCKER_LABEL;

use super::naming::SANDBOX_CONTAINER;
use crate::runtime::{ContainerConfig, ContainerKind, PodRef, SandboxConfig, SandboxId};

pub(super) const TYPE: &str = "io.kubernetes.docker.type";
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(super) const SANDBOX: &str = "io.kubernetes.sandbox.id";
const LOG_PATH: &str = "io.kubernetes.container.logpath";
const ATTEMPT: &str = "io.junioadm.attempt";
const KIND: &str = "io.junioadm.kind";
const HASH: &str = "io.junioadm.hash";
const HOST_NETWORK: &str = "io.junioadm.host-network";
const HANDLER: &str = "io.junioadm.runtime-handler";
const ANNOTATIONS: &str = "io.junioadm.annotations";

const TYPE_SANDBOX: &str = "podsandbox";
const TYPE_CONTAINER: &str = "container";

/// The labels of one container, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub pod: PodRef,
    pub attempt: u32,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Sandbox {
        host_network: bool,
        handler: Option<String>,
    },
    Container {
        name: String,
        kind: ContainerKind,
        sandbox: SandboxId,
        hash: String,
        log_path: PathBuf,
        annotations: BTreeMap<String, String>,
    },
}

pub(super) fn of_sandbox(owner: &str, config: &SandboxConfig) -> HashMap<String, String> {
    let mut labels = common(owner, &config.pod, config.attempt, TYPE_SANDBOX, SANDBOX_CONTAINER);
    labels.insert(HOST_NETWORK.into(), config.host_network.to_string());
    labels.insert(HANDLER.into(), config.runtime_handler.clone().unwrap_or_default());
    labels
}

pub(super) fn of_container(owner: &str, sandbox: &SandboxId, config: &ContainerConfig) -> HashMap<String, String> {
    let mut labels = common(owner, &config.pod, config.attempt, TYPE_CONTAINER, &config.name);
    labels.insert(SANDBOX.into(), sandbox.0.clone());
    labels.insert(LOG_PATH.into(), config.log_path.display().to_string());
    labels.insert(KIND.into(), kind_text(config.kind).into());
    labels.insert(HASH.into(), config.hash.clone());
    labels.insert(ANNOTATIONS.into(), serde_json::json!(config.annotations).to_string());
    labels
}

/// `None` for a container that is not one of ours.
pub(super) fn read(labels: &HashMap<String, String>) -> Option<Identity> {
    let text = |key: &str| labels.get(key).cloned();
    let pod = PodRef { uid: text(POD_UID)?, namespace: text(POD_NAMESPACE)?, name: text(POD_NAME)? };
    let attempt = text(ATTEMPT)?.parse().ok()?;
    let role = match text(TYPE)?.as_str() {
        TYPE_SANDBOX => Role::Sandbox {
            host_network: text(HOST_NETWORK)? == "true",
            handler: text(HANDLER).filter(|handler| !handler.is_empty()),
        },
        TYPE_CONTAINER => Role::Container {
            name: text(CONTAINER_NAME)?,
            kind: kind_of(&text(KIND)?)?,
            sandbox: SandboxId(text(SANDBOX)?),
            hash: text(HASH)?,
            log_path: PathBuf::from(text(LOG_PATH)?),
            annotations: serde_json::from_str(&text(ANNOTATIONS)?).ok()?,
        },
        _ => return None,
    };
    Some(Identity { pod, attempt, role })
}

/// The list filter for everything of this owner.
pub(super) fn owner_filter(owner: &str) -> String {
    format!("{DOCKER_LABEL}={owner}")
}

pub(super) fn uid_filter(uid: &str) -> String {
    format!("{POD_UID}={uid}")
}

pub(super) fn sandbox_filter(sandbox: &SandboxId) -> String {
    format!("{SANDBOX}={}", sandbox.0)
}

fn common(owner: &str, pod: &PodRef, attempt: u32, kind: &str, container: &str) -> HashMap<String, String> {
    [
        (DOCKER_LABEL, owner.to_owned()),
        (TYPE, kind.to_owned()),
        (POD_UID, pod.uid.clone()),
        (POD_NAMESPACE, pod.namespace.clone()),
        (POD_NAME, pod.name.clone()),
        (CONTAINER_NAME, container.to_owned()),
        (ATTEMPT, attempt.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn kind_text(kind: ContainerKind) -> &'static str {
    match kind {
        ContainerKind::Init => "init",
        ContainerKind::App => "app",
        ContainerKind::Ephemeral => "ephemeral",
    }
}

fn kind_of(text: &str) -> Option<ContainerKind> {
    [ContainerKind::Init, ContainerKind::App, ContainerKind::Ephemeral]
        .into_iter()
        .find(|kind| kind_text(*kind) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let pod = PodRef { uid: "u".into(), namespace: "n".into(), name: "p".into() };
        let config = ContainerConfig {
            pod: pod.clone(),
            name: "c".into(),
            kind: ContainerKind::Init,
            attempt: 7,
            hash: "h".into(),
            log_path: "/var/log/pods/n_p_u/c/7.log".into(),
            annotations: [("a\"b".to_owned(), "c=d,e".to_owned())].into(),
            ..ContainerConfig::default()
        };
        let identity = read(&of_container("me", &SandboxId("s".into()), &config)).expect("our own labels");
        assert_eq!(identity.pod, pod);
        assert_eq!(identity.attempt, 7);
        assert_eq!(
            identity.role,
            Role::Container {
                name: "c".into(),
                kind: ContainerKind::Init,
                sandbox: SandboxId("s".into()),
                hash: "h".into(),
                log_path: config.log_path.clone(),
                annotations: config.annotations.clone(),
            }
        );
        let sandbox =
            SandboxConfig { pod, host_network: true, runtime_handler: Some("kata".into()), ..Default::default() };
        let identity = read(&of_sandbox("me", &sandbox)).expect("our own labels");
        assert_eq!(identity.role, Role::Sandbox { host_network: true, handler: Some("kata".into()) });
    }

    #[test]
    fn a_stranger_is_not_ours() {
        let mut labels = of_sandbox("me", &SandboxConfig::default());
        labels.remove(POD_UID);
        assert_eq!(read(&labels), None);
    }
}
