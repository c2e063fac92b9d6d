//! One command on one channel: its input, its output as it comes, its end.

use std::sync::Arc;
use std::time::Duration;

use junio_api::Secret;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::SshError;
use super::connect::Link;
use super::words::plain;

/// For a channel to open and a command to start.
const START: Duration = Duration::from_secs(30);
/// A command has ended, and something it left behind holds its output open.
const LEFT_OVER: Duration = Duration::from_secs(5);
const PIECE: usize = 128 * 1024;

/// Where a command wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Error,
}

/// How a command ended whose output was handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// The last lines of its standard error.
    pub stderr: String,
}

/// What must happen before a command gets its input: sudo may want a password, or not, and says so.
pub(super) struct Gate {
    /// What sudo writes when it wants the password.
    pub prompt: String,
    /// What is written when the command starts.
    pub ready: String,
    pub password: Secret<String>,
}

/// What sudo says before the command has started, when it does not let it start.
pub(super) struct Barred(pub String);

pub(super) enum Outcome {
    /// Exit code; `None` after a signal.
    Exited(Option<i32>),
    Barred(Barred),
}

/// A command to run and what goes into it.
pub(super) struct Execution<'a, R> {
    pub command: String,
    /// What is being done, for errors: `running docker`.
    pub during: &'a str,
    pub gate: Option<&'a Gate>,
    pub input: R,
}

/// Closes the channel however the work with it ends. A command that still runs sees the end of its input, and finds its
/// output closed; it gets no signal, which sshd would not pass on to a root user's command.
struct Closing(Arc<ChannelWriteHalf<Msg>>);

impl Drop for Closing {
    fn drop(&mut self) {
        let channel = Arc::clone(&self.0);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // ends at once: either the connection takes the message or it is gone
            runtime.spawn(async move { channel.close().await });
        }
    }
}

impl<R: AsyncRead + Unpin> Execution<'_, R> {
    /// Runs the command. `progress` gets the number of bytes of input that were handed to the connection so far.
    pub async fn run(
        mut self,
        link: &Link,
        mut output: impl FnMut(Stream, &[u8]) -> Result<(), SshError>,
        mut progress: impl FnMut(u64),
    ) -> Result<Outcome, SshError> {
        let lost = || link.lost(self.during);
        let refused = |reason: String| SshError::Handshake { host: link.hop.name.clone(), port: link.hop.port, reason };
        let started = async {
            let channel = match link.handle.channel_open_session().await {
                Ok(channel) => channel,
                Err(russh::Error::ChannelOpenFailure(why)) => {
                    return Err(refused(format!(
                        "it opens no session ({why:?}; MaxSessions in its sshd_config must be 10)"
                    )));
                }
                Err(_) => return Err(lost()),
            };
            let (read, write) = channel.split();
            let write = Arc::new(write);
            let closing = Closing(Arc::clone(&write));
            write.exec(true, std::mem::take(&mut self.command)).await.map_err(|_| lost())?;
            Ok((read, write, closing))
        };
        let (mut read, write, _closing) = match timeout(START, started).await {
            Ok(started) => started?,
            Err(_) => return Err(link.lost(format!("{} (no answer within {} s)", self.during, START.as_secs()))),
        };
        if let Some(gate) = self.gate {
            match pass(gate, &mut read, &write, &lost).await? {
                Ok(early) => {
                    output(Stream::Output, &early.output)?;
                    output(Stream::Error, &early.error)?;
                }
                Err(barred) => return Ok(Outcome::Barred(barred)),
            }
        }
        let feeding = feed(&mut self.input, &write, &mut progress);
        tokio::pin!(feeding);
        let (mut fed, mut code, mut ended) = (false, None, None::<Instant>);
        loop {
            let message = tokio::select! {
                message = read.wait() => message,
                done = &mut feeding, if !fed => {
                    fed = true;
                    match done {
                        Fed::All | Fed::NotTaken => continue,
                        Fed::SourceFailed(source) => {
                            let (host, during) = (link.hop.name.clone(), self.during.to_owned());
                            return Err(SshError::Source { host, during, source });
                        }
                    }
                }
                () = sleep_until(ended.unwrap_or_else(Instant::now) + LEFT_OVER), if ended.is_some() => None,
            };
            match message {
                Some(ChannelMsg::Data { data }) => output(Stream::Output, &data)?,
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => output(Stream::Error, &data)?,
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    code = Some(i32::try_from(exit_status).ok());
                    ended = Some(Instant::now());
                }
                Some(ChannelMsg::ExitSignal { .. }) => {
                    code = Some(None);
                    ended = Some(Instant::now());
                }
                Some(ChannelMsg::Failure) if code.is_none() => return Err(refused("it runs no commands".to_owned())),
                Some(ChannelMsg::Close) | None => return code.map(Outcome::Exited).ok_or_else(lost),
                Some(_) => {}
            }
        }
    }
}

enum Fed {
    All,
    /// The command, or the connection, does not want any more; how it ended says why.
    NotTaken,
    SourceFailed(std::io::Error),
}

async fn feed(
    input: &mut (impl AsyncRead + Unpin),
    write: &ChannelWriteHalf<Msg>,
    progress: &mut impl FnMut(u64),
) -> Fed {
    let mut sent = 0u64;
    loop {
        let mut piece = vec![0; PIECE];
        let length = match input.read(&mut piece).await {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => return Fed::SourceFailed(error),
        };
        piece.truncate(length);
        if write.data_bytes(piece).await.is_err() {
            return Fed::NotTaken;
        }
        sent += length as u64;
        progress(sent);
    }
    if write.eof().await.is_err() { Fed::NotTaken } else { Fed::All }
}

/// Waits for the command to start, and gives sudo the password when it asks; not before, because what sudo does not read
/// would be read by the command. Returns what the command wrote meanwhile: its two streams are not in step.
async fn pass(
    gate: &Gate,
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    lost: &impl Fn() -> SshError,
) -> Result<Result<Early, Barred>, SshError> {
    let (mut output, mut said) = (Vec::new(), Vec::new());
    let mut asked = false;
    let find = |said: &[u8], word: &str| said.windows(word.len()).position(|window| window == word.as_bytes());
    let waiting = async {
        loop {
            match read.wait().await {
                Some(ChannelMsg::Data { data }) => output.extend_from_slice(&data),
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => said.extend_from_slice(&data),
                Some(ChannelMsg::ExitStatus { .. } | ChannelMsg::ExitSignal { .. } | ChannelMsg::Failure) => {
                    return Ok(Err(Barred(plain(&said))));
                }
                Some(ChannelMsg::Close) | None => return Err(lost()),
                Some(_) => {}
            }
            if let Some(at) = find(&said, &gate.ready) {
                return Ok(Ok(Early { output, error: said.split_off(at + gate.ready.len()) }));
            }
            if let Some(at) = find(&said, &gate.prompt) {
                if asked {
                    return Ok(Err(Barred("the password is wrong".to_owned())));
                }
                asked = true;
                said.drain(..at + gate.prompt.len());
                let mut line = gate.password.expose().clone().into_bytes();
                line.push(b'\n');
                write.data_bytes(line).await.map_err(|_| lost())?;
            }
        }
    };
    match timeout(START, waiting).await {
        Ok(result) => result,
        Err(_) => Ok(Err(Barred(format!("no answer within {} s", START.as_secs())))),
    }
}

/// What a command wrote before we knew that it had started.
struct Early {
    output: Vec<u8>,
    error: Vec<u8>,
}
