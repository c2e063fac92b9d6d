//! `init phase NAME`: a command for each phase with kubeadm's flags of that phase, and no others.
//!
//! Source of the table: `kubeadm init phase ... --help` of v1.36.3; `tests/cli.rs` holds ours against a recording of it.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use junio_api::config::Arg;
use junio_phases::PhaseId;

use super::init::InitArgs;

/// The phase, and how it is run.
#[derive(Debug)]
pub struct PhaseCommand {
    pub phase: PhaseId,
    pub flags: PhaseFlags,
}

/// All flags that any phase has; which one has which is in [`flags_of`].
#[derive(Debug, Clone, Args)]
pub struct PhaseFlags {
    #[command(flatten)]
    pub args: InitArgs,
    #[command(flatten)]
    pub extra_args: ExtraArgs,
    /// The kubeconfig file to use when talking to the cluster [default: this host's super-admin.conf or admin.conf]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where kubeconfig files are stored [default: /etc/kubernetes]
    #[arg(long, value_name = "PATH")]
    pub kubeconfig_dir: Option<PathBuf>,
    /// Print the objects of the add-on instead of installing them
    #[arg(long)]
    pub print_manifest: bool,
}

/// kubeadm's deprecated flags of control plane phases; a configuration file says the same.
#[derive(Debug, Clone, Default, Args)]
pub struct ExtraArgs {
    /// More flags of the API server, NAME=VALUE (deprecated: ClusterConfiguration.apiServer.extraArgs)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = extra)]
    pub apiserver_extra_args: Vec<Arg>,
    /// More flags of the controller manager, NAME=VALUE (deprecated: ClusterConfiguration.controllerManager.extraArgs)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = extra)]
    pub controller_manager_extra_args: Vec<Arg>,
    /// More flags of the scheduler, NAME=VALUE (deprecated: ClusterConfiguration.scheduler.extraArgs)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = extra)]
    pub scheduler_extra_args: Vec<Arg>,
}

impl ExtraArgs {
    /// Those that were given, as kubeadm names them beside `--config`.
    pub fn given(&self) -> Vec<&'static str> {
        [
            ("apiserver-extra-args", &self.apiserver_extra_args),
            ("controller-manager-extra-args", &self.controller_manager_extra_args),
            ("scheduler-extra-args", &self.scheduler_extra_args),
        ]
        .into_iter()
        .filter_map(|(name, args)| (!args.is_empty()).then_some(name))
        .collect()
    }
}

fn extra(text: &str) -> Result<Arg, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok(Arg::new(name, value))
}

/// Flags that every phase has: which configuration, whether for real, and how it is told.
const EVERYWHERE: &str = "config dry-run output";

/// The names of a phase's own flags; a group's are those of its `all`.
fn flags_of(phase: PhaseId) -> &'static str {
    use PhaseId as P;
    match phase {
        P::Preflight => "cri-socket ignore-preflight-errors image-repository bundle",
        P::Images => "cri-socket image-repository kubernetes-version bundle",
        P::Certs | P::CertsApiserver => {
            "apiserver-advertise-address apiserver-cert-extra-sans cert-dir control-plane-endpoint kubernetes-version \
             service-cidr service-dns-domain"
        }
        P::CertsCa
        | P::CertsApiserverKubeletClient
        | P::CertsFrontProxyCa
        | P::CertsFrontProxyClient
        | P::CertsEtcdCa
        | P::CertsEtcdServer
        | P::CertsEtcdPeer
        | P::CertsEtcdHealthcheckClient
        | P::CertsApiserverEtcdClient
        | P::CertsSa => "cert-dir kubernetes-version",
        P::Kubeconfig | P::KubeconfigKubelet => {
            "apiserver-advertise-address apiserver-bind-port cert-dir control-plane-endpoint kubeconfig-dir \
             kubernetes-version node-name"
        }
        P::KubeconfigAdmin | P::KubeconfigSuperAdmin | P::KubeconfigControllerManager | P::KubeconfigScheduler => {
            "apiserver-advertise-address apiserver-bind-port cert-dir control-plane-endpoint kubeconfig-dir \
             kubernetes-version"
        }
        P::Etcd | P::EtcdLocal => "cert-dir image-repository patches",
        P::ControlPlane => {
            "apiserver-advertise-address apiserver-bind-port apiserver-extra-args cert-dir control-plane-endpoint \
             controller-manager-extra-args feature-gates image-repository kubernetes-version patches pod-network-cidr \
             scheduler-extra-args service-cidr"
        }
        P::ControlPlaneApiserver => {
            "apiserver-advertise-address apiserver-bind-port apiserver-extra-args cert-dir control-plane-endpoint \
             feature-gates image-repository kubernetes-version patches service-cidr"
        }
        P::ControlPlaneControllerManager => {
            "cert-dir controller-manager-extra-args image-repository kubernetes-version patches pod-network-cidr"
        }
        P::ControlPlaneScheduler => "cert-dir image-repository kubernetes-version patches scheduler-extra-args",
        P::KubeletStart => "cri-socket image-repository node-name patches bundle",
        P::UploadConfig | P::UploadConfigKubeadm | P::UploadConfigKubelet => "cri-socket kubeconfig",
        P::UploadCerts => "certificate-key kubeconfig skip-certificate-key-print upload-certs",
        P::MarkControlPlane => "node-name",
        P::BootstrapToken => "kubeconfig skip-token-print",
        P::KubeletFinalize | P::KubeletFinalizeRotation => "cert-dir",
        P::Addon => {
            "apiserver-advertise-address apiserver-bind-port control-plane-endpoint feature-gates image-repository \
             kubeconfig kubernetes-version pod-network-cidr service-cidr service-dns-domain bundle"
        }
        P::AddonCoreDns => {
            "feature-gates image-repository kubeconfig kubernetes-version print-manifest service-cidr \
             service-dns-domain bundle"
        }
        P::AddonKubeProxy | P::AddonFlannel => {
            "apiserver-advertise-address apiserver-bind-port control-plane-endpoint image-repository kubeconfig \
             kubernetes-version pod-network-cidr print-manifest bundle"
        }
        _ => "",
    }
}

