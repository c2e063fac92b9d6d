//! The overlay network: flannel as a DaemonSet, in the namespace and under the names that upstream uses.
//!
//! It talks to the API server by the address that nodes use, not by the service's, so that it waits for no kube-proxy.
//! flanneld itself writes the CNI configuration once the network works (`bundle/go/network`), with no init container.

use ipnet::IpNet;
use junio_api::images::Image;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Template;
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

/// How packets travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    #[default]
    Vxlan,
    HostGw,
    Udp,
}

/// Inputs of the add-on.
#[derive(Debug, Clone)]
pub struct FlannelOptions<'a> {
    /// One subnet per address family.
    pub pod_subnets: &'a [IpNet],
    pub backend: Backend,
    /// Rules in nftables instead of iptables.
    pub nftables: bool,
    pub image_repository: &'a str,
    /// Where nodes reach the API server.
    pub api_host: &'a str,
    pub api_port: u16,
    /// The interface for traffic between hosts (name or address); the default route's when `None`.
    pub interface: Option<&'a str>,
}

#[derive(Serialize)]
struct Flannel {
    image: String,
    cni_conf: String,
    net_conf: String,
    args: Vec<String>,
    api_host: String,
    api_port: String,
    /// The udp backend needs the tun device.
    tun: bool,
}

impl Template for Flannel {
    const NAME: &'static str = "flannel.yaml";
}

/// Namespace, ServiceAccount, ClusterRole, binding, ConfigMap, DaemonSet.
pub fn flannel(options: &FlannelOptions<'_>) -> Result<Vec<Object>, TemplateError> {
    let mut args = vec!["--ip-masq", "--kube-subnet-mgr", "--cni-conf-src=/etc/kube-flannel/cni-conf.json"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    args.extend(options.interface.map(|name| format!("--iface={name}")));
    render_objects(&Flannel {
        image: Image::Flannel.reference(options.image_repository),
        cni_conf: pretty(&cni_conf()),
        net_conf: pretty(&net_conf(options)),
        args,
        api_host: options.api_host.to_owned(),
        api_port: options.api_port.to_string(),
        tun: options.backend == Backend::Udp,
    })
}

/// The list that flanneld completes with the node's subnet and MTU.
fn cni_conf() -> Value {
    json!({
        "name": "cbr0",
        "cniVersion": "1.0.0",
        "plugins": [
            { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// flannel's `net-conf.json`.
fn net_conf(options: &FlannelOptions<'_>) -> Value {
    let of_family = |v4: bool| options.pod_subnets.iter().find(|net| net.addr().is_ipv4() == v4);
    let kind = match options.backend {
        Backend::Vxlan => "vxlan",
        Backend::HostGw => "host-gw",
        Backend::Udp => "udp",
    };
    let mut conf = json!({ "EnableIPv4": of_family(true).is_some(), "EnableNFTables": options.nftables, "Backend": { "Type": kind } });
    if let Some(net) = of_family(true) {
        conf["Network"] = net.to_string().into();
    }
    if let Some(net) = of_family(false) {
        conf["EnableIPv6"] = true.into();
        conf["IPv6Network"] = net.to_string().into();
    }
    conf
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(subnets: &[IpNet]) -> FlannelOptions<'_> {
        FlannelOptions {
            pod_subnets: subnets,
            backend: Backend::Vxlan,
            nftables: false,
            image_repository: "registry.k8s.io",
            api_host: "10.0.0.1",
            api_port: 6443,
            interface: None,
        }
    }

    #[test]
    fn the_network_has_both_families_when_the_pods_have() {
        let subnets = ["10.244.0.0/16".parse().expect("a subnet"), "fd00:10::/56".parse().expect("a subnet")];
        let conf = net_conf(&options(&subnets));
        assert_eq!((&conf["Network"], &conf["IPv6Network"]), (&json!("10.244.0.0/16"), &json!("fd00:10::/56")));
        let conf = net_conf(&options(&subnets[..1]));
        assert_eq!((conf.get("EnableIPv6"), &conf["EnableIPv4"]), (None, &json!(true)));
    }

    #[test]
    fn all_objects_render_with_and_without_the_tun_device() {
        let subnets = ["10.244.0.0/16".parse().expect("a subnet")];
        let kinds: Vec<_> = flannel(&options(&subnets)).expect("renders").iter().map(|o| o.kind().to_owned()).collect();
        assert_eq!(
            kinds,
            ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet"]
        );
        let objects = flannel(&FlannelOptions { backend: Backend::Udp, interface: Some("eth1"), ..options(&subnets) })
            .expect("renders");
        let daemon_set: k8s_openapi::api::apps::v1::DaemonSet = objects[5].typed().expect("a DaemonSet");
        let pod = daemon_set.spec.and_then(|s| s.template.spec).expect("a pod");
        assert!(pod.containers[0].args.iter().flatten().any(|a| a == "--iface=eth1"));
        assert!(pod.volumes.iter().flatten().any(|v| v.name == "tun"));
    }
}
