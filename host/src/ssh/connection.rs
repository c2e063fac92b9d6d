//! A host that we are logged in to: commands as root, their output at their end or as it comes.

use std::path::Path;
use std::time::Duration;

use junio_api::Secret;
use russh::Disconnect;
use tokio::io::AsyncRead;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::channel::{Ended, Execution, Outcome, Stream};
use super::client::HostIdentity;
use super::connect::{self, Link};
use super::lines::Lines;
use super::login::login;
use super::route::{self, Environment};
use super::sudo::Privilege;
use super::{Prompter, Settings, SshError, Target};
use crate::CommandOutput;

/// sshd allows ten sessions on a connection (`MaxSessions`), and counts those that have just ended until it next looks: when
/// all of ours end at once and as many begin, it sees twice as many.
const CHANNELS: usize = 5;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
const FAREWELL: Duration = Duration::from_secs(2);
/// What `run` keeps of a command's output.
const MOST_OUTPUT: usize = 64 << 20;
/// What is kept of a command's standard error for an error message.
const TAIL: usize = 4096;

/// One connection with many channels. May be used by several tasks at once; ends when it is dropped.
pub struct Connection {
    pub(super) link: Link,
    /// The hosts on the way, the nearest first.
    jumps: Vec<Link>,
    pub(super) privilege: Privilege,
    channels: Semaphore,
    command_timeout: Duration,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.link.hop.name)
            .field("user", &self.link.hop.user)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and logs in, through the jump hosts, and finds out how to become root. Nothing on the host is changed.
    ///
    /// # Errors
    /// One case of [`SshError`] per reason; all waits for the host are bounded by the settings.
    pub async fn connect(target: &Target, settings: &Settings, prompter: &dyn Prompter) -> Result<Self, SshError> {
        let (hops, warnings) = route::plan(target, settings, &Environment::of_this_process())?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let mut jumps: Vec<Link> = Vec::new();
        for hop in hops {
            let mut link = connect::link(hop, jumps.last()).await?;
            login(&mut link, prompter).await?;
            jumps.push(link);
        }
        // a plan ends with its target
        let Some(link) = jumps.pop() else {
            return Err(SshError::Target { text: target.to_string(), reason: "it leads nowhere" });
        };
        let privilege = Privilege::find(&link, settings.sudo, prompter).await?;
        Ok(Self {
            link,
            jumps,
            privilege,
            channels: Semaphore::new(CHANNELS),
            command_timeout: settings.command_timeout.map_or(COMMAND_TIMEOUT, |limit| limit.0),
            warnings,
        })
    }

    /// Who the host proved to be.
    #[must_use]
    pub fn identity(&self) -> &HostIdentity {
        &self.link.identity
    }

    /// The jump hosts that were met for the first time are among these, too.
    pub fn identities(&self) -> impl Iterator<Item = (&str, &HostIdentity)> {
        self.jumps.iter().chain([&self.link]).map(|link| (link.hop.name.as_str(), &link.identity))
    }

    /// The user that logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.link.hop.user
    }

    /// What of ssh_config was passed over and might matter.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Runs a program as root and gathers its output; any exit code is a result. Words reach the program as they are.
    ///
    /// # Errors
    /// The connection is lost, sudo refuses, or the command takes longer than the settings allow.
    pub async fn run(&self, words: &[&str], stdin: Option<&[u8]>) -> Result<CommandOutput, SshError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let gather = |stream, bytes: &[u8]| {
            let into = if stream == Stream::Output { &mut stdout } else { &mut stderr };
            if into.len() + bytes.len() > MOST_OUTPUT {
                let (host, command) = (self.link.hop.name.clone(), name(words).to_owned());
                return Err(SshError::TooMuchOutput { host, command, limit: MOST_OUTPUT });
            }
            into.extend_from_slice(bytes);
            Ok(())
        };
        let during = during(words);
        // the host ends it too: a command would not notice that nobody waits for it any more
        let limit = (self.command_timeout.as_secs() + 1).to_string();
        let bounded = [&["timeout", "-k", "5", &limit][..], words].concat();
        let running = self.execute(&bounded, &during, stdin.unwrap_or_default(), gather, |_| ());
        match timeout(self.command_timeout, running).await {
            Ok(code) => Ok(CommandOutput { code: code?, stdout, stderr }),
            Err(_) => Err(SshError::CommandTimeout {
                host: self.link.hop.name.clone(),
                command: name(words).to_owned(),
                seconds: self.command_timeout.as_secs(),
            }),
        }
    }

    /// Runs a program as root and hands on its output line by line as it comes. It may take as long as it likes while the
    /// host answers. When this is dropped before its end, or the connection is lost, the program sees the end of its input
    /// and a closed output, and goes on if it minds neither.
    ///
    /// # Errors
    /// The connection is lost, or sudo refuses.
    pub async fn run_streaming(
        &self,
        words: &[&str],
        stdin: Option<&Secret<Vec<u8>>>,
        mut on_line: impl FnMut(Stream, &str),
    ) -> Result<Ended, SshError> {
        let (mut stdout, mut stderr, mut tail) = (Lines::default(), Lines::default(), Vec::new());
        let input = stdin.map(|secret| secret.expose().as_slice()).unwrap_or_default();
        let hand_on = |stream, bytes: &[u8]| {
            let lines = match stream {
                Stream::Output => &mut stdout,
                Stream::Error => {
                    tail.extend_from_slice(bytes);
                    tail.drain(..tail.len().saturating_sub(TAIL));
                    &mut stderr
                }
            };
            lines.push(bytes, |line| on_line(stream, line));
            Ok(())
        };
        let code = self.execute(words, &during(words), input, hand_on, |_| ()).await?;
        stdout.finish(|line| on_line(Stream::Output, line));
        stderr.finish(|line| on_line(Stream::Error, line));
        Ok(Ended { code, stderr: String::from_utf8_lossy(&tail).trim().to_owned() })
    }

    /// Runs a program as root with whatever `input` gives, and returns its exit code.
    pub(super) async fn execute(
        &self,
        words: &[&str],
        during: &str,
        input: impl AsyncRead + Unpin,
        output: impl FnMut(Stream, &[u8]) -> Result<(), SshError>,
        progress: impl FnMut(u64),
    ) -> Result<Option<i32>, SshError> {
        let Ok(_one_of_few) = self.channels.acquire().await else { return Err(self.link.lost(during)) };
        let command = self.privilege.command(words);
        let execution = Execution { command, during, gate: self.privilege.gate(), input };
        match execution.run(&self.link, output, progress).await? {
            Outcome::Exited(code) => Ok(code),
            Outcome::Barred(barred) => Err(self.privilege.barred(&self.link, barred)),
        }
    }

    /// Says goodbye to the host and to those on the way.
    pub async fn close(self) {
        for link in [self.link].into_iter().chain(self.jumps.into_iter().rev()) {
            let farewell = async {
                if link.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                    let _ = link.handle.await;
                }
            };
            // a host that does not take it is left alone
            let _ = timeout(FAREWELL, farewell).await;
        }
    }
}

fn during(words: &[&str]) -> String {
    format!("running {}", name(words))
}

/// A program's name for messages. Its arguments are left out: they may be long, and are nobody's business.
fn name<'a>(words: &[&'a str]) -> &'a str {
    let program = words.first().copied().unwrap_or_default();
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program)
}
