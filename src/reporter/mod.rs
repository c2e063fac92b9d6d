//! Shows what phases tell: kubeadm's lines and bars for people, JSON lines for programs. Everything also goes to the debug log.

mod bars;
mod fleet;
mod json;
mod order;
mod text;

pub use fleet::{FleetJson, FleetText};
pub use json::JsonReporter;
pub use text::TextReporter;

use junio_phases::fleet::FleetReporter;
use junio_phases::{Event, Reporter};

use crate::cli::RunOutput;
use crate::printer::Printer;

/// The reporter for a form of output.
pub fn new(output: RunOutput, printer: &Printer) -> Box<dyn Reporter> {
    match output {
        RunOutput::Text => Box::new(TextReporter::new(printer.clone())),
        RunOutput::Json => Box::new(JsonReporter::new(printer.clone())),
    }
}

/// The same for many hosts.
pub fn of_fleet(output: RunOutput, printer: &Printer) -> Box<dyn FleetReporter> {
    match output {
        RunOutput::Text => Box::new(FleetText::new(printer.clone())),
        RunOutput::Json => Box::new(FleetJson::new(printer.clone())),
    }
}

/// Events carry no secrets, so the log may hold them.
fn log(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        tracing::debug!(target: "event", "{line}");
    }
}
