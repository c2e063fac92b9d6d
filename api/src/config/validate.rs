//! Judges documents that have their defaults. Every rule of kubeadm v1.36.3's validation, plus overlapping subnets.
//! All problems are found at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cluster::{ClusterConfiguration, ExternalEtcd};
use super::common::{Arg, HostPathMount, NodeRegistration};
use super::defaults::split_endpoint;
use super::documents::{InitDocuments, Kind};
use super::error::FieldError;
use super::init::{BootstrapToken, InitConfiguration};
use super::reset::ResetConfiguration;
use super::subnets;
use crate::versions;

/// Collects problems of one document.
pub(super) struct Problems {
    kind: Kind,
    pub(super) found: Vec<FieldError>,
}

impl Problems {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, found: Vec::new() }
    }

    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(FieldError { kind: self.kind, path: path.into(), message: message.into() });
    }

    pub(super) fn require(&mut self, holds: bool, path: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(path, message());
        }
    }
}

/// Everything that is wrong with what `init` works with; empty when all is well.
#[must_use]
pub fn validate(documents: &InitDocuments) -> Vec<FieldError> {
    let mut problems = Problems::new(Kind::InitConfiguration);
    init(&mut problems, &documents.init);
    let mut found = problems.found;
    let mut problems = Problems::new(Kind::ClusterConfiguration);
    cluster(&mut problems, &documents.cluster);
    found.append(&mut problems.found);
    found
}

/// Everything that is wrong with what `reset` works with.
#[must_use]
pub fn validate_reset(reset: &ResetConfiguration) -> Vec<FieldError> {
    const FLAGS: [&str; 4] = ["MNT_FORCE", "MNT_DETACH", "MNT_EXPIRE", "UMOUNT_NOFOLLOW"];
    let mut p = Problems::new(Kind::ResetConfiguration);
    absolute(&mut p, "certificatesDir", &reset.certificates_dir);
    socket(&mut p, "criSocket", &reset.cri_socket);
    ignored_errors(&mut p, "ignorePreflightErrors", &reset.ignore_preflight_errors);
    for (i, flag) in reset.unmount_flags.iter().enumerate() {
        p.require(FLAGS.contains(&flag.as_str()), &format!("unmountFlags[{i}]"), || {
            format!("unknown flag {flag:?}, expected {}", FLAGS.join(", "))
        });
    }
    p.found
}

fn init(p: &mut Problems, init: &InitConfiguration) {
    node(p, &init.node_registration);
    let endpoint = &init.local_api_endpoint;
    advertise_address(p, &endpoint.advertise_address);
    p.require(endpoint.bind_port != 0, "localAPIEndpoint.bindPort", || "must be 1 to 65535".into());
    let mut ids = BTreeSet::new();
    for (i, token) in init.bootstrap_tokens.iter().enumerate() {
        bootstrap_token(p, &format!("bootstrapTokens[{i}]"), token);
        if let Some(token) = &token.token {
            p.require(ids.insert(token.id()), &format!("bootstrapTokens[{i}].token"), || {
                format!("the token id {} is used twice", token.id())
            });
        }
    }
    let key = &init.certificate_key;
    p.require(key.is_empty() || is_certificate_key(key), "certificateKey", || {
        "must be 32 bytes as 64 hexadecimal digits (junioadm certs certificate-key makes one)".into()
    });
}

/// True for 64 hexadecimal digits.
#[must_use]
pub fn is_certificate_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn advertise_address(p: &mut Problems, address: &str) {
    let path = "localAPIEndpoint.advertiseAddress";
    match address.parse::<IpAddr>() {
        Err(_) if address.is_empty() => p.add(path, "is not set and this host has no default route to take it from"),
        Err(_) => p.add(path, format!("{address:?} is not an IP address")),
        Ok(ip) if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() => {
            p.add(path, format!("{ip} is not an address that other hosts can reach"));
        }
        Ok(_) => {}
    }
}

fn bootstrap_token(p: &mut Problems, path: &str, token: &BootstrapToken) {
    p.require(token.token.is_some(), &format!("{path}.token"), || "is missing".into());
    p.require(token.ttl.is_none() || token.expires.is_none(), &format!("{path}.expires"), || {
        "ttl and expires exclude each other".into()
    });
    for (i, usage) in token.usages.iter().enumerate() {
        p.require(is_token_usage(usage), &format!("{path}.usages[{i}]"), || {
            format!("unknown usage {usage:?}, expected signing or authentication")
        });
    }
    for (i, group) in token.groups.iter().enumerate() {
        p.require(is_bootstrap_group(group), &format!("{path}.groups[{i}]"), || {
            format!(
                "{group:?} is no bootstrap group: it must start with system:bootstrappers: and hold a-z, 0-9, - and :"
            )
        });
    }
}

