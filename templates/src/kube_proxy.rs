//! The kube-proxy add-on. Source of its shape: kubeadm v1.36.3 `app/phases/addons/proxy`.
//!
//! The container is privileged as kubeadm's: junio-kubelet gives it the same rights on engines that cannot start
//! privileged containers, and without them the kernel settings below /proc/sys would be read-only.

use junio_api::images::Image;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::component_config;
use crate::engine::{Template, render};
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

#[derive(Serialize)]
struct Kubeconfig<'a> {
    server: &'a str,
}

impl Template for Kubeconfig<'_> {
    const NAME: &'static str = "kube_proxy_kubeconfig.yaml";
}

#[derive(Serialize)]
struct KubeProxy<'a> {
    config: &'a str,
    kubeconfig: &'a str,
    annotations: Option<Map<String, Value>>,
    image: String,
}

impl Template for KubeProxy<'_> {
    const NAME: &'static str = "kube_proxy.yaml";
}

/// ServiceAccount, binding, Role, RoleBinding, ConfigMap, DaemonSet.
///
/// `configuration` is that of `config::component::kube_proxy_configuration`; `generated` when the user gave no document;
/// `server` the API server's URL as the nodes reach it.
pub fn kube_proxy(
    configuration: &Value,
    generated: bool,
    server: &str,
    image_repository: &str,
) -> Result<Vec<Object>, TemplateError> {
    let text = component_config::text(configuration)?;
    let config = text.trim_end();
    let kubeconfig = render(&Kubeconfig { server })?;
    let kubeconfig = kubeconfig.trim_end();
    let annotations =
        component_config::annotations(&[("config.conf", config), ("kubeconfig.conf", kubeconfig)], generated);
    render_objects(&KubeProxy { config, kubeconfig, annotations, image: Image::Proxy.reference(image_repository) })
}
