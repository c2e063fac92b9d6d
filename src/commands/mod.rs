//! One file per command. Each returns what went wrong; this one shows it and turns it into an exit code.

mod agent;
mod apply;
mod certs;
mod config;
pub mod explain;
mod fleet;
mod init;
mod join;
mod kubeconfig;
mod lab;
mod migrate;
mod preflight;
mod reset;
mod supervise;
mod table;
mod token;
mod version;

use std::future::Future;
use std::path::PathBuf;

use junio_api::Layout;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, Cli, Command, RunOutput};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{debug_log, diagnostics, interrupt};

/// Runs a command and shows how it ended.
pub fn run(cli: Cli, printer: &Printer) -> Exit {
    if let Some(root) = &cli.rootfs
        && let Err(error) = change_root(root)
    {
        printer.err(&diagnostics::text(&error, None));
        return error.exit();
    }
    let log = start_log(&cli);
    let output = cli.command.run_output();
    let outcome = dispatch(cli.command, printer);
    let outcome =
        outcome.and_then(|exit| printer.take_failure().map_or(Ok(exit), |error| Err(CommandError::Stdout(error))));
    let exit = match &outcome {
        Ok(exit) => *exit,
        Err(error) => {
            tracing::error!(code = %junio_api::Hint::code(error), "{error}");
            match output {
                RunOutput::Text => printer.err(&diagnostics::text(error, log.as_deref())),
                RunOutput::Json => printer.err(&diagnostics::to_json(error, log.as_deref()).to_string()),
            }
            error.exit()
        }
    };
    tracing::info!(code = exit as u8, "ended");
    exit
}

fn dispatch(command: Command, printer: &Printer) -> Result<Exit, CommandError> {
    match command {
        Command::Init(command) => init::run(command, printer),
        Command::Join(command) => join::run(command, printer),
        Command::Apply(args) => apply::run(args, printer),
        Command::Plan(args) => init::plan(args, printer),
        Command::Preflight(args) => preflight::run(args, printer),
        Command::Reset(args) => reset::run(args, printer),
        Command::Token(args) => token::run(args, printer),
        Command::Config(command) => config::run(command, printer),
        Command::Certs(command) => certs::run(&command, printer),
        Command::Kubeconfig(command) => kubeconfig::run(command, printer),
        Command::Lab(command) => lab::run(command, printer),
        Command::Explain { code } => explain::run(code.as_deref(), printer),
        Command::Version { output } => version::run(output, printer),
        Command::Agent(command) => agent::run(&command, printer),
        Command::Supervise { name } => supervise::run(&name, printer),
        Command::Completion { shell } => {
            printer.out(&cli::completion(shell));
            Ok(Exit::Ok)
        }
    }
}

impl Command {
    /// The first part of the debug log's name; `None` for commands that touch nothing and log nothing.
    fn log_name(&self) -> Option<&'static str> {
        match self {
            Self::Init(_) => Some("init"),
            Self::Join(_) => Some("join"),
            Self::Apply(_) => Some("apply"),
            Self::Plan(_) => Some("plan"),
            Self::Preflight(_) => Some("preflight"),
            Self::Reset(_) => Some("reset"),
            Self::Token(_) => Some("token"),
            Self::Lab(_) => Some("lab"),
            _ => None,
        }
    }

    fn run_output(&self) -> RunOutput {
        match self {
            Self::Init(command) => match &command.phase {
                Some(cli::InitSubcommand::Phase { command }) => command.flags.args.output,
                None => command.args.output,
            },
            Self::Join(command) => match &command.phase {
                Some(cli::JoinSubcommand::Phase(phase)) => phase.args.output,
                None => command.args.output,
            },
            Self::Apply(args) => args.output,
            Self::Plan(args) => args.output,
            Self::Preflight(args) => args.output,
            Self::Reset(args) => args.output,
            _ => RunOutput::Text,
        }
    }
}

fn start_log(cli: &Cli) -> Option<PathBuf> {
    let directory = Layout::default().junioadm_log_dir();
    let name = cli.command.log_name();
    debug_log::start(name.map(|_| directory.as_path()), name.unwrap_or_default(), cli.verbosity)
}

fn change_root(root: &std::path::Path) -> Result<(), CommandError> {
    let fail = |errno: nix::Error| CommandError::Read { path: root.to_owned(), source: errno.into() };
    nix::unistd::chroot(root).map_err(fail)?;
    nix::unistd::chdir("/").map_err(fail)
}

/// Runs what needs tasks and time, with a token that Ctrl-C cancels.
fn block_on<T, F>(printer: &Printer, work: impl FnOnce(CancellationToken) -> F) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    // One TLS provider for every client of this process; a second call finds it there and that is fine.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let outcome = runtime.block_on(async {
        let cancel = interrupt::token(printer).map_err(CommandError::Runtime)?;
        work(cancel).await
    });
    // A blocking read that nobody waits for must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Warnings of the configuration, before anything starts.
fn show_warnings(warnings: &[junio_api::config::Warning], output: RunOutput, printer: &Printer) {
    for warning in warnings {
        match output {
            RunOutput::Text => printer.err(&format!("warning: {}", warning.text)),
            RunOutput::Json => printer.err(&serde_json::json!({ "type": "warning", "text": warning.text }).to_string()),
        }
    }
}

/// JSON for people and programs.
fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
