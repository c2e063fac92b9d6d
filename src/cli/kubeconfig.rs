//! `kubeconfig`: kubeadm's flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use junio_api::duration::GoDuration;

#[derive(Debug, Subcommand)]
pub enum KubeconfigCommand {
    /// Print a kubeconfig for a user, signed by this cluster's CA
    User(UserArgs),
}

#[derive(Debug, Args)]
pub struct UserArgs {
    /// The user's name, the certificate's CN
    #[arg(long, value_name = "NAME")]
    pub client_name: String,
    /// The user's groups, the certificate's O
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub org: Vec<String>,
    /// Configuration file that names endpoint and certificate directory; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long the certificate is valid
    #[arg(long, value_name = "DURATION", default_value = "8760h0m0s")]
    pub validity_period: GoDuration,
}
