//! `InitConfiguration`: what `init` does on this host.

use super::common::{ApiEndpoint, NodeRegistration, Patches, Timeouts};
use super::macros::{document, top_level};
use crate::duration::GoDuration;
use crate::token::Token;

top_level! {
    /// Source: kubeadm.k8s.io/v1beta4 `InitConfiguration`.
    pub struct InitConfiguration {
        bootstrap_tokens: Vec<BootstrapToken>,
        dry_run: bool,
        /// 64 hexadecimal digits, the key of the uploaded certificates.
        certificate_key: String,
        skip_phases: Vec<String>,
        patches: Option<Patches>,
        timeouts: Timeouts,
    }
    always {
        node_registration: NodeRegistration,
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: ApiEndpoint,
    }
}

document! {
    /// A token with which hosts join, stored as a Secret in the cluster.
    pub struct BootstrapToken {
        token: Option<Token>,
        description: String,
        /// How long it is valid from now on; 0 is for ever. Not together with `expires`.
        ttl: Option<GoDuration>,
        /// When it ends, RFC 3339.
        expires: Option<jiff::Timestamp>,
        usages: Vec<String>,
        groups: Vec<String>,
    }
}
