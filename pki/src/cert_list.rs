//! Every certificate of a cluster, once, as data.
//!
//! Source: kubeadm v1.36.3 `app/phases/certs/certlist.go`. Order: each signer before what it signs.

use serde::Serialize;

/// A certificate of the PKI directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertId {
    Ca,
    ApiServer,
    ApiServerKubeletClient,
    FrontProxyCa,
    FrontProxyClient,
    EtcdCa,
    EtcdServer,
    EtcdPeer,
    EtcdHealthcheckClient,
    ApiServerEtcdClient,
}

/// Where a common name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommonName {
    Fixed(&'static str),
    /// The node's name.
    Node,
}

/// Extended key usages; an empty list is a CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
}

/// Which subject alternative names a certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    None,
    /// The common name as a DNS name (CAs).
    CommonName,
    ApiServer,
    EtcdServer,
    EtcdPeer,
}

/// One row of the list.
#[derive(Debug, Clone, Copy)]
pub struct CertSpec {
    pub id: CertId,
    /// kubeadm's name, as in `init phase certs NAME` and `certs renew NAME`.
    pub name: &'static str,
    /// What it is for, as `certs check-expiration` and progress lines say it.
    pub title: &'static str,
    /// File name below the PKI directory without `.crt` and `.key`.
    pub stem: &'static str,
    pub common_name: CommonName,
    pub organizations: &'static [&'static str],
    pub usages: &'static [Usage],
    /// `None`: self-signed, a CA.
    pub signer: Option<CertId>,
    pub sans: SanKind,
}

use CertId as I;
use CommonName::{Fixed, Node};
use Usage::{Client, Server};

const fn authority(
    id: CertId,
    name: &'static str,
    title: &'static str,
    stem: &'static str,
    common_name: &'static str,
) -> CertSpec {
    let common_name = Fixed(common_name);
    CertSpec {
        id,
        name,
        title,
        stem,
        common_name,
        organizations: &[],
        usages: &[],
        signer: None,
        sans: SanKind::CommonName,
    }
}

const fn client(
    id: CertId,
    name: &'static str,
    title: &'static str,
    common_name: &'static str,
    signer: CertId,
) -> CertSpec {
    let common_name = Fixed(common_name);
    CertSpec {
        id,
        name,
        title,
        stem: name,
        common_name,
        organizations: &[],
        usages: &[Client],
        signer: Some(signer),
        sans: SanKind::None,
    }
}

/// All certificates. The organization of `apiserver-kubelet-client` is empty on purpose: its rights come from a binding.
pub const CERTIFICATES: [CertSpec; 10] = [
    authority(
        I::Ca,
        "ca",
        "the self-signed Kubernetes CA to provision identities for other Kubernetes components",
        "ca",
        "kubernetes",
    ),
    CertSpec {
        id: I::ApiServer,
        name: "apiserver",
        title: "the certificate for serving the Kubernetes API",
        stem: "apiserver",
        common_name: Fixed("kube-apiserver"),
        organizations: &[],
        usages: &[Server],
        signer: Some(I::Ca),
        sans: SanKind::ApiServer,
    },
    client(
        I::ApiServerKubeletClient,
        "apiserver-kubelet-client",
        "the certificate for the API server to connect to kubelet",
        "kube-apiserver-kubelet-client",
        I::Ca,
    ),
    authority(
        I::FrontProxyCa,
        "front-proxy-ca",
        "the self-signed CA to provision identities for front proxy",
        "front-proxy-ca",
        "front-proxy-ca",
    ),
    client(
        I::FrontProxyClient,
        "front-proxy-client",
        "the certificate for the front proxy client",
        "front-proxy-client",
        I::FrontProxyCa,
    ),
    authority(I::EtcdCa, "etcd-ca", "the self-signed CA to provision identities for etcd", "etcd/ca", "etcd-ca"),
    CertSpec {
        id: I::EtcdServer,
        name: "etcd-server",
        title: "the certificate for serving etcd",
        stem: "etcd/server",
        common_name: Node,
        organizations: &[],
        usages: &[Server, Client],
        signer: Some(I::EtcdCa),
        sans: SanKind::EtcdServer,
    },
    CertSpec {
        id: I::EtcdPeer,
        name: "etcd-peer",
        title: "the certificate for etcd nodes to communicate with each other",
        stem: "etcd/peer",
        common_name: Node,
        organizations: &[],
        usages: &[Server, Client],
        signer: Some(I::EtcdCa),
        sans: SanKind::EtcdPeer,
    },
    CertSpec {
        id: I::EtcdHealthcheckClient,
        name: "etcd-healthcheck-client",
        title: "the certificate for liveness probes to healthcheck etcd",
        stem: "etcd/healthcheck-client",
        common_name: Fixed("kube-etcd-healthcheck-client"),
        organizations: &[],
        usages: &[Client],
        signer: Some(I::EtcdCa),
        sans: SanKind::None,
    },
    client(
        I::ApiServerEtcdClient,
        "apiserver-etcd-client",
        "the certificate the apiserver uses to access etcd",
        "kube-apiserver-etcd-client",
        I::EtcdCa,
    ),
];

impl CertId {
    /// The row of this certificate.
    #[must_use]
    pub fn spec(self) -> &'static CertSpec {
        const { assert!(CERTIFICATES.len() == 10) };
        &CERTIFICATES[self as usize]
    }

    /// The certificate that kubeadm calls by this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        CERTIFICATES.iter().find(|spec| spec.name == name).map(|spec| spec.id)
    }

    /// True for the three CAs.
    #[must_use]
    pub fn is_authority(self) -> bool {
        self.spec().signer.is_none()
    }

    /// True for what only exists beside a local etcd.
    #[must_use]
    pub fn belongs_to_local_etcd(self) -> bool {
        self == Self::EtcdCa || self.spec().signer == Some(Self::EtcdCa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_indexed_by_its_enum_and_signers_come_first() {
        for (index, spec) in CERTIFICATES.iter().enumerate() {
            assert_eq!(spec.id as usize, index, "{}", spec.name);
            assert_eq!(CertId::parse(spec.name), Some(spec.id));
            if let Some(signer) = spec.signer {
                assert!((signer as usize) < index && signer.is_authority(), "{}", spec.name);
                assert!(!spec.usages.is_empty(), "{}", spec.name);
            }
        }
    }
}
