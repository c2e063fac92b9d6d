//! The CoreDNS add-on. Source of its shape: kubeadm v1.36.3 `app/phases/addons/dns`.

use junio_api::images::Image;
use serde::Serialize;

use crate::engine::{Template, render};
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

#[derive(Serialize)]
struct Corefile<'a> {
    domain: &'a str,
}

impl Template for Corefile<'_> {
    const NAME: &'static str = "corefile";
}

#[derive(Serialize)]
struct CoreDns<'a> {
    corefile: &'a str,
    image: String,
    replicas: u32,
    cluster_ips: &'a [String],
    families: Vec<&'static str>,
    policy: &'static str,
    api_host: &'a str,
    api_port: String,
}

impl Template for CoreDns<'_> {
    const NAME: &'static str = "coredns.yaml";
}

/// Inputs of the add-on.
#[derive(Debug, Clone)]
pub struct CoreDnsOptions<'a> {
    /// For example `cluster.local`.
    pub domain: &'a str,
    /// For example `registry.k8s.io`.
    pub image_repository: &'a str,
    /// A full reference instead of the bundled image.
    pub image: Option<&'a str>,
    /// kubeadm's is 2.
    pub replicas: u32,
    /// The tenth address of each service subnet, one or two.
    pub cluster_ips: &'a [String],
    /// Where nodes reach the API server. CoreDNS goes there too, not to the service's address: its first packet to an
    /// address that kube-proxy has yet to set up is lost, and the next one follows a second later.
    pub api_host: &'a str,
    pub api_port: u16,
}

/// The default Corefile for a cluster domain.
pub fn corefile(domain: &str) -> Result<String, TemplateError> {
    render(&Corefile { domain })
}

/// ServiceAccount, ClusterRole, binding, ConfigMap, Deployment, Service. `existing_corefile` of a cluster is kept as it is.
pub fn coredns(options: &CoreDnsOptions<'_>, existing_corefile: Option<&str>) -> Result<Vec<Object>, TemplateError> {
    let generated = corefile(options.domain)?;
    render_objects(&CoreDns {
        corefile: existing_corefile.unwrap_or(&generated),
        image: options.image.map_or_else(|| Image::CoreDns.reference(options.image_repository), str::to_owned),
        replicas: options.replicas,
        cluster_ips: options.cluster_ips,
        api_host: options.api_host,
        api_port: options.api_port.to_string(),
        families: options.cluster_ips.iter().map(|ip| if ip.contains(':') { "IPv6" } else { "IPv4" }).collect(),
        policy: if options.cluster_ips.len() > 1 { "RequireDualStack" } else { "SingleStack" },
    })
}
