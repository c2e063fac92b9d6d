//! `preflight`: init's checks alone.

use junio_api::Layout;
use junio_phases::PreflightOptions;
use serde_json::json;

use super::{block_on, pretty, show_warnings};
use crate::cli::{ExtraArgs, PreflightArgs, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{reporter, settings};

pub fn run(args: PreflightArgs, printer: &Printer) -> Result<Exit, CommandError> {
    let settings = settings::init(&args.flags, &ExtraArgs::default())?;
    show_warnings(&settings.warnings, args.output, printer);
    let options = PreflightOptions {
        documents: settings.documents,
        ignore_preflight_errors: settings.ignore_preflight_errors,
        layout: Layout::default(),
        bundle: args.flags.bundle,
    };
    let report = block_on(printer, async |cancel| {
        let reporter = reporter::new(args.output, printer);
        Ok(junio_phases::preflight(options, reporter.as_ref(), cancel).await?)
    })?;
    match args.output {
        RunOutput::Text => printer.out(&format!("{} checks passed, {} warned", report.checks, report.warnings)),
        RunOutput::Json => printer
            .out(&pretty(&json!({ "kind": "PreflightReport", "checks": report.checks, "warnings": report.warnings }))),
    }
    Ok(Exit::Ok)
}
