//! A program on this machine whose output is handed on as it comes, as [`crate::ssh::Connection`] does it on others.

use std::process::Stdio;

use junio_api::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::error::HostError;
use crate::ssh::{Ended, Stream};

/// Lines of standard error that are kept for an error.
const TAIL: usize = 10;

/// Runs a program and hands on its output line by line. When the future is dropped the program is ended.
///
/// # Errors
/// When it cannot be started, or its output cannot be read.
pub async fn run_streaming(
    words: &[&str],
    stdin: Option<&Secret<Vec<u8>>>,
    on_line: impl Fn(Stream, &str),
) -> Result<Ended, HostError> {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let failed = |source| HostError::Spawn { program: (*program).to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let pipe = child.stdin.take();
    let feed = async {
        if let (Some(mut pipe), Some(content)) = (pipe, stdin) {
            // A program that does not read all of it says so by its exit code.
            let _ = pipe.write_all(content.expose()).await;
        }
    };
    let mut tail = Vec::new();
    let output = child.stdout.take();
    let errors = child.stderr.take();
    let read_output = async {
        let Some(output) = output else { return Ok(()) };
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            on_line(Stream::Output, &line);
        }
        Ok(())
    };
    let read_errors = async {
        let Some(errors) = errors else { return Ok(()) };
        let mut lines = BufReader::new(errors).lines();
        while let Some(line) = lines.next_line().await? {
            on_line(Stream::Error, &line);
            tail.push(line);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        Ok(())
    };
    let ((), output, errors): ((), std::io::Result<()>, std::io::Result<()>) =
        tokio::join!(feed, read_output, read_errors);
    output.and(errors).map_err(failed)?;
    let status = child.wait().await.map_err(failed)?;
    Ok(Ended { code: status.code(), stderr: tail.join("\n") })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn both_streams_come_as_lines_and_the_end_has_the_code() {
        let heard = Mutex::new(Vec::new());
        let script = "read word; echo \"$word\"; echo bad >&2; exit 3";
        let input = Secret::new(b"secret\n".to_vec());
        let on_line = |stream, line: &str| heard.lock().expect("no panic").push((stream, line.to_owned()));
        let ended = run_streaming(&["sh", "-c", script], Some(&input), on_line).await.expect("runs");
        assert_eq!(ended, Ended { code: Some(3), stderr: "bad".to_owned() });
        let heard = heard.into_inner().expect("no panic");
        assert!(
            heard.contains(&(Stream::Output, "secret".to_owned()))
                && heard.contains(&(Stream::Error, "bad".to_owned()))
        );
    }
}
