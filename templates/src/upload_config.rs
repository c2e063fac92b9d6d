//! The phase `upload-config`: ConfigMaps `kubeadm-config` and `kubelet-config` and who may read them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::component_config;
use crate::engine::Template;
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

#[derive(Serialize)]
struct KubeadmConfig<'a> {
    cluster_configuration: &'a str,
}

impl Template for KubeadmConfig<'_> {
    const NAME: &'static str = "kubeadm_config.yaml";
}

#[derive(Serialize)]
struct KubeletConfig<'a> {
    config: &'a str,
    annotations: Option<Map<String, Value>>,
}

impl Template for KubeletConfig<'_> {
    const NAME: &'static str = "kubelet_config.yaml";
}

/// `upload-config/kubeadm`: the ClusterConfiguration's YAML, its role and binding.
pub fn kubeadm_config(cluster_configuration: &str) -> Result<Vec<Object>, TemplateError> {
    render_objects(&KubeadmConfig { cluster_configuration })
}

/// `upload-config/kubelet`: the configuration that all kubelets share (`config::component::kubelet_configuration`), its
/// role and binding. `generated`: the user gave no such document.
pub fn kubelet_config(configuration: &Value, generated: bool) -> Result<Vec<Object>, TemplateError> {
    let config = component_config::text(configuration)?;
    let annotations = component_config::annotations(&[("kubelet", &config)], generated);
    render_objects(&KubeletConfig { config: &config, annotations })
}
