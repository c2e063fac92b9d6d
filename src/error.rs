//! Everything that a command can end with, in one enum, so that it is shown in one way.

use std::io;
use std::path::PathBuf;

use junio_api::config::{ConfigError, FieldError, Kind};
use junio_api::hint::{Code, Hint, NextStep};
use junio_api::yaml::EmitError;
use junio_lab::LabError;
use junio_phases::fleet::HostFailure;
use junio_phases::{ApiError, ErrorClass, PhaseError, UnknownPhase};
use junio_pki::PkiError;

use crate::commands::explain;
use crate::exit::Exit;
use crate::settings::Source;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{error}")]
    Config { source_text: Source, error: ConfigError },
    /// Values that are not allowed, with the text that they came from when there was one.
    #[error("{} in the configuration", count(.problems.len()))]
    Invalid { source_text: Option<Source>, problems: Vec<FieldError> },
    #[error(transparent)]
    UnknownPhase(#[from] UnknownPhase),
    #[error("unknown error code {0}")]
    UnknownCode(String),
    #[error(transparent)]
    Phase(#[from] PhaseError),
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Before any of several hosts was touched.
    #[error("{}", .0.message)]
    Fleet(HostFailure),
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("cannot start {program}")]
    Start {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Emit(#[from] EmitError),
}

fn count(problems: usize) -> String {
    if problems == 1 { "one mistake".into() } else { format!("{problems} mistakes") }
}

impl From<HostFailure> for CommandError {
    fn from(failure: HostFailure) -> Self {
        Self::Fleet(failure)
    }
}

impl Hint for CommandError {
    fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code("USAGE"),
            Self::Read { .. } => Code("FILE-READ"),
            Self::Write { .. } => Code("FILE-WRITE"),
            Self::Config { error, .. } => error.code(),
            Self::Invalid { .. } => Code("CONFIG-INVALID"),
            Self::UnknownPhase(_) => Code("UNKNOWN-PHASE"),
            Self::UnknownCode(_) => Code("UNKNOWN-CODE"),
            Self::Phase(error) => error.code(),
            Self::Api(error) => error.code(),
            Self::Fleet(failure) => explain::known(&failure.code).unwrap_or(Code("INTERNAL")),
            Self::Lab(error) => error.code(),
            Self::Pki(error) => error.code(),
            Self::Start { .. } => Code("PROGRAM-START"),
            Self::Stdout(_) => Code("STDOUT"),
            Self::Runtime(_) | Self::Emit(_) | Self::Random(_) => Code("INTERNAL"),
        }
    }

    fn next_step(&self) -> Option<NextStep> {
        match self {
            Self::Usage(_) => Some(NextStep::command("junioadm --help")),
            Self::Config { source_text, error } => {
                let step = error.next_step()?;
                let command = step.command.map(|command| command.replace("FILE", &source_text.name));
                Some(NextStep { command, ..step })
            }
            Self::Invalid { problems, .. } => {
                let kind = match problems.first().map(|problem| problem.kind) {
                    Some(Kind::JoinConfiguration) => "join-defaults",
                    Some(Kind::Cluster) => "cluster-defaults",
                    _ => "init-defaults",
                };
                let step = NextStep::command(format!("junioadm config print {kind}"));
                Some(step.because("nothing was changed on this host"))
            }
            Self::UnknownPhase(_) => Some(NextStep::command("junioadm init phase --help")),
            Self::UnknownCode(_) => Some(NextStep::command("junioadm explain")),
            Self::Phase(error) => error.next_step(),
            Self::Api(error) => error.next_step(),
            Self::Fleet(failure) => {
                Some(NextStep { why: failure.why.clone(), command: failure.next.clone(), docs: None })
            }
            Self::Lab(error) => error.next_step(),
            Self::Pki(error) => error.next_step(),
            _ => None,
        }
    }

    fn expected(&self) -> bool {
        match self {
            Self::Phase(error) => error.expected(),
            Self::Api(error) => error.expected(),
            Self::Lab(error) => error.expected(),
            Self::Pki(error) => error.expected(),
            Self::Runtime(_) | Self::Emit(_) | Self::Random(_) => false,
            _ => true,
        }
    }
}

impl CommandError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Read { .. } | Self::Config { .. } | Self::Invalid { .. } => Exit::Usage,
            Self::UnknownPhase(_) | Self::UnknownCode(_) => Exit::Usage,
            Self::Phase(error) => match error.class() {
                ErrorClass::Usage => Exit::Usage,
                ErrorClass::Preflight => Exit::Preflight,
                ErrorClass::Phase => Exit::Phase,
                ErrorClass::Interrupted => Exit::Interrupted,
                ErrorClass::Bug => Exit::Bug,
            },
            Self::Fleet(failure) if failure.code == "JUNIO-INTERRUPTED" => Exit::Interrupted,
            Self::Lab(LabError::Interrupted) => Exit::Interrupted,
            Self::Lab(error) if error.is_usage() => Exit::Usage,
            _ if !self.expected() => Exit::Bug,
            _ => Exit::Phase,
        }
    }
}
