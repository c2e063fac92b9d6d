//! Turns a manifest into a static pod: a name and a UID of this node, and the defaults that the API server would set.
//! Source of the rules: upstream `pkg/kubelet/config/common.go`, `pkg/apis/core/v1/defaults.go`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, Toleration};

use crate::pod::facts;

/// A manifest that is no usable pod.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    #[error("{0}")]
    Syntax(String),
    #[error("kind is {0:?}, expected a v1 Pod")]
    Kind(String),
    #[error("metadata.name is missing")]
    Name,
    #[error("spec.containers is empty")]
    Containers,
    #[error("static pods may not reference API objects: {0}")]
    Reference(&'static str),
}

/// Reads a manifest (YAML or JSON). `now` goes into an annotation only and does not change the UID.
pub fn parse(text: &str, path: &Path, node: &str, now: Timestamp) -> Result<Pod, ManifestError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        kind: Option<String>,
        api_version: Option<String>,
    }
    let kind: Kind = junio_api::yaml::object_from_str(text).map_err(|error| ManifestError::Syntax(error.message))?;
    if kind.kind.as_deref() != Some("Pod") || kind.api_version.as_deref() != Some("v1") {
        return Err(ManifestError::Kind(kind.kind.unwrap_or_default()));
    }
    let mut pod: Pod = junio_api::yaml::object_from_str(text).map_err(|error| ManifestError::Syntax(error.message))?;
    pod.status = None;
    if facts::name(&pod).is_empty() {
        return Err(ManifestError::Name);
    }
    let hash = fingerprint(&pod, path, node);
    let uid = pod.metadata.uid.get_or_insert(hash).clone();
    pod.metadata.name = Some(format!("{}-{}", facts::name(&pod), node.to_lowercase()));
    pod.metadata.namespace =
        Some(pod.metadata.namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".to_owned()));
    let annotations = pod.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(facts::CONFIG_HASH.to_owned(), uid);
    annotations.insert(facts::CONFIG_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(facts::CONFIG_SEEN.to_owned(), now.to_string());
    let spec = pod.spec.as_mut().filter(|spec| !spec.containers.is_empty()).ok_or(ManifestError::Containers)?;
    refuse_references(spec)?;
    spec.node_name = Some(node.to_owned());
    spec.tolerations.get_or_insert_with(Vec::new).push(Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    });
    set_defaults(spec);
    Ok(pod)
}

/// 128-bit FNV-1a over the pod and where it comes from, 32 hex digits.
fn fingerprint(pod: &Pod, path: &Path, node: &str) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let text = serde_json::to_string(pod).unwrap_or_default();
    let source = format!("host:{node}file:{}", path.display());
    let hash =
        text.bytes().chain(source.bytes()).fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

fn refuse_references(spec: &PodSpec) -> Result<(), ManifestError> {
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err(ManifestError::Reference("serviceAccountName"));
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        return Err(ManifestError::Reference("imagePullSecrets"));
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Err(ManifestError::Reference("resourceClaims"));
    }
    for volume in spec.volumes.iter().flatten() {
        if volume.config_map.is_some() {
            return Err(ManifestError::Reference("volumes.configMap"));
        }
        if volume.secret.is_some() {
            return Err(ManifestError::Reference("volumes.secret"));
        }
        if volume.persistent_volume_claim.is_some() {
            return Err(ManifestError::Reference("volumes.persistentVolumeClaim"));
        }
        if volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
            .any(|source| source.downward_api.is_none())
        {
            return Err(ManifestError::Reference("volumes.projected"));
        }
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        if container.env_from.as_ref().is_some_and(|sources| !sources.is_empty()) {
            return Err(ManifestError::Reference("envFrom"));
        }
        let by_key = |source: &k8s_openapi::api::core::v1::EnvVarSource| {
            source.config_map_key_ref.is_some() || source.secret_key_ref.is_some()
        };
        if container.env.iter().flatten().any(|env| env.value_from.as_ref().is_some_and(by_key)) {
            return Err(ManifestError::Reference("env.valueFrom"));
        }
    }
    Ok(())
}

