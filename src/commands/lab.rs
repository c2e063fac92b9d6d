//! `lab`: throw-away hosts on this machine.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;

use junio_api::yaml;
use junio_host::ssh::{HostKeyPolicy, NoPrompter, Settings};
use junio_lab::{FirstProcess, Lab, LabName, LabSummary, OutputStream, Payload, Progress, UpOptions};
use junio_phases::fleet::{FleetReport, JoinHosts, join_hosts};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{block_on, fleet, pretty, table};
use crate::cli::{LabCommand, LabUpArgs, ListOutput, RunOutput, SshFlags};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::reporter;

pub fn run(command: LabCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command {
        LabCommand::Up(args) => return up(&args, printer),
        LabCommand::Down { name, .. } => down(name.as_deref(), printer)?,
        LabCommand::List { output } => {
            let labs = block_on(printer, async |_| Ok(junio_lab::list().await?))?;
            printer.out(&match output {
                ListOutput::Text => list_text(&labs),
                ListOutput::Json => pretty(&json!(labs)),
                ListOutput::Yaml => yaml::to_string(&labs)?,
            });
        }
        LabCommand::Ssh { name, host, command } => return ssh(&name, &host, &command, printer),
        LabCommand::Kubeconfig { name } => {
            let name: LabName = name.parse()?;
            let path = block_on(printer, async |_| Ok(Lab::open(&name).await?.kubeconfig().await?))?;
            printer.out(&path.display().to_string());
        }
    }
    Ok(Exit::Ok)
}

fn up(args: &LabUpArgs, printer: &Printer) -> Result<Exit, CommandError> {
    let options = UpOptions {
        name: args.name.parse()?,
        control_planes: args.control_planes,
        workers: args.workers,
        suite: args.suite.parse().map_err(CommandError::Usage)?,
        hosts_only: args.hosts_only,
        first_process: if args.without_systemd { FirstProcess::Script } else { FirstProcess::Systemd },
        payload: Some(Payload::discover(args.bundle.as_deref())?),
    };
    let (lab, kubeconfig, joined) = block_on(printer, async |cancel| {
        let lab = junio_lab::up(&options, &Shown(printer.clone()), &cancel).await?;
        let kubeconfig = if options.hosts_only { None } else { Some(lab.kubeconfig().await?) };
        let joined = match &kubeconfig {
            Some(path) if args.workers > 0 => Some(join(&lab, path, &options, printer, cancel).await?),
            _ => None,
        };
        Ok((lab, kubeconfig, joined))
    })?;
    if let Some(report) = joined.filter(|report| report.failed().next().is_some()) {
        return Ok(fleet::finish("JoinReport", &report, RunOutput::Text, printer));
    }
    let hosts: Vec<String> = lab.hosts().iter().map(|host| format!("{} {}", host.name(), host.address())).collect();
    let name = &options.name;
    let mut text = format!("lab {name} is up: {}\n\n", hosts.join(", "));
    if let Some(path) = kubeconfig {
        text += &format!("  export KUBECONFIG={}\n  kubectl get nodes,pods -A -o wide\n", path.display());
    }
    text += &format!("  junioadm lab ssh {name} {}\n  junioadm lab down {name}\n", name.host(1));
    printer.out(&text);
    Ok(Exit::Ok)
}

/// The workers join over SSH by the code that real hosts join by; only who they are is known here without asking.
async fn join(
    lab: &Lab,
    kubeconfig: &Path,
    options: &UpOptions,
    printer: &Printer,
    cancel: CancellationToken,
) -> Result<FleetReport, CommandError> {
    let mut hosts = Vec::new();
    for host in &lab.hosts()[options.control_planes..] {
        hosts.push(fleet::lab_host(host.name(), &host.address().to_string())?);
    }
    let ssh = Settings {
        user: Some("root".to_owned()),
        identity_files: vec![lab.ssh_key()],
        use_agent: false,
        config_file: Some("none".into()),
        known_hosts: vec![lab.known_hosts()],
        host_keys: Some(HostKeyPolicy::Strict),
        ..Settings::default()
    };
    let bundle = options.payload.as_ref().map(|payload| payload.bundle.clone()).unwrap_or_default();
    let fleet_options = fleet::options(ssh, &SshFlags::default(), bundle, false)?;
    let wanted = JoinHosts { hosts, kubeconfig: kubeconfig.to_owned() };
    let reporter = reporter::of_fleet(RunOutput::Text, printer);
    Ok(join_hosts(&fleet_options, &wanted, reporter.as_ref(), &NoPrompter, cancel).await?)
}

fn down(name: Option<&str>, printer: &Printer) -> Result<(), CommandError> {
    let name: Option<LabName> = name.map(str::parse).transpose()?;
    let gone = block_on(printer, async |_| {
        let progress = Shown(printer.clone());
        match name {
            Some(name) => junio_lab::down(&name, &progress).await.map(|()| vec![name]),
            None => junio_lab::down_all(&progress).await,
        }
        .map_err(CommandError::from)
    })?;
    for name in gone {
        printer.out(&format!("lab {name} is gone"));
    }
    Ok(())
}

/// The ssh client takes over this process, so that its terminal, signals and exit code are the caller's.
fn ssh(name: &str, host: &str, words: &[String], printer: &Printer) -> Result<Exit, CommandError> {
    let name: LabName = name.parse()?;
    let lab = block_on(printer, async |_| Ok(Lab::open(&name).await?))?;
    let terminal = words.is_empty() || (std::io::stdin().is_terminal() && std::io::stdout().is_terminal());
    let source = lab.ssh(host, words, terminal)?.exec();
    Err(CommandError::Start { program: "ssh", source })
}

fn list_text(labs: &[LabSummary]) -> String {
    let rows: Vec<Vec<String>> = labs
        .iter()
        .flat_map(|lab| {
            let first = || vec![lab.name.clone(), lab.suite.clone()];
            if lab.hosts.is_empty() {
                return vec![[first(), vec!["-".into(), "-".into(), "half-made".into()]].concat()];
            }
            lab.hosts
                .iter()
                .map(|host| {
                    let address = host.address.map(|a| a.to_string()).unwrap_or_default();
                    let state = if lab.complete { host.state.clone() } else { format!("{} (half-made)", host.state) };
                    [first(), vec![host.name.clone(), address, state]].concat()
                })
                .collect()
        })
        .collect();
    table::render(&["LAB", "SUITE", "HOST", "ADDRESS", "STATE"], &rows)
}

/// Steps, and what programs on the hosts say, all on stderr.
#[derive(Debug)]
struct Shown(Printer);

impl Progress for Shown {
    fn step(&self, text: &str) {
        tracing::info!("{text}");
        self.0.err(&format!("[lab] {text}"));
    }

    fn output(&self, _host: &str, _stream: OutputStream, bytes: &[u8]) {
        self.0.pass_through(false, bytes);
    }
}
