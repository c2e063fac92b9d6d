//! The documents that `config print` shows: all defaults, with kubeadm's placeholders where a host would decide.

use std::net::{IpAddr, Ipv4Addr};

use super::defaults::{self, HostFacts};
use super::documents::{InitDocuments, JoinDocuments};
use super::fleet::{CONTROL_PLANE, Cluster, ClusterSpec, HostSpec, Metadata, SshSettings, WORKER};
use super::join::BootstrapTokenDiscovery;
use super::reset::ResetConfiguration;
use super::upgrade::UpgradeConfiguration;
use crate::token::Token;

/// The placeholder address and token are those that kubeadm prints.
fn facts(hostname: &str) -> HostFacts {
    HostFacts {
        hostname: hostname.into(),
        default_address: Some(IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))),
        token: "abcdef.0123456789abcdef".parse::<Token>().expect("a constant of the right form"),
    }
}

/// InitConfiguration and ClusterConfiguration.
#[must_use]
pub fn init() -> InitDocuments {
    let mut documents = InitDocuments::default();
    defaults::apply(&mut documents, &facts("node"));
    documents
}

/// JoinConfiguration of a worker.
#[must_use]
pub fn join(hostname: &str) -> JoinDocuments {
    let facts = facts(hostname);
    let mut documents = JoinDocuments::default();
    documents.join.discovery.bootstrap_token = Some(BootstrapTokenDiscovery {
        token: Some(facts.token.clone()),
        api_server_endpoint: "kube-apiserver:6443".into(),
        unsafe_skip_ca_verification: true,
        ..BootstrapTokenDiscovery::default()
    });
    defaults::apply_join(&mut documents, &facts);
    documents
}

/// ResetConfiguration.
#[must_use]
pub fn reset() -> ResetConfiguration {
    let mut reset = ResetConfiguration::default();
    defaults::apply_reset(&mut reset);
    reset
}

/// A Cluster of one control plane and two workers; the addresses are documentation ones (RFC 5737).
#[must_use]
pub fn fleet() -> Cluster {
    let host = |number: u8, role: &str| HostSpec {
        ssh: format!("192.0.2.{number}"),
        node_name: format!("node-{number}"),
        role: role.into(),
        ..HostSpec::default()
    };
    let hosts = vec![host(1, CONTROL_PLANE), host(2, WORKER), host(3, WORKER)];
    let ssh = SshSettings { user: "root".into(), port: 22, ..SshSettings::default() };
    Cluster {
        metadata: Metadata { name: defaults::CLUSTER_NAME.into() },
        spec: ClusterSpec { ssh, hosts, ..ClusterSpec::default() },
        ..Cluster::default()
    }
}

/// UpgradeConfiguration.
#[must_use]
pub fn upgrade() -> UpgradeConfiguration {
    let mut upgrade = UpgradeConfiguration::default();
    defaults::apply_upgrade(&mut upgrade);
    upgrade
}
