//! The one Tera instance, with all templates embedded and one filter.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera, Value};

use crate::error::TemplateError;

/// A struct that fills one template.
pub trait Template: Serialize {
    /// The template's file name without `.tera`.
    const NAME: &'static str;
}

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../tera/", $name, ".tera")))),*];
    };
}

templates![
    "apiserver_kubelet_client.yaml",
    "bootstrap_rbac.yaml",
    "bootstrap_token.yaml",
    "cluster_admins.yaml",
    "cluster_info.yaml",
    "coredns.yaml",
    "corefile",
    "flannel.yaml",
    "junio-kubelet.service",
    "kube_proxy.yaml",
    "kube_proxy_kubeconfig.yaml",
    "kubeadm_certs.yaml",
    "kubeadm_certs_rights.yaml",
    "kubeadm_config.yaml",
    "kubelet_config.yaml",
    "kubelet_instance_config.yaml",
    "static_pod.yaml",
];

static ENGINE: LazyLock<Result<Tera, String>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.register_filter("quote", quote); // before the templates: Tera 2 looks filters up when it compiles
    tera.add_raw_templates(TEMPLATES.iter().copied()).map_err(|e| e.to_string())?;
    Ok(tera)
});

/// Any value as JSON, which is YAML that 1.1 and 1.2 readers agree on.
fn quote(value: &Value, _: Kwargs, _: &State<'_>) -> Result<String, tera::Error> {
    serde_json::to_string(value).map_err(tera::Error::message)
}

/// Fills a template.
pub fn render<T: Template>(data: &T) -> Result<String, TemplateError> {
    let fail = |reason: String| TemplateError::Render { template: T::NAME, reason };
    let engine = ENGINE.as_ref().map_err(|reason| fail(reason.clone()))?;
    let context = Context::from_serialize(data).map_err(|e| fail(e.to_string()))?;
    engine.render(T::NAME, &context).map_err(|e| fail(e.to_string()))
}
