//! One JSON object a line on stderr, as events come.

use junio_phases::{Event, Reporter};

use crate::printer::Printer;

#[derive(Debug)]
pub struct JsonReporter {
    printer: Printer,
}

impl JsonReporter {
    pub fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl Reporter for JsonReporter {
    fn event(&self, event: &Event) {
        super::log(event);
        if let Ok(line) = serde_json::to_string(event) {
            self.printer.err(&line);
        }
    }
}
