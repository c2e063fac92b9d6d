//! `init`, `init phase NAME`, `plan`, and the report at the end.

use junio_api::Layout;
use junio_phases::{InitOptions, InitReport, PhaseId};
use serde_json::json;

use super::{block_on, pretty, show_warnings};
use crate::cli::{InitArgs, InitCommand, InitSubcommand, PlanArgs, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{reporter, settings};

pub fn run(command: InitCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command.phase {
        None => start(command.args, None, printer),
        Some(InitSubcommand::Phase(phase)) => {
            let only = settings::phase(&phase.joined(), PhaseId::INIT_NAMES)?;
            start(phase.args, Some(only), printer)
        }
    }
}

pub fn plan(args: PlanArgs, printer: &Printer) -> Result<Exit, CommandError> {
    start(InitArgs { flags: args.flags, dry_run: true, output: args.output }, None, printer)
}

fn start(args: InitArgs, only: Option<PhaseId>, printer: &Printer) -> Result<Exit, CommandError> {
    let settings = settings::init(&args.flags)?;
    show_warnings(&settings.warnings, args.output, printer);
    if only.is_none() && args.output == RunOutput::Text {
        printer.err(&format!("[init] Using Kubernetes version: {}", settings.documents.cluster.kubernetes_version));
    }
    let options = InitOptions {
        dry_run: args.dry_run || settings.documents.init.dry_run,
        documents: settings.documents,
        documents_from_file: settings.from_file,
        token_generated: settings.token_generated,
        skip: settings.skip,
        only,
        ignore_preflight_errors: settings.ignore_preflight_errors,
        layout: Layout::default(),
        bundle: args.flags.bundle,
        skip_token_print: args.flags.skip_token_print,
        upload_certs: args.flags.upload_certs,
        skip_certificate_key_print: args.flags.skip_certificate_key_print,
    };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::new(args.output, printer);
        Ok(junio_phases::init(options, reporter.as_ref(), cancel).await?)
    })?;
    match args.output {
        RunOutput::Text => printer.out(&text(&report, only)),
        RunOutput::Json => printer.out(&pretty(&to_json(&report))),
    }
    Ok(Exit::Ok)
}

fn text(report: &InitReport, only: Option<PhaseId>) -> String {
    if let Some(directory) = &report.dry_run_directory {
        return format!("Nothing was changed. What would be written is in {}", directory.display());
    }
    let join = report.join.as_ref().map(junio_phases::JoinCommand::text);
    if only.is_some() {
        return join.unwrap_or_default();
    }
    let kubeconfig = report.kubeconfig.display();
    let head = if report.all_reused() {
        "Your Kubernetes control-plane is initialized already; nothing had to be done."
    } else {
        "Your Kubernetes control-plane has initialized successfully!"
    };
    let network = if report.network_installed {
        String::new()
    } else {
        "\nThe pod network was left out. The node becomes Ready when one is installed:\n\n  junioadm init phase addon flannel\n".into()
    };
    let join = join.map_or_else(String::new, |command| {
        format!(
            "\nThen you can join any number of worker nodes by running the following on each as root\n\
             (this version of junioadm has no join yet; the token and the hash are those of kubeadm join):\n\n{command}\n"
        )
    });
    format!(
        "
{head}

To start using your cluster, you need to run the following as a regular user:

  mkdir -p $HOME/.kube
  sudo cp -i {kubeconfig} $HOME/.kube/config
  sudo chown $(id -u):$(id -g) $HOME/.kube/config

Alternatively, if you are the root user, you can run:

  export KUBECONFIG={kubeconfig}
{network}{join}
{} {} took {:.1} s
",
        report.node_name,
        report.kubernetes_version,
        report.elapsed.as_secs_f64()
    )
}

fn to_json(report: &InitReport) -> serde_json::Value {
    let timeline: Vec<_> = report
        .timeline
        .iter()
        .map(|timing| {
            json!({
                "phase": timing.phase,
                "outcome": timing.outcome,
                "startedMs": timing.started.as_millis() as u64,
                "elapsedMs": timing.elapsed.as_millis() as u64,
            })
        })
        .collect();
    let join = report.join.as_ref().map(|join| {
        json!({ "endpoint": join.endpoint, "token": join.token, "caCertHash": join.ca_cert_hash, "command": join.text() })
    });
    json!({
        "kind": "InitReport",
        "nodeName": report.node_name,
        "kubernetesVersion": report.kubernetes_version,
        "kubeconfig": report.kubeconfig,
        "join": join,
        "networkInstalled": report.network_installed,
        "reused": report.all_reused(),
        "dryRunDirectory": report.dry_run_directory,
        "elapsedMs": report.elapsed.as_millis() as u64,
        "timeline": timeline,
    })
}
