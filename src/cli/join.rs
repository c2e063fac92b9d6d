//! `join` and `join phase`: kubeadm's flags of `join`, as far as they are about workers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use junio_api::{Layout, Token};
use junio_phases::PhaseId;

use super::{RemoteArgs, RunOutput};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = phases_help())]
pub struct JoinCommand {
    #[command(flatten)]
    pub args: JoinArgs,
    #[command(subcommand)]
    pub phase: Option<JoinSubcommand>,
}

#[derive(Debug, Subcommand)]
pub enum JoinSubcommand {
    /// Run one phase alone; `images` without ENDPOINT prepares a host before its cluster exists
    Phase(JoinPhaseArgs),
}

#[derive(Debug, Args)]
#[command(after_help = phases_help())]
pub struct JoinPhaseArgs {
    /// The phase, for example `kubelet-start`
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub args: JoinArgs,
}

/// What `join` can be told. `None` and empty mean "not said".
#[derive(Debug, Clone, Default, Args)]
pub struct JoinArgs {
    /// The cluster's API server, HOST[:PORT]
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// File with a JoinConfiguration of kubeadm.k8s.io/v1beta4; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Docker Engine's socket [default: unix:///run/docker.sock]
    #[arg(long, value_name = "SOCKET")]
    pub cri_socket: Option<String>,
    /// A kubeconfig that names the cluster: a path or an https:// address
    #[arg(long, value_name = "FILE")]
    pub discovery_file: Option<String>,
    /// Token that validates what the cluster says of itself
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub discovery_token: Option<Token>,
    /// Pin of the cluster's CA, sha256:HEX; with several, one must match
    #[arg(long, value_name = "PIN", value_delimiter = ',')]
    pub discovery_token_ca_cert_hash: Vec<String>,
    /// Trust whatever CA the token vouches for
    #[arg(long)]
    pub discovery_token_unsafe_skip_ca_verification: bool,
    /// Find the cluster, render the files, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Checks whose errors become warnings: names, or `all`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub ignore_preflight_errors: Vec<String>,
    /// The node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Directory of files kubeletconfiguration[SUFFIX][+TYPE].{yaml,json}
    #[arg(long, value_name = "PATH")]
    pub patches: Option<String>,
    /// Phases to leave out
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub skip_phases: Vec<String>,
    /// Token with which the kubelet asks for its certificate
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub tls_bootstrap_token: Option<Token>,
    /// Token for both, where they are not given by themselves
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub token: Option<Token>,
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The bundle file
    #[arg(long, value_name = "FILE", env = "JUNIOADM_BUNDLE", default_value_os_t = Layout::default().bundle(), hide_env = true)]
    pub bundle: PathBuf,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

impl JoinArgs {
    /// What was given and a file excludes, because it says it itself.
    pub fn excluded_by_config(&self) -> Vec<&'static str> {
        [
            ("ENDPOINT", self.endpoint.is_some()),
            ("cri-socket", self.cri_socket.is_some()),
            ("discovery-file", self.discovery_file.is_some()),
            ("discovery-token", self.discovery_token.is_some()),
            ("discovery-token-ca-cert-hash", !self.discovery_token_ca_cert_hash.is_empty()),
            ("discovery-token-unsafe-skip-ca-verification", self.discovery_token_unsafe_skip_ca_verification),
            ("patches", self.patches.is_some()),
            ("tls-bootstrap-token", self.tls_bootstrap_token.is_some()),
            ("token", self.token.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}

/// A wrong token is not repeated in the message.
fn token(text: &str) -> Result<Token, String> {
    text.parse().map_err(|e: junio_api::token::InvalidToken| e.to_string())
}

fn phases_help() -> String {
    let mut text = String::from("Phases, in order:\n");
    for phase in PhaseId::JOIN_NAMES {
        text += &format!("  {:<34} {}\n", phase.name(), phase.title());
    }
    text
}
