//! `junioadm`: reads the command line, runs one command, ends with an exit code.

mod cli;
mod commands;
mod debug_log;
mod diagnostics;
mod error;
mod exit;
mod facts;
mod interrupt;
mod printer;
mod prompter;
mod reporter;
mod settings;

use std::process::ExitCode;

fn main() -> ExitCode {
    let printer = printer::Printer::new();
    let exit = match cli::parse(std::env::args_os()) {
        Ok(cli) => commands::run(cli, &printer),
        Err(refused) => cli::refuse(&refused, &printer),
    };
    exit.into()
}
