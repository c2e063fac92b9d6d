//! What can go wrong while a bundle is built.

use std::path::PathBuf;
use std::process::{Command, Output};

use junio_bundle::BundleError;

/// Why a build stopped.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot {operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot run {program}; {hint}")]
    Spawn { program: String, hint: &'static str, source: std::io::Error },
    #[error("{program} failed ({status}): {output}")]
    Failed { program: String, status: std::process::ExitStatus, output: String },
    #[error("cannot {operation}")]
    Json { operation: &'static str, source: serde_json::Error },
    #[error("{0}")]
    Unexpected(String),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl BuildError {
    pub fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    pub fn json(operation: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json { operation, source }
    }
}

/// Runs a program and returns its standard output; `hint` says what to do when it is absent.
pub fn run(command: &mut Command, hint: &'static str) -> Result<Vec<u8>, BuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|source| BuildError::Spawn { program: program.clone(), hint, source })?;
    if status.success() {
        return Ok(stdout);
    }
    let text = String::from_utf8_lossy(&stderr);
    let lines: Vec<_> = text.lines().collect();
    let output = lines[lines.len().saturating_sub(20)..].join("\n");
    Err(BuildError::Failed { program, status, output })
}

/// As [`run`], with the output as text.
pub fn run_text(command: &mut Command, hint: &'static str) -> Result<String, BuildError> {
    Ok(String::from_utf8_lossy(&run(command, hint)?).into_owned())
}