fn set_defaults(spec: &mut PodSpec) {
    let host_network = spec.host_network.unwrap_or(false);
    spec.restart_policy.get_or_insert_with(|| "Always".to_owned());
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".to_owned());
    spec.scheduler_name.get_or_insert_with(|| "default-scheduler".to_owned());
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    spec.enable_service_links.get_or_insert(true);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        set_container_defaults(container, host_network);
    }
}

fn set_container_defaults(container: &mut Container, host_network: bool) {
    let policy = default_pull_policy(container.image.as_deref().unwrap_or_default());
    container.image_pull_policy.get_or_insert_with(|| policy.to_owned());
    container.termination_message_path.get_or_insert_with(|| "/dev/termination-log".to_owned());
    container.termination_message_policy.get_or_insert_with(|| "File".to_owned());
    for port in container.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        if host_network {
            port.host_port.get_or_insert(port.container_port);
        }
    }
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
        .into_iter()
        .flatten()
    {
        probe.timeout_seconds.get_or_insert(1);
        probe.period_seconds.get_or_insert(10);
        probe.success_threshold.get_or_insert(1);
        probe.failure_threshold.get_or_insert(3);
        if let Some(http) = &mut probe.http_get {
            http.path.get_or_insert_with(|| "/".to_owned());
            http.scheme.get_or_insert_with(|| "HTTP".to_owned());
        }
    }
    if let Some(resources) = &mut container.resources {
        let limits = resources.limits.clone().unwrap_or_default();
        let requests = resources.requests.get_or_insert_with(BTreeMap::new);
        for (name, value) in limits {
            requests.entry(name).or_insert(value);
        }
    }
}

/// `Always` for `:latest` or no tag, `IfNotPresent` otherwise.
fn default_pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  hostNetwork: true\n  containers:\n  - name: c\n    image: reg:5000/a/b\n    ports: [{containerPort: 80}]\n";

    fn read(text: &str, path: &str, second: i64) -> Result<Pod, ManifestError> {
        parse(text, Path::new(path), "Node-1", Timestamp::from_second(second).expect("valid"))
    }

    #[test]
    fn the_uid_follows_content_and_place_but_not_time() {
        let pod = read(POD, "/m/a.yaml", 1).expect("valid");
        assert_eq!(facts::uid(&pod), facts::uid(&read(POD, "/m/a.yaml", 2).expect("valid")));
        assert_eq!(facts::uid(&pod).len(), 32);
        assert_ne!(facts::uid(&pod), facts::uid(&read(POD, "/m/b.yaml", 1).expect("valid")));
        assert_ne!(facts::uid(&pod), facts::uid(&read(&POD.replace("80", "81"), "/m/a.yaml", 1).expect("valid")));
        assert_eq!(facts::annotation(&pod, facts::CONFIG_HASH), Some(facts::uid(&pod)));
    }

    #[test]
    fn name_node_and_defaults_are_set() {
        let pod = read(POD, "/m/a.yaml", 1).expect("valid");
        assert_eq!((facts::name(&pod), facts::namespace(&pod)), ("web-node-1", "default"));
        let spec = pod.spec.expect("spec");
        assert_eq!(spec.node_name.as_deref(), Some("Node-1"));
        let container = &spec.containers[0];
        assert_eq!(container.image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(container.ports.as_ref().expect("ports")[0].host_port, Some(80));
    }

    #[test]
    fn a_given_uid_is_kept() {
        let pod = read(&POD.replace("name: web", "name: web, uid: abc"), "/m/a.yaml", 1).expect("valid");
        assert_eq!(facts::uid(&pod), "abc");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(read("a: [", "/m/a.yaml", 1), Err(ManifestError::Syntax(_))));
        assert_eq!(read("apiVersion: v1\nkind: Service\n", "/m/a.yaml", 1), Err(ManifestError::Kind("Service".into())));
        assert_eq!(
            read(&POD.replace("hostNetwork: true", "serviceAccountName: x"), "/m/a.yaml", 1),
            Err(ManifestError::Reference("serviceAccountName"))
        );
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, expected) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("r:5/a", "Always"),
            ("r:5/a:1", "IfNotPresent"),
            ("a@sha256:0", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), expected, "{image}");
        }
    }
}
