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
    /// For people
    #[arg(long, default_value = "")]
    pub description: String,
    /// Groups that the token belongs to
    #[arg(long, value_delimiter = ',', default_value = junio_api::names::NODE_BOOTSTRAP_GROUP)]
    pub groups: Vec<String>,
    /// Print the whole join command instead of the token
    #[arg(long)]
    pub print_join_command: bool,
    /// How long it is valid, 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "24h0m0s")]
    pub ttl: GoDuration,
    /// What it can be used for
    #[arg(long, value_delimiter = ',', default_value = "signing,authentication")]
    pub usages: Vec<String>,
}
