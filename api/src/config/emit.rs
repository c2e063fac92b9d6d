//! Writes documents as kubeadm prints them: keys sorted, `---` between documents.

use serde::Serialize;
use serde_json::Value;

use super::component::with_type;
use super::documents::{Documents, InitDocuments, Kind};
use crate::yaml::{self, EmitError};

/// A document as a plain object with `apiVersion` and `kind`.
pub fn to_value<T: Serialize>(kind: Kind, document: &T) -> Result<Value, EmitError> {
    let value = serde_json::to_value(document).map_err(|e| EmitError::new(e.to_string()))?;
    Ok(sorted(with_type(kind.api_version(), &kind.to_string(), value)))
}

/// One document as YAML.
pub fn to_yaml<T: Serialize>(kind: Kind, document: &T) -> Result<String, EmitError> {
    yaml::to_string(&to_value(kind, document)?)
}

/// Several objects as one text.
pub fn to_multi_yaml(values: &[Value]) -> Result<String, EmitError> {
    let texts: Vec<String> = values.iter().map(|v| yaml::to_string(&sorted(v.clone()))).collect::<Result<_, _>>()?;
    Ok(texts.join("---\n"))
}

impl InitDocuments {
    /// All documents as YAML, the components' ones only when the user gave them.
    pub fn to_yaml(&self) -> Result<String, EmitError> {
        to_multi_yaml(&Documents::from(self.clone()).to_values()?)
    }
}

impl From<InitDocuments> for Documents {
    fn from(documents: InitDocuments) -> Self {
        let InitDocuments { init, cluster, kubelet, kube_proxy } = documents;
        Self { init: Some(init), cluster: Some(cluster), kubelet, kube_proxy, ..Self::default() }
    }
}

impl Documents {
    /// The documents that are present, in kubeadm's order.
    pub fn to_values(&self) -> Result<Vec<Value>, EmitError> {
        let mut values = Vec::new();
        if let Some(d) = &self.init {
            values.push(to_value(Kind::InitConfiguration, d)?);
        }
        if let Some(d) = &self.cluster {
            values.push(to_value(Kind::ClusterConfiguration, d)?);
        }
        if let Some(d) = &self.join {
            values.push(to_value(Kind::JoinConfiguration, d)?);
        }
        if let Some(d) = &self.reset {
            values.push(to_value(Kind::ResetConfiguration, d)?);
        }
        if let Some(d) = &self.upgrade {
            values.push(to_value(Kind::UpgradeConfiguration, d)?);
        }
        if let Some(d) = &self.kubelet {
            values.push(to_value(Kind::KubeletConfiguration, &d.0)?);
        }
        if let Some(d) = &self.kube_proxy {
            values.push(to_value(Kind::KubeProxyConfiguration, &d.0)?);
        }
        if let Some(d) = &self.fleet {
            values.push(to_value(Kind::Cluster, d)?);
        }
        Ok(values)
    }
}

/// The same value with the keys of all its objects in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
