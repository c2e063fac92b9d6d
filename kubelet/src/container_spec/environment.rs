//! The environment of a container: `envFrom`, `env`, and services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use super::context::{SpecContext, is_host_network, is_static, namespace};
use super::error::SpecError;
use super::expand::expand;
use super::fields::{is_pod_ip_field, pod_field, resource_field};
use super::service_env::service_environment;
use crate::objects::ObjectError;

/// The complete environment, in the order in which it was declared.
pub async fn environment(
    ctx: &SpecContext,
    pod: &Pod,
    container: &Container,
    pod_ips: &[IpAddr],
) -> Result<Vec<(String, String)>, SpecError> {
    if !ctx.services.is_ready() && !is_static(pod) {
        return Err(SpecError::ServicesUnknown);
    }
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let services = service_environment(&ctx.services.list(), namespace(pod), links);

    let mut result = Variables::default();
    add_env_from(ctx, pod, container, &mut result).await?;
    for variable in container.env.iter().flatten() {
        let value = match (variable.value.as_deref().filter(|value| !value.is_empty()), &variable.value_from) {
            (Some(text), _) => {
                Some(expand(text, |name| result.get(name).or_else(|| services.get(name).map(String::as_str))))
            }
            (None, Some(source)) => from_source(ctx, pod, container, variable, source, pod_ips).await?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            result.set(&variable.name, value);
        }
    }
    for (name, value) in services {
        if result.get(&name).is_none() {
            result.set(&name, value);
        }
    }
    Ok(result.0)
}

/// Whether the environment names the pod's own address, so that the container cannot be created before it is known.
#[must_use]
pub fn needs_pod_ip(pod: &Pod, container: &Container) -> bool {
    !is_host_network(pod)
        && container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| variable.value_from.as_ref()?.field_ref.as_ref())
            .any(|field| is_pod_ip_field(&field.field_path))
}

/// Only what the manifest states literally: for commands of probes, which know no other variables.
#[must_use]
pub fn literal_environment(container: &Container) -> BTreeMap<String, String> {
    let literal = |variable: &EnvVar| variable.value_from.is_none();
    container
        .env
        .iter()
        .flatten()
        .filter(|variable| literal(variable))
        .map(|variable| (variable.name.clone(), variable.value.clone().unwrap_or_default()))
        .collect()
}

/// Names with values; setting a name again keeps its place.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

async fn add_env_from(
    ctx: &SpecContext,
    pod: &Pod,
    container: &Container,
    result: &mut Variables,
) -> Result<(), SpecError> {
    let namespace = namespace(pod);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let map = optional(ctx.objects.config_map(namespace, &reference.name).await, reference.optional)?;
            for (key, value) in map.iter().flat_map(|map| map.data.iter().flatten()) {
                result.set(&format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(reference) = &source.secret_ref {
            let secret = optional(ctx.objects.secret(namespace, &reference.name).await, reference.optional)?;
            for (key, value) in secret.iter().flat_map(|secret| secret.data.iter().flatten()) {
                result.set(&format!("{prefix}{key}"), text_of(value));
            }
        }
    }
    Ok(())
}

async fn from_source(
    ctx: &SpecContext,
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    source: &EnvVarSource,
    pod_ips: &[IpAddr],
) -> Result<Option<String>, SpecError> {
    let namespace = namespace(pod);
    let missing = |key: &str, object: String| SpecError::MissingKey { key: key.to_owned(), object };
    if let Some(field) = &source.field_ref {
        return pod_field(&field.field_path, pod, &ctx.node, pod_ips).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return resource_field(selector, pod, Some(container), &ctx.node.allocatable).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let map = optional(ctx.objects.config_map(namespace, &selector.name).await, selector.optional)?;
        let Some(map) = map else { return Ok(None) };
        return match map.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if selector.optional == Some(true) => Ok(None),
            None => Err(missing(&selector.key, format!("ConfigMap {namespace}/{}", selector.name))),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let secret = optional(ctx.objects.secret(namespace, &selector.name).await, selector.optional)?;
        let Some(secret) = secret else { return Ok(None) };
        return match secret.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(text_of(value))),
            None if selector.optional == Some(true) => Ok(None),
            None => Err(missing(&selector.key, format!("Secret {namespace}/{}", selector.name))),
        };
    }
    Err(SpecError::UnsupportedEnvironment { name: variable.name.clone(), what: "this kind of valueFrom" })
}

