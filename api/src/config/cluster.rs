//! `ClusterConfiguration`: what is the same for the whole cluster; the only document that is kept in it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::{Arg, EnvVar, HostPathMount};
use super::macros::{document, top_level};
use crate::duration::GoDuration;

top_level! {
    /// Source: kubeadm.k8s.io/v1beta4 `ClusterConfiguration`.
    pub struct ClusterConfiguration {
        kubernetes_version: String,
        /// `HOST[:PORT]` of a load balancer or DNS name; empty means this host's API server.
        control_plane_endpoint: String,
        certificates_dir: String,
        image_repository: String,
        feature_gates: BTreeMap<String, bool>,
        cluster_name: String,
        encryption_algorithm: Option<EncryptionAlgorithm>,
        certificate_validity_period: Option<GoDuration>,
        ca_certificate_validity_period: Option<GoDuration>,
    }
    always {
        etcd: Etcd,
        networking: Networking,
        api_server: ApiServer,
        controller_manager: ControlPlaneComponent,
        scheduler: ControlPlaneComponent,
        dns: Dns,
        proxy: Proxy,
    }
}

impl ClusterConfiguration {
    /// How long leaf certificates are valid; kubeadm's default is a year.
    #[must_use]
    pub fn certificate_validity(&self) -> Duration {
        self.certificate_validity_period.map_or(Duration::from_secs(8_760 * 3600), |d| d.0)
    }

    /// How long certificate authorities are valid; kubeadm's default is ten years.
    #[must_use]
    pub fn ca_certificate_validity(&self) -> Duration {
        self.ca_certificate_validity_period.map_or(Duration::from_secs(87_600 * 3600), |d| d.0)
    }

    /// The algorithm of every key; RSA-2048 by default.
    #[must_use]
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        self.encryption_algorithm.unwrap_or_default()
    }
}

/// The algorithm of every key that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum EncryptionAlgorithm {
    #[default]
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
}

impl EncryptionAlgorithm {
    /// As in the configuration, for example `RSA-2048`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }
}

document! {
    /// Subnets (one, or two of both families separated by a comma) and the DNS domain.
    pub struct Networking {
        service_subnet: String,
        pod_subnet: String,
        dns_domain: String,
    }
}

document! {
    /// Controller manager and scheduler.
    pub struct ControlPlaneComponent {
        extra_args: Vec<Arg>,
        extra_volumes: Vec<HostPathMount>,
        extra_envs: Vec<EnvVar>,
    }
}

document! {
    pub struct ApiServer {
        extra_args: Vec<Arg>,
        extra_volumes: Vec<HostPathMount>,
        extra_envs: Vec<EnvVar>,
        /// More names and addresses for the serving certificate.
        #[serde(rename = "certSANs")]
        cert_sans: Vec<String>,
    }
}

document! {
    /// The CoreDNS add-on.
    pub struct Dns {
        image_repository: String,
        image_tag: String,
        disabled: bool,
    }
}

document! {
    /// The kube-proxy add-on.
    pub struct Proxy {
        disabled: bool,
    }
}

document! {
    /// Exactly one of the two.
    pub struct Etcd {
        local: Option<LocalEtcd>,
        external: Option<ExternalEtcd>,
    }
}

document! {
    /// etcd as a static pod of each control plane host.
    pub struct LocalEtcd {
        image_repository: String,
        image_tag: String,
        extra_args: Vec<Arg>,
        extra_envs: Vec<EnvVar>,
        #[serde(rename = "serverCertSANs")]
        server_cert_sans: Vec<String>,
        #[serde(rename = "peerCertSANs")]
        peer_cert_sans: Vec<String>,
    }
    always { data_dir: String, }
}

document! {
    /// An etcd cluster that somebody else runs.
    pub struct ExternalEtcd {
        http_endpoints: Vec<String>,
    }
    always { endpoints: Vec<String>, ca_file: String, cert_file: String, key_file: String, }
}
