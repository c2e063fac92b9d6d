//! Rendered text back into objects, checked against their Kubernetes types.

use junio_api::yaml;
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, rbac::v1 as rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::{Template, render};
use crate::error::TemplateError;

/// One Kubernetes object, ready for server-side apply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(Value);

impl Object {
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// For example `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `None` for cluster-wide objects.
    pub fn namespace(&self) -> Option<&str> {
        self.0.pointer("/metadata/namespace").and_then(Value::as_str)
    }

    /// The object as JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The object as JSON.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The object as its type. The caller knows which; an error is a bug.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.0.clone())
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Fills a template of one or more YAML documents and checks each against its type.
pub fn render_objects<T: Template>(data: &T) -> Result<Vec<Object>, TemplateError> {
    parse_objects(T::NAME, &render(data)?)
}

/// Our own multi-document texts: separated by a line of three dashes, which quoting keeps out of values.
pub fn parse_objects(template: &'static str, text: &str) -> Result<Vec<Object>, TemplateError> {
    let documents = text.split("\n---\n");
    documents
        .map(|document| {
            let value: Value = yaml::from_str(document).map_err(|source| TemplateError::Parse { template, source })?;
            check(template, &value)?;
            Ok(Object(value))
        })
        .collect()
}

/// Whether `value` is a whole object of its type.
pub fn check(template: &'static str, value: &Value) -> Result<(), TemplateError> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "Pod" => same::<core::Pod>(template, kind, value),
        "ConfigMap" => same::<core::ConfigMap>(template, kind, value),
        "Secret" => same::<core::Secret>(template, kind, value),
        "Service" => same::<core::Service>(template, kind, value),
        "ServiceAccount" => same::<core::ServiceAccount>(template, kind, value),
        "Namespace" => same::<core::Namespace>(template, kind, value),
        "Deployment" => same::<apps::Deployment>(template, kind, value),
        "DaemonSet" => same::<apps::DaemonSet>(template, kind, value),
        "Role" => same::<rbac::Role>(template, kind, value),
        "RoleBinding" => same::<rbac::RoleBinding>(template, kind, value),
        "ClusterRole" => same::<rbac::ClusterRole>(template, kind, value),
        "ClusterRoleBinding" => same::<rbac::ClusterRoleBinding>(template, kind, value),
        other => Err(TemplateError::Type {
            template,
            kind: other.to_owned(),
            reason: "not a kind that we render".to_owned(),
        }),
    }
}

/// Reads `value` as a `T`, writes it again and compares: what the type does not know is gone then.
fn same<T: DeserializeOwned + Serialize>(
    template: &'static str,
    kind: &str,
    value: &Value,
) -> Result<(), TemplateError> {
    let fail = |e: serde_json::Error| TemplateError::Type { template, kind: kind.to_owned(), reason: e.to_string() };
    let typed: T = serde_json::from_value(value.clone()).map_err(fail)?;
    let again = serde_json::to_value(&typed).map_err(fail)?;
    if is_within(value, &again) { Ok(()) } else { Err(TemplateError::LostFields { template, kind: kind.to_owned() }) }
}

/// True when everything of `a` is in `b`; empty mappings count as absent.
fn is_within(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().all(|(key, value)| match b.get(key) {
            Some(other) => is_within(value, other),
            None => is_empty(value),
        }),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_within(a, b)),
        _ => a == b,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_found() {
        let good = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  namespace: ns\ndata: {a: b}\n";
        let objects = parse_objects("test", good).expect("fits");
        assert_eq!((objects[0].kind(), objects[0].name(), objects[0].namespace()), ("ConfigMap", "x", Some("ns")));
        for bad in [good.replace("data", "dada"), good.replace("ConfigMap", "ConfigMop"), good.replace("{a: b}", "3")] {
            assert!(parse_objects("test", &bad).is_err(), "{bad}");
        }
    }
}
