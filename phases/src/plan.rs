//! What `init` will do on one host, computed from documents and facts alone. Pure.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use junio_api::config::component::{kube_proxy_configuration, kubelet_configuration};
use junio_api::config::defaults::split_endpoint;
use junio_api::config::{Arg, EncryptionAlgorithm, InitDocuments, Taint};
use junio_api::images::Image;
use junio_api::{Layout, cidr, names};
use junio_host::Facts;
use junio_host::facts::{CgroupVersion, DockerState, InitSystem};
use junio_pki::{KeyAlgorithm, KubeconfigParams, PkiParams};
use junio_templates::patch::Patches;
use serde_json::{Value, json};

use crate::error::Cause;
use crate::preflight::{self, images_of};

/// Everything that the phases of `init` need to know beforehand.
#[derive(Debug, Clone)]
pub struct Plan {
    pub documents: InitDocuments,
    pub node_name: String,
    pub advertise_address: IpAddr,
    /// `HOST:PORT` of the cluster, which clients and joining hosts use.
    pub endpoint: String,
    /// `HOST:PORT` of this host's API server.
    pub local_endpoint: String,
    pub pod_subnets: Vec<IpNet>,
    pub service_subnets: Vec<IpNet>,
    pub dns_address: IpAddr,
    pub pki_dir: PathBuf,
    pub pki: PkiParams,
    pub kubeconfigs: KubeconfigParams,
    pub images: PlannedImages,
    /// The kubelet's file on this host.
    pub kubelet_config: Value,
    /// The same for all hosts, for the ConfigMap.
    pub kubelet_config_shared: Value,
    pub kube_proxy_config: Value,
    pub kubelet_flags: Vec<Arg>,
    pub taints: Vec<Taint>,
    pub init_system: InitSystem,
    /// flannel is ours to install.
    pub overlay: bool,
    pub certificate_directories: Vec<String>,
    pub proxies: Vec<(String, String)>,
    pub timeouts: PlannedTimeouts,
    /// Of manifests and the CoreDNS Deployment; `kubelet_config` has its own in it already.
    pub patches: Patches,
}

/// References by use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImages {
    /// Everything this host needs.
    pub all: Vec<String>,
    pub etcd: String,
    pub api_server: String,
    pub controller_manager: String,
    pub scheduler: String,
    pub proxy: String,
    pub coredns: String,
    pub flannel: String,
    pub pause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedTimeouts {
    pub kubelet: Duration,
    pub control_plane: Duration,
    /// For node Ready and DNS.
    pub verify: Duration,
}

