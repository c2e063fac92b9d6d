//! Why a host cannot join, told so that its owner knows what to change. Nothing was changed on the host by then, except for
//! [`JoinError::Denied`].

use std::time::Duration;

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};

/// What is wrong with the cluster, the token, the pin or the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("no API server answers at {endpoint} (tried for {}s): {reason}", .after.as_secs())]
    Unreachable { endpoint: String, after: Duration, reason: String },
    #[error("{endpoint} offers no ConfigMap kube-public/cluster-info (tried for {}s): {reason}", .after.as_secs())]
    ClusterInfo { endpoint: String, after: Duration, reason: String },
    #[error("the cluster at {endpoint} has no token {id} that signs cluster-info: it is wrong, expired or deleted")]
    TokenUnknown { endpoint: String, id: String },
    #[error("the token {id} of the cluster at {endpoint} has another secret half than the one given")]
    TokenMismatch { endpoint: String, id: String },
    #[error("the cluster at {server} does not let this host join with its {credentials}: {reason}")]
    Refused { server: String, credentials: String, reason: String },
    #[error("the CA of the cluster at {endpoint} has the pin {found}, which is none of those given")]
    Pin { endpoint: String, found: String },
    #[error("the certificate that {endpoint} shows is not to be trusted: {reason}")]
    Certificate { endpoint: String, reason: String },
    #[error("{endpoint} shows another cluster-info over verified TLS than before: somebody is in between")]
    Tampered { endpoint: String },
    #[error("cluster-info of {endpoint} names no server or no CA")]
    Incomplete { endpoint: String },
    #[error("cannot use the discovery file {location}: {reason}")]
    File { location: String, reason: String },
    #[error("cannot read {what} of the cluster: {reason}")]
    Read { what: &'static str, reason: String },
    #[error("the cluster runs Kubernetes {cluster}; a kubelet of {ours} works with v1.36 to v1.39")]
    Version { cluster: String, ours: &'static str },
    #[error("a node named {name} is Ready in the cluster already")]
    NodeName { name: String },
    #[error("the certificate signing request {request} of node {node} was refused: {reason}")]
    Denied { request: String, node: String, reason: String },
}

impl Hint for JoinError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Unreachable { .. } => "JOIN-UNREACHABLE",
            Self::ClusterInfo { .. } | Self::Incomplete { .. } => "JOIN-CLUSTER-INFO",
            Self::TokenUnknown { .. } | Self::TokenMismatch { .. } => "JOIN-TOKEN",
            Self::Refused { .. } => "JOIN-REFUSED",
            Self::Pin { .. } => "JOIN-CA-PIN",
            Self::Certificate { .. } => "JOIN-CERTIFICATE",
            Self::Tampered { .. } => "JOIN-TAMPERED",
            Self::File { .. } => "JOIN-FILE",
            Self::Read { .. } => "JOIN-CLUSTER-CONFIG",
            Self::Version { .. } => "JOIN-VERSION",
            Self::NodeName { .. } => "JOIN-NODE-NAME",
            Self::Denied { .. } => "JOIN-DENIED",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        const NEW_TOKEN: &str = "junioadm token create --print-join-command";
        const UNCHANGED: &str = "nothing was changed on this host";
        Some(match self {
            Self::Unreachable { endpoint, .. } => NextStep::command(format!("curl -k https://{endpoint}/version"))
                .because(format!("{UNCHANGED}; the address, a firewall or a stopped control plane are the usual causes")),
            Self::ClusterInfo { .. } | Self::Incomplete { .. } => {
                NextStep::command("junioadm init phase bootstrap-token").because("run it on the control plane")
            }
            Self::TokenUnknown { .. } | Self::TokenMismatch { .. } | Self::Refused { .. } => {
                NextStep::command(NEW_TOKEN).because(format!("run it on the control plane; {UNCHANGED}"))
            }
            Self::Pin { .. } => NextStep::command(NEW_TOKEN).because(format!(
                "this is another cluster than the one that the pin was made for; the command (on the control plane) prints the pin of its own; {UNCHANGED}"
            )),
            Self::Certificate { reason, .. } if reason.contains("clock") => {
                NextStep::command("timedatectl").because(UNCHANGED)
            }
            Self::Certificate { .. } => NextStep::command("junioadm certs check-expiration")
                .because("run it on the control plane; its certificate must name the address that is joined"),
            Self::Tampered { .. } => NextStep::command("junioadm join HOST:PORT --token TOKEN --discovery-token-ca-cert-hash PIN")
                .because("when the cluster was changed at this very moment, a second try succeeds"),
            Self::File { .. } => NextStep::command("junioadm join --discovery-file PATH").because(UNCHANGED),
            Self::Read { .. } => NextStep::command("junioadm init phase upload-config").because("run it on the control plane"),
            Self::Version { .. } => NextStep::command("junioadm version").because(UNCHANGED),
            Self::NodeName { name } => NextStep::command(format!("kubectl delete node {name}")).because(format!(
                "if that node is gone for good; else give this host another name with --node-name; {UNCHANGED}"
            )),
            Self::Denied { request, .. } => {
                NextStep::command(format!("kubectl describe certificatesigningrequest {request}"))
            }
        })
    }
}
