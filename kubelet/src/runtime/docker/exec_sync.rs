//! Commands that run to their end: exec probes and hooks. The engine cannot signal an exec, so a timeout kills the
//! process and its descendants by their host PIDs.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::client::DockerRuntime;
use super::error::{classify, io};
use super::process::kill_tree;
use super::streams::Streams;
use crate::runtime::{ContainerId, ExecOutcome, ExecRequest, RuntimeError};

const MOST_OUTPUT: usize = 16 * 1024;

impl DockerRuntime {
    pub(super) async fn run_exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutcome, RuntimeError> {
        let request = ExecRequest { command: command.to_vec(), tty: false, stdin: false, stdout: true, stderr: true };
        let exec = self.create_exec(id, &request).await?;
        let mut output = Vec::new();
        let run = async {
            let Streams { stdin: _kept, stdout, stderr, pump } = self.start_exec(&exec, false).await?;
            collect(stdout, stderr, &mut output).await;
            match pump.await {
                Ok(Ok(())) => self.exit_code(&exec).await,
                Ok(Err(source)) => Err(io("read", "exec output", source)),
                Err(source) => Err(io("read", "exec output", std::io::Error::other(source))),
            }
        };
        if let Ok(code) = tokio::time::timeout(timeout, run).await {
            return Ok(ExecOutcome::Exited { code: code?, output });
        }
        self.kill_exec(&exec).await?;
        Ok(ExecOutcome::TimedOut { output })
    }

    async fn kill_exec(&self, exec: &str) -> Result<(), RuntimeError> {
        let answer =
            self.docker().inspect_exec(exec).await.map_err(|error| classify("inspect", "exec", exec, error))?;
        let pid = answer.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        match pid {
            Some(pid) if answer.running == Some(true) => {
                kill_tree(pid).map_err(|error| io("kill", format!("exec process {pid}"), error))
            }
            _ => Ok(()),
        }
    }
}

/// Reads both to their ends, keeping the first part in order of arrival.
async fn collect(mut stdout: impl AsyncRead + Unpin, mut stderr: impl AsyncRead + Unpin, output: &mut Vec<u8>) {
    let (mut first, mut second) = ([0; 4096], [0; 4096]);
    let (mut first_open, mut second_open) = (true, true);
    while first_open || second_open {
        let piece = tokio::select! {
            read = stdout.read(&mut first), if first_open => match read {
                Ok(count) if count > 0 => &first[..count],
                _ => { first_open = false; continue }
            },
            read = stderr.read(&mut second), if second_open => match read {
                Ok(count) if count > 0 => &second[..count],
                _ => { second_open = false; continue }
            },
        };
        let room = MOST_OUTPUT.saturating_sub(output.len()).min(piece.len());
        output.extend_from_slice(&piece[..room]);
    }
}