impl Plan {
    /// `proxies` are the caller's `*_proxy` variables, `start` is when certificates begin to be valid.
    pub fn new(
        documents: &InitDocuments,
        facts: &Facts,
        layout: &Layout,
        overlay: bool,
        proxies: Vec<(String, String)>,
        start: SystemTime,
    ) -> Result<Self, Cause> {
        let documents = documents.clone();
        let (init, cluster) = (&documents.init, &documents.cluster);
        let invalid = |field: &str| Cause::Config(format!("{field} has no usable value"));
        let advertise_address: IpAddr = init
            .local_api_endpoint
            .advertise_address
            .parse()
            .map_err(|_| invalid("localAPIEndpoint.advertiseAddress"))?;
        let service_subnets = preflight::subnets(&cluster.networking.service_subnet);
        let pod_subnets = preflight::subnets(&cluster.networking.pod_subnet);
        if overlay && pod_subnets.is_empty() {
            return Err(invalid("networking.podSubnet"));
        }
        let first_service = service_subnets.first().ok_or_else(|| invalid("networking.serviceSubnet"))?;
        let service_address = cidr::nth_address(first_service, 1).ok_or_else(|| invalid("networking.serviceSubnet"))?;
        let dns_address = cidr::nth_address(first_service, 10).ok_or_else(|| invalid("networking.serviceSubnet"))?;
        let (endpoint, local_endpoint) = (documents.endpoint(), documents.local_endpoint());
        let node_name = init.node_registration.name.clone();
        let local_etcd = cluster.etcd.local.as_ref();
        let pki = PkiParams {
            node_name: node_name.clone(),
            advertise_address,
            service_address,
            endpoint_host: Some(split_endpoint(&cluster.control_plane_endpoint).0.to_owned())
                .filter(|host| !host.is_empty()),
            dns_domain: cluster.networking.dns_domain.clone(),
            api_server_sans: cluster.api_server.cert_sans.clone(),
            etcd_server_sans: local_etcd.map(|etcd| etcd.server_cert_sans.clone()).unwrap_or_default(),
            etcd_peer_sans: local_etcd.map(|etcd| etcd.peer_cert_sans.clone()).unwrap_or_default(),
            local_etcd: local_etcd.is_some(),
            algorithm: algorithm(cluster.algorithm()),
            certificate_validity: cluster.certificate_validity(),
            ca_validity: cluster.ca_certificate_validity(),
            start,
        };
        let kubeconfigs = KubeconfigParams {
            cluster_name: cluster.cluster_name.clone(),
            node_name: node_name.clone(),
            endpoint_server: format!("https://{endpoint}"),
            local_server: format!("https://{local_endpoint}"),
            validity: cluster.certificate_validity(),
            start,
        };
        let cgroup_driver = match &facts.docker {
            DockerState::Running(docker) if !docker.cgroup_driver.is_empty() => docker.cgroup_driver.clone(),
            _ => "cgroupfs".to_owned(),
        };
        let kubelet_config_shared = kubelet_configuration(cluster, documents.kubelet.as_ref(), &cgroup_driver);
        Ok(Self {
            kubelet_config: kubelet_config(&kubelet_config_shared, &init.node_registration.cri_socket, facts),
            kubelet_config_shared,
            kube_proxy_config: kube_proxy_config(&documents, facts),
            kubelet_flags: kubelet_flags(&documents, facts),
            taints: taints(&documents),
            images: images(&documents, overlay),
            pki_dir: layout.root().join(cluster.certificates_dir.trim_start_matches('/')),
            timeouts: PlannedTimeouts {
                kubelet: init.timeouts.kubelet_health_check(),
                control_plane: init.timeouts.control_plane_component_health_check(),
                verify: init.timeouts.control_plane_component_health_check(),
            },
            init_system: facts.init.clone(),
            certificate_directories: facts.certificate_directories.clone(),
            node_name,
            advertise_address,
            endpoint,
            local_endpoint,
            pod_subnets,
            service_subnets,
            dns_address,
            pki,
            kubeconfigs,
            overlay,
            proxies,
            patches: Patches::default(),
            documents,
        })
    }

    /// `https://ADDRESS:PORT` of this host's API server.
    #[must_use]
    pub fn local_server(&self) -> String {
        format!("https://{}", self.local_endpoint)
    }
}

pub(crate) fn algorithm(wanted: EncryptionAlgorithm) -> KeyAlgorithm {
    match wanted {
        EncryptionAlgorithm::Rsa2048 => KeyAlgorithm::Rsa2048,
        EncryptionAlgorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
        EncryptionAlgorithm::Rsa4096 => KeyAlgorithm::Rsa4096,
        EncryptionAlgorithm::EcdsaP256 => KeyAlgorithm::EcdsaP256,
        EncryptionAlgorithm::EcdsaP384 => KeyAlgorithm::EcdsaP384,
    }
}

fn images(documents: &InitDocuments, overlay: bool) -> PlannedImages {
    let repository = &documents.cluster.image_repository;
    PlannedImages {
        all: images_of(documents, overlay),
        etcd: preflight::etcd_image(documents),
        api_server: Image::ApiServer.reference(repository),
        controller_manager: Image::ControllerManager.reference(repository),
        scheduler: Image::Scheduler.reference(repository),
        proxy: Image::Proxy.reference(repository),
        coredns: preflight::coredns_image(documents),
        flannel: Image::Flannel.reference(repository),
        pause: Image::Pause.reference(repository),
    }
}

/// The shared configuration and what only this host knows.
pub(crate) fn kubelet_config(shared: &Value, socket: &str, facts: &Facts) -> Value {
    let mut config = shared.clone();
    config["containerRuntimeEndpoint"] = json!(socket);
    if facts.cgroup != CgroupVersion::V2 && config.get("failCgroupV1").is_none() {
        config["failCgroupV1"] = json!(false);
    }
    if let (Some(path), None) = (preflight::resolv_conf(facts), config.get("resolvConf")) {
        config["resolvConf"] = json!(path);
    }
    config
}

