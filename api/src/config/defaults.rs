//! Completes documents with kubeadm's defaults. Pure: what depends on the host or on chance comes in as `HostFacts`.

use std::net::IpAddr;

use super::cluster::{ClusterConfiguration, EncryptionAlgorithm, LocalEtcd};
use super::common::NodeRegistration;
use super::documents::{InitDocuments, JoinDocuments};
use super::error::Warning;
use super::init::{BootstrapToken, InitConfiguration};
use super::join::JoinConfiguration;
use super::reset::ResetConfiguration;
use super::upgrade::UpgradeConfiguration;
use crate::duration::GoDuration;
use crate::token::Token;
use crate::{images, names, ports, versions};

/// Docker Engine's socket, in the notation of `criSocket`.
pub const DOCKER_SOCKET: &str = "unix:///run/docker.sock";
pub const SERVICE_SUBNET: &str = "10.96.0.0/12";
/// Taken when the network is ours and no pod subnet is given; kubeadm has no default for it.
pub const POD_SUBNET: &str = "10.244.0.0/16";
pub const DNS_DOMAIN: &str = "cluster.local";
pub const CERTIFICATES_DIR: &str = "/etc/kubernetes/pki";
pub const CLUSTER_NAME: &str = "kubernetes";
pub const ETCD_DATA_DIR: &str = "/var/lib/etcd";
pub const TOKEN_TTL: GoDuration = GoDuration::from_secs(24 * 3600);

/// What defaults depend on.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// As the kernel says it; it is trimmed and lower-cased here.
    pub hostname: String,
    /// The address of the interface of the default route.
    pub default_address: Option<IpAddr>,
    /// A fresh random token, used when a token is needed and none is given.
    pub token: Token,
}

/// Completes what `init` works with.
pub fn apply(documents: &mut InitDocuments, facts: &HostFacts) -> Vec<Warning> {
    let mut warnings = node_registration(&mut documents.init.node_registration, facts);
    init(&mut documents.init, facts);
    cluster(&mut documents.cluster);
    warnings.extend(control_plane_endpoint(documents));
    warnings
}

fn init(init: &mut InitConfiguration, facts: &HostFacts) {
    if init.bootstrap_tokens.is_empty() {
        init.bootstrap_tokens.push(BootstrapToken::default());
    }
    for token in &mut init.bootstrap_tokens {
        bootstrap_token(token, &facts.token);
    }
    let endpoint = &mut init.local_api_endpoint;
    if let (true, Some(address)) = (endpoint.advertise_address.is_empty(), facts.default_address) {
        endpoint.advertise_address = address.to_string();
    }
    if endpoint.bind_port == 0 {
        endpoint.bind_port = ports::APISERVER;
    }
    init.timeouts.apply_defaults();
}

/// Completes one bootstrap token; `fresh` is used when it has none.
pub fn bootstrap_token(token: &mut BootstrapToken, fresh: &Token) {
    token.token.get_or_insert_with(|| fresh.clone());
    if token.expires.is_none() {
        token.ttl.get_or_insert(TOKEN_TTL);
    }
    if token.usages.is_empty() {
        token.usages = vec!["signing".into(), "authentication".into()];
    }
    if token.groups.is_empty() {
        token.groups = vec![names::NODE_BOOTSTRAP_GROUP.into()];
    }
}

fn node_registration(node: &mut NodeRegistration, facts: &HostFacts) -> Vec<Warning> {
    if node.name.is_empty() {
        node.name = facts.hostname.trim().to_lowercase();
    }
    if node.image_pull_policy.is_empty() {
        node.image_pull_policy = "IfNotPresent".into();
    }
    node.image_pull_serial.get_or_insert(true);
    cri_socket(&mut node.cri_socket).into_iter().collect()
}

/// kubeadm's files name a CRI socket; we drive Docker Engine instead, and say so.
fn cri_socket(socket: &mut String) -> Option<Warning> {
    let other = ["containerd.sock", "crio.sock", "cri-dockerd.sock"].iter().any(|name| socket.ends_with(name));
    let warning = other.then(|| Warning {
        text: format!("criSocket {socket} is not used: junioadm drives Docker Engine at {DOCKER_SOCKET}"),
        place: None,
    });
    if socket.is_empty() || other {
        *socket = DOCKER_SOCKET.into();
    }
    warning
}

fn cluster(cluster: &mut ClusterConfiguration) {
    set(&mut cluster.certificates_dir, CERTIFICATES_DIR);
    set(&mut cluster.image_repository, images::DEFAULT_REPOSITORY);
    set(&mut cluster.cluster_name, CLUSTER_NAME);
    set(&mut cluster.networking.service_subnet, SERVICE_SUBNET);
    set(&mut cluster.networking.dns_domain, DNS_DOMAIN);
    cluster.kubernetes_version = kubernetes_version(&cluster.kubernetes_version);
    if cluster.etcd.external.is_none() {
        let local = cluster.etcd.local.get_or_insert_with(LocalEtcd::default);
        set(&mut local.data_dir, ETCD_DATA_DIR);
    }
    if let Some(external) = cluster.etcd.external.as_mut().filter(|external| external.http_endpoints.is_empty()) {
        external.http_endpoints.clone_from(&external.endpoints);
    }
    let ecdsa = cluster.feature_gates.get("PublicKeysECDSA") == Some(&true);
    cluster.encryption_algorithm.get_or_insert(if ecdsa {
        EncryptionAlgorithm::EcdsaP256
    } else {
        EncryptionAlgorithm::Rsa2048
    });
    cluster.certificate_validity_period.get_or_insert(GoDuration::from_secs(8_760 * 3600));
    cluster.ca_certificate_validity_period.get_or_insert(GoDuration::from_secs(87_600 * 3600));
}

