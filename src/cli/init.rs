//! `init`, `init phase`, `plan` and `preflight`: kubeadm's flags of `init`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use junio_api::duration::GoDuration;
use junio_api::{Layout, Token};
use junio_phases::PhaseId;

use super::{PhaseCommand, RunOutput};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = phases_help())]
pub struct InitCommand {
    #[command(flatten)]
    pub args: InitArgs,
    #[command(subcommand)]
    pub phase: Option<InitSubcommand>,
}

#[derive(Debug, Subcommand)]
pub enum InitSubcommand {
    /// Run one phase alone, with its inputs from disk
    #[command(after_help = phases_help())]
    Phase {
        #[command(subcommand)]
        command: PhaseCommand,
    },
}

#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub flags: InitFlags,
    /// Render everything, change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub flags: InitFlags,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

#[derive(Debug, Args)]
pub struct PreflightArgs {
    #[command(flatten)]
    pub flags: InitFlags,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

/// What `init` can be told. `None` and empty mean "not said".
#[derive(Debug, Clone, Default, Args)]
pub struct InitFlags {
    /// The IP address on which the API server says it listens [default: that of the default route]
    #[arg(long, value_name = "IP")]
    pub apiserver_advertise_address: Option<String>,
    /// Port of the API server [default: 6443]
    #[arg(long, value_name = "PORT")]
    pub apiserver_bind_port: Option<u16>,
    /// More names and addresses for the API server's certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub apiserver_cert_extra_sans: Vec<String>,
    /// Where certificates are stored [default: /etc/kubernetes/pki]
    #[arg(long, value_name = "PATH")]
    pub cert_dir: Option<String>,
    /// Key that encrypts the uploaded certificates, 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub certificate_key: Option<String>,
    /// Configuration file of kubeadm.k8s.io/v1beta4 documents; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A stable name or address for the control plane, HOST[:PORT]
    #[arg(long, value_name = "ENDPOINT")]
    pub control_plane_endpoint: Option<String>,
    /// Docker Engine's socket [default: unix:///run/docker.sock]
    #[arg(long, value_name = "SOCKET")]
    pub cri_socket: Option<String>,
    /// NAME=true|false pairs
    #[arg(long, value_name = "GATE", value_delimiter = ',', value_parser = gate)]
    pub feature_gates: Vec<(String, bool)>,
    /// Checks whose errors become warnings: names, or `all`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub ignore_preflight_errors: Vec<String>,
    /// Registry under whose name the images are loaded [default: registry.k8s.io]
    #[arg(long, value_name = "NAME")]
    pub image_repository: Option<String>,
    /// Kubernetes version [default: the one in the bundle]
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// The node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Directory of files TARGET[SUFFIX][+TYPE].{yaml,json}
    #[arg(long, value_name = "PATH")]
    pub patches: Option<String>,
    /// Addresses of pods [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub pod_network_cidr: Option<String>,
    /// Addresses of services [default: 10.96.0.0/12]
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// DNS domain of services [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub service_dns_domain: Option<String>,
    /// Do not print the key of the uploaded certificates
    #[arg(long)]
    pub skip_certificate_key_print: bool,
    /// Phases to leave out
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub skip_phases: Vec<String>,
    /// Do not print the bootstrap token
    #[arg(long)]
    pub skip_token_print: bool,
    /// Bootstrap token, abcdef.0123456789abcdef [default: random]
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub token: Option<Token>,
    /// How long the token is valid, 0 is for ever [default: 24h0m0s]
    #[arg(long, value_name = "DURATION")]
    pub token_ttl: Option<GoDuration>,
    /// Store the control plane's certificates encrypted in the cluster
    #[arg(long)]
    pub upload_certs: bool,
    /// The bundle file
    #[arg(long, value_name = "FILE", env = "JUNIOADM_BUNDLE", default_value_os_t = default_bundle(), hide_env = true)]
    pub bundle: PathBuf,
}

impl InitFlags {
    /// Flags that were given and that a file excludes, because it says them itself. kubeadm's rule: what only concerns this
    /// one run may stand beside a file.
    pub fn excluded_by_config(&self) -> Vec<&'static str> {
        [
            ("apiserver-advertise-address", self.apiserver_advertise_address.is_some()),
            ("apiserver-bind-port", self.apiserver_bind_port.is_some()),
            ("apiserver-cert-extra-sans", !self.apiserver_cert_extra_sans.is_empty()),
            ("cert-dir", self.cert_dir.is_some()),
            ("certificate-key", self.certificate_key.is_some()),
            ("control-plane-endpoint", self.control_plane_endpoint.is_some()),
            ("cri-socket", self.cri_socket.is_some()),
            ("feature-gates", !self.feature_gates.is_empty()),
            ("image-repository", self.image_repository.is_some()),
            ("kubernetes-version", self.kubernetes_version.is_some()),
            ("patches", self.patches.is_some()),
            ("pod-network-cidr", self.pod_network_cidr.is_some()),
            ("service-cidr", self.service_cidr.is_some()),
            ("service-dns-domain", self.service_dns_domain.is_some()),
            ("token", self.token.is_some()),
            ("token-ttl", self.token_ttl.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}

fn default_bundle() -> PathBuf {
    Layout::default().bundle()
}

/// A wrong token is not repeated in the message.
fn token(text: &str) -> Result<Token, String> {
    text.parse().map_err(|e: junio_api::token::InvalidToken| e.to_string())
}

fn gate(text: &str) -> Result<(String, bool), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=true or NAME=false")?;
    Ok((name.to_owned(), value.parse().map_err(|_| format!("{value:?} is neither true nor false"))?))
}

fn phases_help() -> String {
    let mut text = String::from("Phases, in order:\n");
    for phase in PhaseId::INIT_NAMES {
        let (group, name) = phase.name().split_once('/').map_or(("", phase.name()), |(_, name)| ("  /", name));
        text += &format!("  {:<34} {}\n", format!("{group}{name}"), phase.title());
    }
    text
}
