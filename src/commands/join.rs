//! `join`, `join phase NAME`, and the report at the end.

use junio_api::Layout;
use junio_phases::{JoinOptions, JoinReport, PhaseId};
use serde_json::json;

use super::{block_on, pretty, show_warnings};
use crate::cli::{JoinArgs, JoinCommand, JoinSubcommand, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{reporter, settings};

pub fn run(command: JoinCommand, printer: &Printer) -> Result<Exit, CommandError> {
    match command.phase {
        None if !command.args.remote.ssh.is_empty() => super::fleet::join(command.args, printer),
        None => start(command.args, None, printer),
        Some(JoinSubcommand::Phase(phase)) if !phase.args.remote.ssh.is_empty() => {
            Err(CommandError::Usage("a phase alone is run on its host, without --ssh".into()))
        }
        Some(JoinSubcommand::Phase(phase)) => {
            let only = settings::phase(&phase.name, PhaseId::JOIN_NAMES)?;
            start(phase.args, Some(only), printer)
        }
    }
}

fn start(args: JoinArgs, only: Option<PhaseId>, printer: &Printer) -> Result<Exit, CommandError> {
    let settings = settings::join(&args, only)?;
    show_warnings(&settings.warnings, args.output, printer);
    let options = JoinOptions {
        dry_run: settings.documents.join.dry_run,
        documents: settings.documents,
        skip: settings.skip,
        only,
        ignore_preflight_errors: settings.ignore_preflight_errors,
        layout: Layout::default(),
        bundle: args.bundle,
    };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::new(args.output, printer);
        Ok(junio_phases::join(options, reporter.as_ref(), cancel).await?)
    })?;
    match args.output {
        RunOutput::Text => printer.out(&text(&report, only)),
        RunOutput::Json => printer.out(&pretty(&to_json(&report))),
    }
    Ok(Exit::Ok)
}

fn text(report: &JoinReport, only: Option<PhaseId>) -> String {
    if let Some(directory) = &report.dry_run_directory {
        return format!("Nothing was changed. What would be written is in {}", directory.display());
    }
    if only.is_some() {
        return String::new();
    }
    let (node, server) = (&report.node_name, &report.server);
    let ready = if report.ready { " and is Ready" } else { "" };
    let head = if report.already {
        format!(
            "This node is in the cluster at {server} already{ready}; nothing had to be done.\n\
             Its configuration stays as it joined with; `junioadm reset` lets it join anew."
        )
    } else {
        format!(
            "This node has joined the cluster{}:\n\
             * Certificate signing request was sent to apiserver and a response was received.\n\
             * The Kubelet was informed of the new secure connection details.",
            if report.ready { " and is Ready" } else { "" }
        )
    };
    format!(
        "\n{head}\n\nRun 'kubectl get nodes' on the control-plane to see this node.\n\n{node} took {:.1} s\n",
        report.elapsed.as_secs_f64()
    )
}

fn to_json(report: &JoinReport) -> serde_json::Value {
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
    json!({
        "kind": "JoinReport",
        "nodeName": report.node_name,
        "server": report.server,
        "already": report.already,
        "ready": report.ready,
        "dryRunDirectory": report.dry_run_directory,
        "elapsedMs": report.elapsed.as_millis() as u64,
        "timeline": timeline,
    })
}