/// The user's document wins. Where the kernel does not let a network namespace set conntrack's limits, kube-proxy must not try.
fn kube_proxy_config(documents: &InitDocuments, facts: &Facts) -> Value {
    let mut config = kube_proxy_configuration(&documents.init, &documents.cluster, documents.kube_proxy.as_ref());
    if facts.conntrack_read_only && documents.kube_proxy.as_ref().is_none_or(|user| !user.0.contains_key("conntrack")) {
        config["conntrack"]["maxPerCore"] = json!(0);
        config["conntrack"]["min"] = json!(0);
    }
    config
}

/// As kubeadm: the override only when the name differs from the host's, then the user's.
fn kubelet_flags(documents: &InitDocuments, facts: &Facts) -> Vec<Arg> {
    let node = &documents.init.node_registration;
    let mut flags = Vec::new();
    if node.name != facts.hostname.trim().to_lowercase()
        && !node.kubelet_extra_args.iter().any(|arg| arg.name == "hostname-override")
    {
        flags.push(Arg::new("hostname-override", node.name.clone()));
    }
    flags.extend(node.kubelet_extra_args.iter().cloned());
    flags
}

fn taints(documents: &InitDocuments) -> Vec<Taint> {
    documents.init.node_registration.taints.clone().unwrap_or_else(|| {
        vec![Taint {
            key: names::LABEL_CONTROL_PLANE.to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{documents, facts};

    fn plan(documents: &InitDocuments, facts: &Facts) -> Plan {
        Plan::new(documents, facts, &Layout::default(), true, Vec::new(), SystemTime::UNIX_EPOCH).expect("a plan")
    }

    #[test]
    fn addresses_and_endpoints_follow_the_documents() {
        let plan = plan(&documents(), &facts());
        assert_eq!((plan.endpoint.as_str(), plan.local_endpoint.as_str()), ("10.78.0.11:6443", "10.78.0.11:6443"));
        assert_eq!(
            (plan.pki.service_address.to_string(), plan.dns_address.to_string()),
            ("10.96.0.1".to_owned(), "10.96.0.10".to_owned())
        );
        assert_eq!(plan.pki_dir, PathBuf::from("/etc/kubernetes/pki"));
        assert_eq!(plan.taints[0].key, "node-role.kubernetes.io/control-plane");
    }

    #[test]
    fn an_endpoint_of_its_own_is_for_clients_and_not_for_this_host() {
        let mut documents = documents();
        documents.cluster.control_plane_endpoint = "lb.example:6443".to_owned();
        let plan = plan(&documents, &facts());
        assert_eq!(plan.kubeconfigs.endpoint_server, "https://lb.example:6443");
        assert_eq!(plan.kubeconfigs.local_server, "https://10.78.0.11:6443");
        assert_eq!(plan.pki.endpoint_host.as_deref(), Some("lb.example"));
    }

    #[test]
    fn the_kubelet_gets_this_hosts_facts_and_the_cluster_does_not() {
        let facts = Facts { cgroup: CgroupVersion::Hybrid, systemd_resolved: true, ..facts() };
        let plan = plan(&documents(), &facts);
        assert_eq!(plan.kubelet_config["failCgroupV1"], false);
        assert_eq!(plan.kubelet_config["resolvConf"], "/run/systemd/resolve/resolv.conf");
        assert_eq!(plan.kubelet_config["containerRuntimeEndpoint"], "unix:///run/docker.sock");
        assert_eq!(plan.kubelet_config["cgroupDriver"], "cgroupfs");
        assert_eq!(plan.kubelet_config_shared["containerRuntimeEndpoint"], "");
        assert!(plan.kubelet_config_shared.get("failCgroupV1").is_none());
    }

    #[test]
    fn a_node_with_another_name_than_its_host_tells_the_kubelet() {
        let mut documents = documents();
        assert!(plan(&documents, &facts()).kubelet_flags.is_empty());
        documents.init.node_registration.name = "other".to_owned();
        assert_eq!(plan(&documents, &facts()).kubelet_flags, [Arg::new("hostname-override", "other")]);
    }

    #[test]
    fn an_empty_taint_list_means_no_taint() {
        let mut documents = documents();
        documents.init.node_registration.taints = Some(Vec::new());
        assert!(plan(&documents, &facts()).taints.is_empty());
    }

    #[test]
    fn an_overlay_needs_a_pod_subnet() {
        let mut documents = documents();
        documents.cluster.networking.pod_subnet = String::new();
        let without =
            |overlay| Plan::new(&documents, &facts(), &Layout::default(), overlay, Vec::new(), SystemTime::UNIX_EPOCH);
        assert!(without(true).is_err());
        assert!(without(false).is_ok());
    }
}