/// True for what a bootstrap token can be used for.
#[must_use]
pub fn is_token_usage(usage: &str) -> bool {
    matches!(usage, "signing" | "authentication")
}

/// `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`.
#[must_use]
pub fn is_bootstrap_group(group: &str) -> bool {
    group.strip_prefix("system:bootstrappers:").is_some_and(|rest| {
        (1..=256).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b':')
            && rest.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

pub(super) fn node(p: &mut Problems, node: &NodeRegistration) {
    p.require(is_dns1123_subdomain(&node.name), "nodeRegistration.name", || {
        format!("{:?} is not a valid node name: small letters, digits, - and . only (RFC 1123)", node.name)
    });
    socket(p, "nodeRegistration.criSocket", &node.cri_socket);
    let policy = &node.image_pull_policy;
    p.require(
        ["Always", "IfNotPresent", "Never"].contains(&policy.as_str()),
        "nodeRegistration.imagePullPolicy",
        || format!("unknown policy {policy:?}, expected Always, IfNotPresent or Never"),
    );
    ignored_errors(p, "nodeRegistration.ignorePreflightErrors", &node.ignore_preflight_errors);
    arguments(p, "nodeRegistration.kubeletExtraArgs", &node.kubelet_extra_args);
    for (i, taint) in node.taints.iter().flatten().enumerate() {
        p.require(!taint.key.is_empty(), &format!("nodeRegistration.taints[{i}].key"), || "is missing".into());
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        p.require(effects.contains(&taint.effect.as_str()), &format!("nodeRegistration.taints[{i}].effect"), || {
            format!("unknown effect {:?}, expected {}", taint.effect, effects.join(", "))
        });
    }
}

fn socket(p: &mut Problems, path: &str, socket: &str) {
    p.require(socket.strip_prefix("unix://").is_some_and(|s| s.starts_with('/')), path, || {
        format!("{socket:?} is not a socket, expected unix:///run/docker.sock or another absolute path after unix://")
    });
}

fn ignored_errors(p: &mut Problems, path: &str, names: &[String]) {
    let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    p.require(!all || names.len() == 1, path, || "`all` must stand alone".into());
}

fn cluster(p: &mut Problems, cluster: &ClusterConfiguration) {
    let version = &cluster.kubernetes_version;
    p.require(version == versions::KUBERNETES, "kubernetesVersion", || {
        format!("this junioadm carries {} only, not {version}", versions::KUBERNETES)
    });
    endpoint(p, &cluster.control_plane_endpoint);
    subnets::check(p, &cluster.networking);
    let domain = &cluster.networking.dns_domain;
    p.require(is_dns1123_subdomain(domain), "networking.dnsDomain", || format!("{domain:?} is not a DNS domain"));
    absolute(p, "certificatesDir", &cluster.certificates_dir);
    p.require(!cluster.image_repository.ends_with('/'), "imageRepository", || "must not end with a slash".into());
    etcd(p, cluster);
    sans(p, "apiServer.certSANs", &cluster.api_server.cert_sans);
    arguments(p, "apiServer.extraArgs", &cluster.api_server.extra_args);
    volumes(p, "apiServer.extraVolumes", &cluster.api_server.extra_volumes);
    for (name, component) in [("controllerManager", &cluster.controller_manager), ("scheduler", &cluster.scheduler)] {
        arguments(p, &format!("{name}.extraArgs"), &component.extra_args);
        volumes(p, &format!("{name}.extraVolumes"), &component.extra_volumes);
    }
    feature_gates(p, cluster);
    let periods = [
        ("certificateValidityPeriod", cluster.certificate_validity()),
        ("caCertificateValidityPeriod", cluster.ca_certificate_validity()),
    ];
    for (path, period) in periods {
        p.require(!period.is_zero(), path, || "must be longer than nothing".into());
    }
}

fn endpoint(p: &mut Problems, endpoint: &str) {
    if endpoint.is_empty() {
        return;
    }
    let (host, port) = split_endpoint(endpoint);
    p.require(host.parse::<IpAddr>().is_ok() || is_dns1123_subdomain(host), "controlPlaneEndpoint", || {
        format!("{host:?} is neither an IP address nor a DNS name in small letters")
    });
    p.require(port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0)), "controlPlaneEndpoint", || {
        format!("{:?} is not a port", port.unwrap_or_default())
    });
}