fn has(phase: PhaseId, flag: &str) -> bool {
    let mut names = EVERYWHERE.split_whitespace().chain(flags_of(phase).split_whitespace());
    names.any(|name| name == flag)
}

/// Every flag of every phase, by its long name.
fn all_flags() -> Vec<(clap::Id, String)> {
    let command = PhaseFlags::augment_args(Command::new("all"));
    command.get_arguments().filter_map(|a| Some((a.get_id().clone(), a.get_long()?.to_owned()))).collect()
}

fn command_of(name: &'static str, phase: PhaseId) -> Command {
    PhaseFlags::augment_args(Command::new(name).about(phase.title())).mut_args(|argument| {
        let known = argument.get_long().is_some_and(|flag| has(phase, flag));
        let deprecated = argument.get_long().is_some_and(|flag| flag.ends_with("-extra-args"));
        argument.hide(!known || deprecated)
    })
}

/// `NAME` of `GROUP/NAME`.
fn own_name(phase: PhaseId) -> &'static str {
    phase.name().split_once('/').map_or(phase.name(), |(_, name)| name)
}

fn commands() -> impl Iterator<Item = Command> {
    let tops = PhaseId::INIT_NAMES.iter().copied().filter(|phase| phase.group() == *phase);
    tops.map(|top| {
        let mut command = command_of(top.name(), top);
        command = match top {
            PhaseId::UploadConfig => command.alias("uploadconfig"),
            PhaseId::BootstrapToken => command.alias("bootstraptoken"),
            _ => command,
        };
        if top.is_group() {
            let members = PhaseId::INIT_NAMES.iter().copied().filter(|phase| *phase != top && top.covers(*phase));
            command = command
                .args_conflicts_with_subcommands(true)
                .disable_help_subcommand(true)
                .subcommand(command_of("all", top))
                .subcommands(members.map(|member| command_of(own_name(member), member)));
        }
        command
    })
}

impl Subcommand for PhaseCommand {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(commands()).subcommand_required(true).disable_help_subcommand(true)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        PhaseId::INIT_NAMES.iter().any(|phase| phase.name() == name)
    }
}

impl FromArgMatches for PhaseCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing =
            || clap::Error::raw(ErrorKind::MissingSubcommand, "which phase? `junioadm init phase --help` lists them\n");
        let (top, matches) = matches.subcommand().ok_or_else(missing)?;
        let (name, matches) = match matches.subcommand() {
            Some((member, matches)) => (format!("{top}/{member}"), matches),
            None => (top.to_owned(), matches),
        };
        let phase =
            PhaseId::parse(&name).map_err(|e| clap::Error::raw(ErrorKind::InvalidSubcommand, format!("{e}\n")))?;
        let given = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        if let Some((_, flag)) = all_flags().iter().find(|(id, flag)| !has(phase, flag) && given(id)) {
            let typed = name.replace('/', " ");
            let text = format!(
                "unexpected argument '--{flag}' found: the phase has no such flag\n\nFor more information, try 'junioadm init phase {typed} --help'.\n"
            );
            return Err(clap::Error::raw(ErrorKind::UnknownArgument, text));
        }
        Ok(Self { phase, flags: PhaseFlags::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_table_is_a_flag() {
        let known: Vec<String> = all_flags().into_iter().map(|(_, flag)| flag).collect();
        for phase in PhaseId::INIT_NAMES {
            for flag in flags_of(*phase).split_whitespace().chain(EVERYWHERE.split_whitespace()) {
                assert!(known.iter().any(|name| name == flag), "{phase}: --{flag}");
            }
        }
    }
}
