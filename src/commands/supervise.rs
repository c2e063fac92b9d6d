//! `supervise NAME`: keeps a service running where systemd is not process 1. `init` starts it; people do not.

use junio_api::Layout;

use super::block_on;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;

pub fn run(name: &str, printer: &Printer) -> Result<Exit, CommandError> {
    block_on(printer, async |_cancel| Ok(junio_phases::supervise(&Layout::default(), name).await?))?;
    Ok(Exit::Ok)
}