fn etcd(p: &mut Problems, cluster: &ClusterConfiguration) {
    if cluster.etcd.local.is_some() && cluster.etcd.external.is_some() {
        p.add("etcd", "local and external exclude each other");
    }
    if let Some(local) = &cluster.etcd.local {
        absolute(p, "etcd.local.dataDir", &local.data_dir);
        arguments(p, "etcd.local.extraArgs", &local.extra_args);
        sans(p, "etcd.local.serverCertSANs", &local.server_cert_sans);
        sans(p, "etcd.local.peerCertSANs", &local.peer_cert_sans);
    }
    if let Some(external) = &cluster.etcd.external {
        external_etcd(p, external);
    }
}

fn external_etcd(p: &mut Problems, external: &ExternalEtcd) {
    p.require(!external.endpoints.is_empty(), "etcd.external.endpoints", || "at least one is needed".into());
    let files = [&external.ca_file, &external.cert_file, &external.key_file];
    let secured = files.iter().any(|file| !file.is_empty());
    for (i, endpoint) in external.endpoints.iter().enumerate() {
        let scheme = if secured { "https://" } else { "http" };
        p.require(
            endpoint.starts_with(scheme) && endpoint.contains("://"),
            &format!("etcd.external.endpoints[{i}]"),
            || {
                format!(
                    "{endpoint:?} is not an address that starts with {}",
                    if secured { "https://" } else { "http:// or https://" }
                )
            },
        );
    }
    p.require(external.cert_file.is_empty() == external.key_file.is_empty(), "etcd.external.certFile", || {
        "certFile and keyFile belong together".into()
    });
    p.require(!secured || !external.ca_file.is_empty(), "etcd.external.caFile", || "is missing".into());
    for (name, file) in ["caFile", "certFile", "keyFile"].into_iter().zip(files) {
        if !file.is_empty() {
            absolute(p, &format!("etcd.external.{name}"), file);
        }
    }
}

fn feature_gates(p: &mut Problems, cluster: &ClusterConfiguration) {
    for (gate, on) in &cluster.feature_gates {
        match gate.as_str() {
            "PublicKeysECDSA" | "NodeLocalCRISocket" => {}
            "RootlessControlPlane" if !on => {}
            "RootlessControlPlane" => p.add("featureGates.RootlessControlPlane", "is not supported by this junioadm"),
            other => p.add(format!("featureGates.{other}"), "is not a feature gate of kubeadm v1.36"),
        }
    }
}

fn arguments(p: &mut Problems, path: &str, arguments: &[Arg]) {
    for (i, argument) in arguments.iter().enumerate() {
        p.require(!argument.name.is_empty() && !argument.name.starts_with('-'), &format!("{path}[{i}].name"), || {
            format!("{:?} is not a flag name (it is written without dashes)", argument.name)
        });
    }
}

fn volumes(p: &mut Problems, path: &str, volumes: &[HostPathMount]) {
    let mut names = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        p.require(!volume.name.is_empty() && names.insert(&volume.name), &format!("{path}[{i}].name"), || {
            "must be there and be used once".into()
        });
        absolute(p, &format!("{path}[{i}].hostPath"), &volume.host_path);
        absolute(p, &format!("{path}[{i}].mountPath"), &volume.mount_path);
    }
}

fn sans(p: &mut Problems, path: &str, names: &[String]) {
    for (i, name) in names.iter().enumerate() {
        let host = name.strip_prefix("*.").unwrap_or(name).to_lowercase();
        p.require(name.parse::<IpAddr>().is_ok() || is_dns1123_subdomain(&host), &format!("{path}[{i}]"), || {
            format!("{name:?} is neither an IP address nor a DNS name")
        });
    }
}

pub(super) fn absolute(p: &mut Problems, path: &str, file: &str) {
    p.require(file.starts_with('/'), path, || format!("{file:?} is not an absolute path"));
}

/// A DNS-1123 subdomain: labels of small letters, digits and `-`, separated by dots, 253 characters at most.
#[must_use]
pub fn is_dns1123_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && ends(label.chars().next())
            && ends(label.chars().last())
    };
    text.len() <= 253 && text.split('.').all(label)
}
