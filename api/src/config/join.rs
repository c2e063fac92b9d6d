//! `JoinConfiguration`: how this host joins a cluster.

use super::common::{ApiEndpoint, NodeRegistration, Patches, Timeouts};
use super::macros::{document, top_level};
use crate::token::Token;

top_level! {
    /// Source: kubeadm.k8s.io/v1beta4 `JoinConfiguration`.
    pub struct JoinConfiguration {
        dry_run: bool,
        ca_cert_path: String,
        /// Present on a host that becomes a control plane node.
        control_plane: Option<JoinControlPlane>,
        skip_phases: Vec<String>,
        patches: Option<Patches>,
        timeouts: Timeouts,
    }
    always {
        node_registration: NodeRegistration,
        discovery: Discovery,
    }
}

document! {
    pub struct JoinControlPlane {
        /// 64 hexadecimal digits, the key of the uploaded certificates.
        certificate_key: String,
    }
    always {
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: ApiEndpoint,
    }
}

document! {
    /// How the cluster's CA and endpoint are found: by token or by file.
    pub struct Discovery {
        bootstrap_token: Option<BootstrapTokenDiscovery>,
        file: Option<FileDiscovery>,
        tls_bootstrap_token: Option<Token>,
    }
}

document! {
    pub struct BootstrapTokenDiscovery {
        /// `HOST:PORT`.
        api_server_endpoint: String,
        /// `sha256:HEX` over the CA's public key; any one must match.
        ca_cert_hashes: Vec<String>,
        #[serde(rename = "unsafeSkipCAVerification")]
        unsafe_skip_ca_verification: bool,
    }
    always { token: Option<Token>, }
}

document! {
    pub struct FileDiscovery {}
    always {
        /// A path, `file://` or `https://` address.
        kube_config_path: String,
    }
}
