//! `agent`: what a junioadm on another host runs here.

use std::io::Read;

use junio_api::Layout;
use junio_phases::fleet;

use super::block_on;
use crate::cli::AgentCommand;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;

pub fn run(command: &AgentCommand, printer: &Printer) -> Result<Exit, CommandError> {
    let layout = Layout::default();
    match command {
        AgentCommand::Inventory => {
            let found = block_on(printer, async |_| Ok(fleet::inventory(&layout, &layout.bundle()).await))?;
            printer.out(&serde_json::json!(found).to_string());
        }
        AgentCommand::Assemble => {
            let mut head = Vec::new();
            let failed = |source| CommandError::Read { path: "standard input".into(), source };
            std::io::stdin().read_to_end(&mut head).map_err(failed)?;
            let held = fleet::assemble(&layout, &head)?;
            printer.out(&format!("the bundle holds {held} parts"));
        }
        AgentCommand::Forget => {
            for path in fleet::forget(&layout)? {
                printer.out(&format!("removed {}", path.display()));
            }
        }
    }
    Ok(Exit::Ok)
}
