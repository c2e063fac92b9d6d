//! Which config maps and secrets a pod names. Pure.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::container_spec::all_containers;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    ConfigMap,
    Secret,
}

/// One named object. Displays as `configmap "name"`, the way upstream's events say it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: ObjectKind,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectKind::ConfigMap => "configmap",
            ObjectKind::Secret => "secret",
        };
        write!(f, "{kind} {:?}", self.name)
    }
}

/// Everything that the pod's volumes, environments and pull secrets name.
#[must_use]
pub fn references_of(pod: &Pod) -> BTreeSet<ObjectKey> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut result = BTreeSet::new();
    let mut add = |kind, name: &str| {
        if !name.is_empty() {
            result.insert(ObjectKey { kind, namespace: namespace.clone(), name: name.to_owned() });
        }
    };
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    for volume in spec.volumes.iter().flatten() {
        add_volume(volume, &mut add);
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        add(ObjectKind::Secret, &secret.name);
    }
    for container in all_containers(pod) {
        let container = container.container();
        for source in container.env_from.iter().flatten() {
            if let Some(reference) = &source.config_map_ref {
                add(ObjectKind::ConfigMap, &reference.name);
            }
            if let Some(reference) = &source.secret_ref {
                add(ObjectKind::Secret, &reference.name);
            }
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            if let Some(reference) = &source.config_map_key_ref {
                add(ObjectKind::ConfigMap, &reference.name);
            }
            if let Some(reference) = &source.secret_key_ref {
                add(ObjectKind::Secret, &reference.name);
            }
        }
    }
    result
}

fn add_volume(volume: &Volume, add: &mut impl FnMut(ObjectKind, &str)) {
    if let Some(source) = &volume.config_map {
        add(ObjectKind::ConfigMap, &source.name);
    }
    if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_deref()) {
        add(ObjectKind::Secret, name);
    }
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(source) = &source.config_map {
            add(ObjectKind::ConfigMap, &source.name);
        }
        if let Some(source) = &source.secret {
            add(ObjectKind::Secret, &source.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_reference() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "from-secret"}}]}],
                "containers": [{"name": "c",
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key-map", "key": "k"}}},
                            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "key-secret", "key": "k"}}}],
                    "envFrom": [{"configMapRef": {"name": "from-map"}}]}],
                "volumes": [{"name": "1", "configMap": {"name": "volume-map"}},
                            {"name": "2", "secret": {"secretName": "volume-secret"}},
                            {"name": "3", "projected": {"sources": [{"configMap": {"name": "volume-map"}},
                                                                    {"secret": {"name": "projected-secret"}}]}}]
            }
        }))
        .expect("a pod");
        let names: Vec<String> = references_of(&pod).iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "configmap \"from-map\"",
                "configmap \"key-map\"",
                "configmap \"volume-map\"",
                "secret \"from-secret\"",
                "secret \"key-secret\"",
                "secret \"projected-secret\"",
                "secret \"pull\"",
                "secret \"volume-secret\"",
            ]
        );
    }
}
