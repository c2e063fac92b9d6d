//! Becoming root: directly, through sudo, or through sudo with a password that goes over the channel.

use junio_api::Secret;
use rand::RngExt;

use super::channel::{Barred, Execution, Gate, Outcome, Stream};
use super::connect::Link;
use super::words::{plain, quote};
use super::{Prompter, SshError, SudoPolicy, Target};

/// How commands of this connection become root.
pub(super) enum Privilege {
    /// They are, or shall not be.
    Direct,
    Sudo,
    Password(Gate),
}

impl Privilege {
    /// Finds out what the host wants, and asks for the password if that is it.
    pub async fn find(link: &Link, policy: SudoPolicy, prompter: &dyn Prompter) -> Result<Self, SshError> {
        let (user, host) = (link.hop.user.clone(), link.hop.name.clone());
        match policy {
            SudoPolicy::Never => return Ok(Self::Direct),
            SudoPolicy::Auto if user == "root" => return Ok(Self::Direct),
            SudoPolicy::Auto | SudoPolicy::Always => {}
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let looking = Execution {
            command: "id -u; env LC_ALL=C sudo -n -- sh -c :".to_owned(),
            during: "looking for sudo",
            gate: None,
            input: tokio::io::empty(),
        };
        let outcome =
            looking.run(link, |stream, bytes| gather(stream, bytes, &mut stdout, &mut stderr), |_| ()).await?;
        let is_root = String::from_utf8_lossy(&stdout).trim() == "0";
        if is_root && policy == SudoPolicy::Auto {
            return Ok(Self::Direct);
        }
        if matches!(outcome, Outcome::Exited(Some(0))) {
            return Ok(Self::Sudo);
        }
        let said = plain(&stderr);
        if !said.contains("password is required") {
            return Err(SshError::SudoRefused { user, host, reason: said });
        }
        let target = Target { user: Some(user.clone()), host: host.clone(), port: Some(link.hop.port) };
        let Some(password) = prompter.sudo_password(&target).await else {
            return Err(SshError::SudoPassword { user, host });
        };
        let found = Self::with_password(password);
        found.try_it(link).await?;
        Ok(found)
    }

    fn with_password(password: Secret<String>) -> Self {
        // nobody on the host can foresee these words and play sudo
        let word: [u8; 16] = rand::rng().random();
        let word = hex::encode(word);
        Self::Password(Gate {
            prompt: format!("junioadm-password-{word}:"),
            ready: format!("junioadm-start-{word}\n"),
            password,
        })
    }

    async fn try_it(&self, link: &Link) -> Result<(), SshError> {
        let trying = Execution {
            command: self.command(&["true"]),
            during: "trying sudo",
            gate: self.gate(),
            input: tokio::io::empty(),
        };
        match trying.run(link, |_, _| Ok(()), |_| ()).await? {
            Outcome::Exited(Some(0)) => Ok(()),
            Outcome::Exited(_) => Err(self.barred(link, Barred("it does not run `true`".to_owned()))),
            Outcome::Barred(barred) => Err(self.barred(link, barred)),
        }
    }

    /// What the login shell is given.
    pub fn command(&self, words: &[&str]) -> String {
        match self {
            Self::Direct => quote(words),
            Self::Sudo => format!("sudo -n -- {}", quote(words)),
            Self::Password(gate) => {
                let script = format!("echo {} >&2; exec \"$@\"", gate.ready.trim_end());
                format!("sudo -S -p {} -- sh -c {} sh {}", quote([&gate.prompt]), quote([&script]), quote(words))
            }
        }
    }

    pub fn gate(&self) -> Option<&Gate> {
        match self {
            Self::Password(gate) => Some(gate),
            Self::Direct | Self::Sudo => None,
        }
    }

    #[expect(clippy::unused_self, reason = "only a connection with sudo is barred by it")]
    pub fn barred(&self, link: &Link, Barred(reason): Barred) -> SshError {
        SshError::SudoRefused { user: link.hop.user.clone(), host: link.hop.name.clone(), reason }
    }
}

fn gather(stream: Stream, bytes: &[u8], stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> Result<(), SshError> {
    let into = if stream == Stream::Output { stdout } else { stderr };
    // an answer of a few words; a host that says more is not heard
    into.extend_from_slice(&bytes[..bytes.len().min(4096usize.saturating_sub(into.len()))]);
    Ok(())
}