fn set(field: &mut String, default: &str) {
    if field.is_empty() {
        *field = default.into();
    }
}

/// Labels such as `stable-1` mean the version that this junioadm carries; a missing `v` is added.
fn kubernetes_version(text: &str) -> String {
    match text {
        "" | "stable" | "stable-1" | "stable-1.36" | "latest" | "latest-1" | "latest-1.36" => {
            versions::KUBERNETES.into()
        }
        v if v.starts_with(|c: char| c.is_ascii_digit()) => format!("v{v}"),
        v => v.into(),
    }
}

/// An endpoint without a port gets the API server's.
fn control_plane_endpoint(documents: &mut InitDocuments) -> Option<Warning> {
    let port = documents.init.local_api_endpoint.bind_port;
    let endpoint = &mut documents.cluster.control_plane_endpoint;
    if endpoint.is_empty() {
        return None;
    }
    match split_endpoint(endpoint) {
        (host, None) if !host.is_empty() => {
            *endpoint = join_host_port(host, port);
            None
        }
        (_, Some(given)) if given != port.to_string() => Some(Warning {
            text: format!(
                "controlPlaneEndpoint uses port {given}, the API server listens on {port}: something must forward it"
            ),
            place: None,
        }),
        _ => None,
    }
}

/// Host and port of `HOST[:PORT]`, `[V6]:PORT` or a bare IPv6 address.
#[must_use]
pub fn split_endpoint(endpoint: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match endpoint.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (endpoint, None),
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
#[must_use]
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl InitDocuments {
    /// `HOST:PORT` under which the cluster is reached: the control plane endpoint, else this host's API server. Needs
    /// defaults applied.
    #[must_use]
    pub fn endpoint(&self) -> String {
        if self.cluster.control_plane_endpoint.is_empty() {
            self.local_endpoint()
        } else {
            self.cluster.control_plane_endpoint.clone()
        }
    }

    /// `HOST:PORT` of this host's API server. Needs defaults applied.
    #[must_use]
    pub fn local_endpoint(&self) -> String {
        let local = &self.init.local_api_endpoint;
        join_host_port(&local.advertise_address, local.bind_port)
    }
}

/// Completes what `join` works with.
pub fn apply_join(documents: &mut JoinDocuments, facts: &HostFacts) -> Vec<Warning> {
    let join = &mut documents.join;
    let warnings = node_registration(&mut join.node_registration, facts);
    set(&mut join.ca_cert_path, &format!("{CERTIFICATES_DIR}/ca.crt"));
    join_tokens(join);
    if let Some(discovery) = &mut join.discovery.bootstrap_token {
        endpoint_port(&mut discovery.api_server_endpoint);
    }
    if let Some(control_plane) = &mut join.control_plane {
        let endpoint = &mut control_plane.local_api_endpoint;
        if let (true, Some(address)) = (endpoint.advertise_address.is_empty(), facts.default_address) {
            endpoint.advertise_address = address.to_string();
        }
        if endpoint.bind_port == 0 {
            endpoint.bind_port = ports::APISERVER;
        }
    }
    join.timeouts.apply_defaults();
    warnings
}

/// kubeadm insists on the port here; ours is the API server's unless it is said.
fn endpoint_port(endpoint: &mut String) {
    if let (host, None) = split_endpoint(endpoint)
        && !host.is_empty()
    {
        *endpoint = join_host_port(host, ports::APISERVER);
    }
}

fn join_tokens(join: &mut JoinConfiguration) {
    if join.discovery.tls_bootstrap_token.is_none() {
        join.discovery.tls_bootstrap_token = join.discovery.bootstrap_token.as_ref().and_then(|d| d.token.clone());
    }
}

/// Completes what `reset` works with.
pub fn apply_reset(reset: &mut ResetConfiguration) -> Vec<Warning> {
    set(&mut reset.certificates_dir, CERTIFICATES_DIR);
    reset.timeouts.apply_defaults();
    cri_socket(&mut reset.cri_socket).into_iter().collect()
}

/// Completes what the `upgrade` commands work with.
pub fn apply_upgrade(upgrade: &mut UpgradeConfiguration) {
    for flag in [
        &mut upgrade.apply.certificate_renewal,
        &mut upgrade.apply.etcd_upgrade,
        &mut upgrade.apply.image_pull_serial,
        &mut upgrade.node.certificate_renewal,
        &mut upgrade.node.etcd_upgrade,
        &mut upgrade.node.image_pull_serial,
        &mut upgrade.plan.etcd_upgrade,
    ] {
        flag.get_or_insert(true);
    }
    set(&mut upgrade.apply.image_pull_policy, "IfNotPresent");
    set(&mut upgrade.node.image_pull_policy, "IfNotPresent");
    upgrade.timeouts.apply_defaults();
}
