//! `lab`: throw-away hosts on this machine.

use clap::{Args, Subcommand};

use super::ListOutput;

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Make hosts, and a cluster on them
    Up(LabUpArgs),
    /// Remove a lab and everything that belongs to it
    Down {
        #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// Every lab on this machine
        #[arg(long)]
        all: bool,
    },
    /// List the labs of this machine
    List {
        #[arg(short, long, value_enum, default_value_t = ListOutput::Text)]
        output: ListOutput,
    },
    /// Open a shell on a host, or run a command there
    Ssh {
        #[arg(value_name = "NAME")]
        name: String,
        /// The host, for example demo-1
        #[arg(value_name = "HOST")]
        host: String,
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Print the path of a kubeconfig that works from this machine
    Kubeconfig {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct LabUpArgs {
    /// Hosts are NAME-1, NAME-2, ...
    #[arg(value_name = "NAME", default_value = "lab")]
    pub name: String,
    /// Hosts that become control planes
    #[arg(long, value_name = "M", default_value_t = 1)]
    pub control_planes: usize,
    /// Hosts that become workers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub workers: usize,
    /// Debian release of the hosts: bookworm has Docker 20.10, trixie has Docker 26
    #[arg(long, value_name = "SUITE", default_value = "bookworm", value_parser = ["bookworm", "trixie"])]
    pub suite: String,
    /// Hosts with junioadm, junio-kubelet and the bundle in place, and no cluster
    #[arg(long)]
    pub hosts_only: bool,
    /// Hosts whose process 1 is no systemd but a script that starts Docker Engine and sshd, as in containers
    #[arg(long)]
    pub without_systemd: bool,
    /// The bundle file [default: bundle.jbundle beside this program, else that of this host]
    #[arg(long, value_name = "FILE", env = "JUNIOADM_BUNDLE", hide_env = true)]
    pub bundle: Option<std::path::PathBuf>,
}
