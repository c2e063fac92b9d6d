//! The command line: one clap type per command, and how refusals of it are shown.

mod certs;
mod config;
mod fleet;
mod init;
mod join;
mod kubeconfig;
mod lab;
mod output;
mod phase;
mod reset;
mod token;

pub use certs::CertsCommand;
pub use config::{ComponentKind, ConfigCommand, DefaultsKind, ImagesCommand};
pub use fleet::{AgentCommand, ApplyArgs, RemoteArgs, SshFlags};
pub use init::{InitArgs, InitCommand, InitFlags, InitSubcommand, PlanArgs, PreflightArgs};
pub use join::{JoinArgs, JoinCommand, JoinSubcommand};
pub use kubeconfig::{KubeconfigCommand, UserArgs};
pub use lab::{LabCommand, LabUpArgs};
pub use output::{ListOutput, RunOutput, VersionOutput};
pub use phase::{ExtraArgs, PhaseCommand, PhaseFlags};
pub use reset::ResetArgs;
pub use token::{CreateArgs, TokenArgs, TokenCommand};

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Exit;
use crate::printer::Printer;

const WORKFLOW: &str = "\
A cluster on this machine:
    junioadm init
    export KUBECONFIG=/etc/kubernetes/admin.conf
    kubectl get nodes

Another host into it, with the command that init has printed or that this one prints:
    junioadm token create --print-join-command

The same from here, over SSH; or a whole cluster out of one file:
    junioadm join --ssh root@HOST,root@HOST
    junioadm config print cluster-defaults >cluster.yaml
    junioadm apply -f cluster.yaml

Away with it, on each host, or from here:
    junioadm reset
    junioadm reset --ssh root@HOST

A cluster in a throw-away host, this machine left as it is:
    junioadm lab up demo
    junioadm lab down demo

Flags, phases and configuration files are kubeadm's. Docker Engine is the container runtime. Images,
kubelet and network come in the bundle, so no package, registry or internet access is needed.";

/// What is below the list of commands.
fn help_text() -> String {
    let codes: String = Exit::ALL.map(|exit| format!("\n    {:<4}{}", exit as u8, exit.meaning())).concat();
    format!("{WORKFLOW}\n\nExit codes:{codes}")
}

#[derive(Debug, Parser)]
#[command(
    name = "junioadm",
    about = "Turns plain Linux hosts with Docker Engine into a Kubernetes cluster",
    after_help = help_text(),
    disable_version_flag = true,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 120
)]
pub struct Cli {
    /// Change the root directory to this path before anything else
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub rootfs: Option<PathBuf>,
    /// Level of log lines on stderr: 1 info, 4 debug, 7 trace
    #[arg(
        short = 'v',
        long = "v",
        global = true,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Global options"
    )]
    pub verbosity: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this host the control plane of a new cluster
    Init(InitCommand),
    /// Make this host a worker of a cluster
    Join(JoinCommand),
    /// Make the hosts of a file a cluster, over SSH
    Apply(ApplyArgs),
    /// Show what init would do, and change nothing
    Plan(PlanArgs),
    /// Run init's checks, and change nothing
    Preflight(PreflightArgs),
    /// Remove what init or join has made on this host
    Reset(ResetArgs),
    /// Manage bootstrap tokens
    Token(TokenArgs),
    /// Print, check and migrate configuration files; list images
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the certificates of this host
    #[command(subcommand, alias = "certificates")]
    Certs(CertsCommand),
    /// Make kubeconfig files
    #[command(subcommand)]
    Kubeconfig(KubeconfigCommand),
    /// Throw-away hosts and clusters on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Tell more about an error code, offline
    Explain {
        /// For example JUNIO-CONFIG-UNKNOWN-FIELD; without it, all codes are listed
        #[arg(value_name = "CODE")]
        code: Option<String>,
    },
    /// Print the version
    Version {
        #[arg(short, long, value_enum, default_value_t = VersionOutput::Text)]
        output: VersionOutput,
    },
    /// Keep a service of this host running where systemd is not process 1; started by init, not by people
    #[command(hide = true)]
    Supervise {
        /// For example junio-kubelet
        name: String,
    },
    /// What a junioadm on another host runs here; not for people
    #[command(subcommand, hide = true)]
    Agent(AgentCommand),
    /// Print a shell completion script
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Reads a command line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).map_err(without_secrets)
}

/// A mistyped token is still most of a token: it is not repeated.
fn without_secrets(mut refused: clap::Error) -> clap::Error {
    let secret = |argument: &str| argument.contains("token") || argument.contains("certificate-key");
    if matches!(refused.get(ContextKind::InvalidArg), Some(ContextValue::String(argument)) if secret(argument)) {
        refused.insert(ContextKind::InvalidValue, ContextValue::String("(not shown)".to_owned()));
    }
    refused
}

/// Shows help where it was asked for, and what is wrong otherwise.
pub fn refuse(refused: &clap::Error, printer: &Printer) -> Exit {
    let text = refused.render();
    if refused.use_stderr() {
        printer.err(&text.to_string());
        Exit::Usage
    } else {
        printer.out(&text.to_string());
        Exit::Ok
    }
}

/// A completion script for `shell`.
pub fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "junioadm", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_token_is_not_repeated() {
        let refused = parse(["junioadm", "init", "--token", "almost.asecret"].map(OsString::from)).map(drop);
        let text = refused.expect_err("no token").render().to_string();
        assert!(!text.contains("asecret") && text.contains("(not shown)"), "{text}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
