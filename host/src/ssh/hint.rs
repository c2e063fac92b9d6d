//! Codes of SSH errors and what to do about each.

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};

use super::SshError;
use super::words::quote;

impl Hint for SshError {
    fn code(&self) -> Code {
        match self {
            Self::Target { .. } => Code("SSH-TARGET"),
            Self::Config { .. } | Self::ConfigFile { .. } => Code("SSH-CONFIG"),
            Self::JumpLoop { .. } => Code("SSH-JUMP-LOOP"),
            Self::Resolve { .. } => Code("SSH-RESOLVE"),
            Self::Refused { .. } => Code("SSH-REFUSED"),
            Self::Unreachable { .. } => Code("SSH-UNREACHABLE"),
            Self::Timeout { .. } => Code("SSH-TIMEOUT"),
            Self::Handshake { .. } => Code("SSH-HANDSHAKE"),
            Self::UnknownHostKey { .. } => Code("SSH-HOST-KEY-UNKNOWN"),
            Self::ChangedHostKey { .. } => Code("SSH-HOST-KEY-CHANGED"),
            Self::RevokedHostKey { .. } => Code("SSH-HOST-KEY-REVOKED"),
            Self::HostCertificate { .. } => Code("SSH-HOST-CERTIFICATE"),
            Self::KnownHosts { .. } => Code("SSH-KNOWN-HOSTS"),
            Self::NoKeyAccepted { .. } => Code("SSH-NO-KEY-ACCEPTED"),
            Self::KeyEncrypted { .. } => Code("SSH-KEY-ENCRYPTED"),
            Self::KeyMode { .. } => Code("SSH-KEY-MODE"),
            Self::Key { .. } => Code("SSH-KEY"),
            Self::SudoPassword { .. } => Code("SSH-SUDO-PASSWORD"),
            Self::SudoRefused { .. } => Code("SSH-SUDO-REFUSED"),
            Self::Lost { .. } => Code("SSH-LOST"),
            Self::CommandTimeout { .. } => Code("SSH-COMMAND-TIMEOUT"),
            Self::TooMuchOutput { .. } => Code("SSH-OUTPUT"),
            Self::Transfer { .. } | Self::Source { .. } => Code("SSH-TRANSFER"),
            Self::Checksum { .. } => Code("SSH-CHECKSUM"),
        }
    }

    fn next_step(&self) -> Option<NextStep> {
        let ssh = |host: &str, port: &u16| command(&["ssh", "-v", "-p", &port.to_string(), host, "true"]);
        let reach = |host: &str, port: &u16| command(&["nc", "-vz", host, &port.to_string()]);
        let why = |text: &str| NextStep::default().because(text);
        let step = match self {
            Self::Target { .. } => why("a target is [user@]host[:port]; an IPv6 address with a port is in brackets"),
            Self::Config { .. } | Self::ConfigFile { .. } => {
                why("correct the file, or name another one in the SSH settings")
            }
            Self::JumpLoop { host, .. } => {
                command(&["ssh", "-G", host]).because("ProxyJump of ssh_config leads in a circle")
            }
            Self::Resolve { host, .. } => command(&["getent", "hosts", host]),
            Self::Refused { host, port, .. } => {
                reach(host, port).because("the host is there and nothing listens on that port")
            }
            Self::Unreachable { host, port, .. } | Self::Timeout { host, port, .. } => reach(host, port),
            Self::Handshake { host, port, .. } | Self::HostCertificate { host, port, .. } => ssh(host, port),
            Self::UnknownHostKey { host, port, .. } => command(&["ssh", "-p", &port.to_string(), host, "true"]).because(
                "compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host; ssh then \
                 writes the key down",
            ),
            Self::ChangedHostKey { name, file, .. } => {
                command(&["ssh-keygen", "-R", name, "-f", &file.to_string_lossy()]).because(
                    "the host was installed anew, or somebody stands between; forget the old key only if you know which",
                )
            }
            Self::RevokedHostKey { at, .. } => why(&format!("whoever wrote {at} no longer trusts this key")),
            Self::KnownHosts { file, .. } => command(&["ls", "-l", &file.to_string_lossy()]),
            Self::NoKeyAccepted { host, port, user, .. } => {
                command(&["ssh-copy-id", "-p", &port.to_string(), &format!("{user}@{host}")])
                    .because("junioadm logs in with keys only, never with a password")
            }
            Self::KeyEncrypted { key, .. } => command(&["ssh-add", &key.to_string_lossy()]),
            Self::KeyMode { key, .. } => command(&["chmod", "600", &key.to_string_lossy()]),
            Self::Key { key, .. } => command(&["ssh-keygen", "-l", "-f", &key.to_string_lossy()]),
            Self::SudoPassword { .. } => {
                why("run junioadm on a terminal, where it can ask, or allow the user sudo without a password")
            }
            Self::SudoRefused { user, host, .. } => command(&["ssh", &format!("{user}@{host}"), "sudo", "-l"]),
            Self::Lost { .. } => why("run the same command again: it goes on where it stopped"),
            Self::Transfer { host, path, .. } => {
                command(&["ssh", host, "df", "-h", &path.parent().unwrap_or(path).to_string_lossy()])
            }
            Self::Checksum { .. } => why("the partial file was removed; run the same command again"),
            Self::CommandTimeout { .. } | Self::TooMuchOutput { .. } | Self::Source { .. } => return None,
        };
        Some(step)
    }
}

fn command(words: &[&str]) -> NextStep {
    NextStep::command(quote(words))
}
