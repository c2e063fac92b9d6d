//! `apply`, and the flags with which `join` and `reset` reach other hosts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use junio_api::Layout;
use junio_api::duration::GoDuration;

use super::RunOutput;

/// How hosts are reached. What is not said here says ssh_config, as with `ssh`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "SSH")]
pub struct SshFlags {
    /// Hosts at work at the same time [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: Option<u16>,
    /// Private key; may be given several times [default: those of ssh_config, then the usual ones]
    #[arg(long, value_name = "FILE")]
    pub ssh_identity: Vec<PathBuf>,
    /// OpenSSH client configuration, or none [default: ~/.ssh/config and /etc/ssh/ssh_config]
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Where host keys are known from [default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts]
    #[arg(long, value_name = "FILE")]
    pub ssh_known_hosts: Vec<PathBuf>,
    /// Take and write down the keys of hosts that were never seen; a changed key is refused all the same
    #[arg(long)]
    pub ssh_accept_new: bool,
    /// Hosts to go through, [USER@]HOST[:PORT], in this order
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    pub ssh_jump: Vec<String>,
}

/// Other hosts instead of this one.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "SSH")]
pub struct RemoteArgs {
    /// Do it on these hosts instead of this one, [USER@]HOST[:PORT]; several with commas or several times
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    pub ssh: Vec<String>,
    /// Kubeconfig of the cluster, with --ssh [default: $KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf]
    #[arg(long, value_name = "FILE", requires = "ssh")]
    pub kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub flags: SshFlags,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The file is a Cluster (`junioadm config print cluster-defaults`, docs/CLUSTER.md). Run again, apply does what is left to do;
a host that fails does not keep the others: the exit code is 5, and the table says why.")]
pub struct ApplyArgs {
    /// File with a Cluster of junioadm.io/v1alpha1; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,
    /// Where the administrator's kubeconfig goes [default: NAME.kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Take nodes out of the cluster that are not in the file: cordon, drain, reset over SSH, delete
    #[arg(long)]
    pub prune: bool,
    /// How long pods may take to leave a node that goes
    #[arg(long, value_name = "DURATION", default_value = "2m", requires = "prune")]
    pub drain_timeout: GoDuration,
    /// Look at the hosts and say what would be done, change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub flags: SshFlags,
    /// The bundle file
    #[arg(long, value_name = "FILE", env = "JUNIOADM_BUNDLE", default_value_os_t = Layout::default().bundle(), hide_env = true)]
    pub bundle: PathBuf,
    #[arg(short, long, value_enum, default_value_t = RunOutput::Text, hide_possible_values = true)]
    pub output: RunOutput,
}

/// What a junioadm that drives this host runs here.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Print what this host has already, as one line of JSON
    Inventory,
    /// Put the bundle together from what was sent; its head comes on standard input
    Assemble,
    /// Remove what was sent, junioadm itself last
    Forget,
}
