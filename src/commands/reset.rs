//! `reset`: asks, then removes what init has made on this host.

use std::io::{self, BufRead};

use junio_api::Layout;
use junio_phases::{ResetOptions, ResetReport};

use super::{block_on, pretty, show_warnings};
use crate::cli::{ResetArgs, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{reporter, settings};

pub fn run(args: ResetArgs, printer: &Printer) -> Result<Exit, CommandError> {
    if !args.remote.ssh.is_empty() {
        return super::fleet::reset(args, printer);
    }
    let settings = settings::reset(&args)?;
    show_warnings(&settings.warnings, args.output, printer);
    if !settings.configuration.force && !settings.configuration.dry_run {
        ask("to this host", printer)?;
    }
    let options = ResetOptions {
        dry_run: settings.configuration.dry_run,
        cleanup_tmp_dir: settings.configuration.cleanup_tmp_dir,
        configuration: settings.configuration,
        skip: settings.skip,
        ignore_preflight_errors: settings.ignore_preflight_errors,
        layout: Layout::default(),
        bundle: args.bundle,
    };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::new(args.output, printer);
        Ok(junio_phases::reset(options, reporter.as_ref(), cancel).await?)
    })?;
    match args.output {
        RunOutput::Text => printer.out(&text(&report, args.dry_run)),
        RunOutput::Json => printer.out(&pretty(&serde_json::json!(report))),
    }
    Ok(if report.failed.is_empty() { Exit::Ok } else { Exit::Phase })
}

/// `what` is `to this host`, or where.
pub fn ask(what: &str, printer: &Printer) -> Result<(), CommandError> {
    printer
        .err(&format!("[reset] WARNING: Changes made {what} by 'junioadm init' or 'junioadm join' will be reverted."));
    printer.err("[reset] Are you sure you want to proceed? [y/N]: ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| CommandError::Read { path: "standard input".into(), source })?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandError::Usage("reset was not confirmed; nothing was changed (--force does not ask)".into())),
    }
}

fn text(report: &ResetReport, dry_run: bool) -> String {
    let list = |head: &str, items: &[String]| {
        if items.is_empty() { String::new() } else { format!("{head}\n  {}\n", items.join("\n  ")) }
    };
    let head = match (dry_run, report.removed.is_empty(), report.failed.is_empty()) {
        (true, ..) => "Nothing was changed.",
        (false, true, true) => "There was nothing to remove.",
        (false, false, true) => "This host is clean of what junioadm made.",
        (false, _, false) => "Something could not be removed; run junioadm reset again after repairing it.",
    };
    let removed = if dry_run { list("Would be removed:", &report.removed) } else { String::new() };
    format!("\n{head}\n{removed}{}{}", list("Left as it is:", &report.left), list("Not removed:", &report.failed))
}
