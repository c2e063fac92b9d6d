//! Commands on a host through the machine's Docker Engine. Works before sshd does and when the network is cut.

use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt;

use crate::LabError;

/// Which stream of a command a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// A finished command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit code; 128 + N after signal N.
    pub status: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Standard output as text, without the line end at its end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error as text, without the line end at its end.
    #[must_use]
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// Runs `command` in `container` as root and hands over its output as it comes. Returns the exit code.
/// Ending the future early does not end the command.
pub(crate) async fn stream(
    docker: &Docker,
    container: &str,
    command: &[&str],
    mut output: impl FnMut(OutputStream, &[u8]) + Send,
) -> Result<i64, LabError> {
    let failed = || LabError::engine(format!("run {} on {container}", command.join(" ")));
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(vec!["HOME=/root", "TERM=dumb"]),
        working_dir: Some("/root"),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let created = docker.create_exec(container, options).await.map_err(failed())?;
    let started = docker.start_exec(&created.id, None::<StartExecOptions>).await.map_err(failed())?;
    if let StartExecResults::Attached { output: mut chunks, input } = started {
        // `input` is the write half of the same connection: it stays open until the output has ended
        while let Some(chunk) = chunks.next().await {
            match chunk.map_err(failed())? {
                LogOutput::StdErr { message } => output(OutputStream::Stderr, &message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    output(OutputStream::Stdout, &message)
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        drop(input);
    }
    // The output ends when the process closes it; the engine records the exit a moment later.
    loop {
        let inspected = docker.inspect_exec(&created.id).await.map_err(failed())?;
        if let (Some(false), Some(status)) = (inspected.running, inspected.exit_code) {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs `command` in `container` and gathers its output.
pub(crate) async fn run(docker: &Docker, container: &str, command: &[&str]) -> Result<ExecOutput, LabError> {
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let status = stream(docker, container, command, |from, bytes| match from {
        OutputStream::Stdout => stdout.extend_from_slice(bytes),
        OutputStream::Stderr => stderr.extend_from_slice(bytes),
    })
    .await?;
    Ok(ExecOutput { status, stdout, stderr })
}
