//! `token`: kubeadm's flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use junio_api::duration::GoDuration;

use super::ListOutput;

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Kubeconfig of the cluster [default: $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Say what would be done, change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Store a token in the cluster and print it
    Create(CreateArgs),
    /// List the tokens of the cluster
    List {
        #[arg(short, long, value_enum, default_value_t = ListOutput::Text)]
        output: ListOutput,
    },
    /// Delete tokens, given whole or by their id
    Delete {
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
    /// Print a random token without touching a cluster
    Generate,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The token [default: random]
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
    /// File with an InitConfiguration whose bootstrapTokens are made; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Groups that the token belongs to [default: system:bootstrappers:kubeadm:default-node-token]
    #[arg(long, value_delimiter = ',', value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Print the whole join command instead of the token
    #[arg(long)]
    pub print_join_command: bool,
    /// How long it is valid, 0 is for ever [default: 24h0m0s]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<GoDuration>,
    /// What it can be used for [default: signing,authentication]
    #[arg(long, value_delimiter = ',', value_name = "USAGE")]
    pub usages: Vec<String>,
}

impl CreateArgs {
    /// What was given and a file excludes, because it says it itself.
    pub fn excluded_by_config(&self) -> Vec<&'static str> {
        [
            ("TOKEN", self.token.is_some()),
            ("description", self.description.is_some()),
            ("groups", !self.groups.is_empty()),
            ("ttl", self.ttl.is_some()),
            ("usages", !self.usages.is_empty()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}
