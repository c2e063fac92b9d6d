//! What can go wrong between here and a host, one variant per case, each with host and port.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    #[error("{text:?} is no SSH target: {reason}")]
    Target { text: String, reason: &'static str },
    #[error("{}:{line}: {reason}", .file.display())]
    Config { file: PathBuf, line: usize, reason: String },
    #[error("cannot read {}", .file.display())]
    ConfigFile { file: PathBuf, source: io::Error },
    #[error("the way to {host} goes through itself or through more than {limit} hosts")]
    JumpLoop { host: String, limit: usize },
    #[error("the name {host} cannot be resolved")]
    Resolve { host: String, source: io::Error },
    #[error("{host} port {port} refused the connection")]
    Refused { host: String, port: u16 },
    #[error("cannot reach {host} port {port}{}: {reason}", through(.via))]
    Unreachable { host: String, port: u16, via: Option<String>, reason: String },
    #[error("{host} port {port} did not answer within {seconds} s while {during}")]
    Timeout { host: String, port: u16, seconds: u64, during: &'static str },
    #[error("no SSH connection with {host} port {port}: {reason}")]
    Handshake { host: String, port: u16, reason: String },
    #[error("the {algorithm} key {fingerprint} of {host} port {port} is not known")]
    UnknownHostKey { host: String, port: u16, algorithm: String, fingerprint: String },
    #[error(
        "the host key of {host} port {port} has changed: it shows {algorithm} {fingerprint}, and {} is known",
        .known.join(", ")
    )]
    ChangedHostKey {
        host: String,
        port: u16,
        algorithm: String,
        fingerprint: String,
        /// `FILE:LINE has ALGORITHM FINGERPRINT` for each key that the host is known by.
        known: Vec<String>,
        /// As it stands in known_hosts: `host` or `[host]:port`.
        name: String,
        file: PathBuf,
    },
    #[error("the key {fingerprint} of {host} port {port} is revoked by {at}")]
    RevokedHostKey { host: String, port: u16, fingerprint: String, at: String },
    #[error("the host certificate of {host} port {port} is refused: {reason}")]
    HostCertificate { host: String, port: u16, reason: String },
    #[error("cannot read or extend {}", .file.display())]
    KnownHosts { file: PathBuf, source: io::Error },
    #[error("{host} port {port} accepts no key for {user}; tried: {}", list(.tried))]
    NoKeyAccepted { user: String, host: String, port: u16, tried: Vec<String>, methods: Vec<String> },
    #[error("the key {} is encrypted, and its passphrase {}", .key.display(), passphrase(*.wrong))]
    KeyEncrypted { key: PathBuf, wrong: bool },
    #[error("the key {} can be read by others: its mode is {mode:04o}", .key.display())]
    KeyMode { key: PathBuf, mode: u32 },
    #[error("the key {} cannot be read: {reason}", .key.display())]
    Key { key: PathBuf, reason: String },
    #[error("sudo wants the password of {user} on {host}, and there is none to give")]
    SudoPassword { user: String, host: String },
    #[error("sudo refuses {user} on {host}: {reason}")]
    SudoRefused { user: String, host: String, reason: String },
    #[error("the connection with {host} port {port} was lost while {during}: {reason}")]
    Lost { host: String, port: u16, during: String, reason: String },
    #[error("{command} on {host} did not end within {seconds} s")]
    CommandTimeout { host: String, command: String, seconds: u64 },
    #[error("{command} on {host} wrote more than {limit} bytes")]
    TooMuchOutput { host: String, command: String, limit: usize },
    #[error("{} could not be sent to {host}: {reason}", .path.display())]
    Transfer { host: String, path: PathBuf, reason: String },
    #[error("{} arrived on {host} with another content", .path.display())]
    Checksum { host: String, path: PathBuf },
    #[error("what goes to {host} cannot be read (while {during})")]
    Source { host: String, during: String, source: io::Error },
}

#[expect(clippy::ref_option, reason = "called by the derived Display with a reference to the field")]
fn through(via: &Option<String>) -> String {
    via.as_ref().map(|host| format!(" (from {host})")).unwrap_or_default()
}

fn passphrase(wrong: bool) -> &'static str {
    if wrong { "was wrong" } else { "is not known" }
}

fn list(tried: &[String]) -> String {
    if tried.is_empty() { "nothing, for there is no key here".to_owned() } else { tried.join(", ") }
}