/// An absent object that is optional is nothing.
fn optional<T>(result: Result<T, ObjectError>, optional: Option<bool>) -> Result<Option<T>, SpecError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(ObjectError::NotFound(_)) if optional == Some(true) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn text_of(value: &ByteString) -> String {
    String::from_utf8_lossy(&value.0).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::tests_support::context;
    use crate::objects::ObjectKind;

    fn pod(container: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "web"}},
            "spec": {"containers": [container]}
        }))
        .expect("a pod")
    }

    async fn run(ctx: &SpecContext, container: serde_json::Value) -> Result<BTreeMap<String, String>, SpecError> {
        let pod = pod(container);
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        environment(ctx, &pod, container, &["10.1.2.3".parse().expect("ip")])
            .await
            .map(|list| list.into_iter().collect())
    }

    fn objects(ctx: &SpecContext) {
        ctx.objects.insert_config_map(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "map", "namespace": "n"}, "data": {"color": "red", "size": "$(X)"}
            }))
            .expect("a config map"),
        );
        ctx.objects.insert_secret(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "secret", "namespace": "n"}, "data": {"password": "aHVudGVy"}
            }))
            .expect("a secret"),
        );
        ctx.objects.insert_absent(ObjectKind::ConfigMap, "n", "gone");
    }

    #[tokio::test]
    async fn combines_all_sources() {
        let (_dir, ctx) = context();
        objects(&ctx);
        let variables = run(
            &ctx,
            serde_json::json!({"name": "c",
                "envFrom": [{"configMapRef": {"name": "map"}}, {"prefix": "S_", "secretRef": {"name": "secret"}},
                            {"configMapRef": {"name": "gone", "optional": true}}],
                "env": [{"name": "X", "value": "x"}, {"name": "Y", "value": "$(X)-$(color)-$(NO)-$$(X)"},
                        {"name": "color", "value": "blue"}, {"name": "Z", "value": "$(color)"},
                        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "color"}}},
                        {"name": "SKIP", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "no", "optional": true}}},
                        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "password"}}},
                        {"name": "API", "value": "$(KUBERNETES_SERVICE_HOST)"},
                        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}),
        )
        .await
        .expect("an environment");
        for (name, value) in [
            ("color", "blue"),
            ("size", "$(X)"),
            ("S_password", "hunter"),
            ("X", "x"),
            ("Y", "x-red-$(NO)-$(X)"),
            ("Z", "blue"),
            ("IP", "10.1.2.3"),
            ("APP", "web"),
            ("KEY", "red"),
            ("SECRET", "hunter"),
            ("API", "10.96.0.1"),
            ("CPU", "2"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!variables.contains_key("SKIP"));
    }

    #[tokio::test]
    async fn missing_things_are_config_errors() {
        let (_dir, ctx) = context();
        objects(&ctx);
        let error = run(
            &ctx,
            serde_json::json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "no"}}}]}),
        )
        .await
        .expect_err("a missing key");
        assert_eq!(error.to_string(), "couldn't find key no in Secret n/secret");
        assert_eq!(error.reason(), "CreateContainerConfigError");
        let error = run(&ctx, serde_json::json!({"name": "c", "envFrom": [{"configMapRef": {"name": "gone"}}]}))
            .await
            .expect_err("a missing map");
        assert_eq!(error.to_string(), "configmap \"gone\" not found");
    }

    #[test]
    fn knows_who_needs_the_address() {
        let with = pod(
            serde_json::json!({"name": "c", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]}),
        );
        let without = pod(
            serde_json::json!({"name": "c", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]}),
        );
        let needs = |pod: &Pod| needs_pod_ip(pod, &pod.spec.as_ref().expect("spec").containers[0]);
        assert!(needs(&with));
        assert!(!needs(&without));
    }
}
