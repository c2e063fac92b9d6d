//! Who a host is: the keys that known_hosts files hold for it, matched as OpenSSH does.
//!
//! Owner of the decision about a host key. Knows no network.

mod certificate;
mod line;
mod pin;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use russh::keys::{Certificate, HashAlg, PublicKey};

use line::{Line, Marker};

/// The host that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// Lower case: an address, a name, or the alias of `HostKeyAlias`.
    host: String,
    /// Part of the name unless it is 22; `None` with an alias.
    port: Option<u16>,
}

impl HostName {
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_ascii_lowercase(), port: Some(port).filter(|port| *port != 22) }
    }

    #[must_use]
    pub fn alias(alias: &str) -> Self {
        Self { host: alias.to_ascii_lowercase(), port: None }
    }
}

/// As it stands in known_hosts.
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "[{}]:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What known_hosts says about a host and the key it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's, or its certificate is signed by the host's authority.
    Known(Place),
    /// Nothing is known about this host.
    Unknown,
    /// The host is known by other keys.
    Changed(Vec<(Place, String)>),
    /// The key, or the authority of its certificate, is revoked.
    Revoked(Place),
    /// The host's authority signed the certificate, and it does not hold.
    BadCertificate(String),
}

/// The lines of some files that say something about one host.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    name: HostName,
    lines: Vec<(Place, Line)>,
    /// Lines for the host on port 22, when another port is asked for.
    portless: Vec<(Place, Line)>,
}

impl KnownHosts {
    /// Reads what there is; a file that is missing says nothing.
    ///
    /// # Errors
    /// The file that is there and cannot be read: what it would refuse must not be accepted.
    pub fn load(files: &[PathBuf], name: HostName) -> Result<Self, (PathBuf, io::Error)> {
        let mut known = Self { name, lines: Vec::new(), portless: Vec::new() };
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((file.clone(), error)),
            }
        }
        Ok(known)
    }

    /// Takes over the lines of one file that are about the host.
    pub fn add(&mut self, file: &Path, bytes: &[u8]) {
        let name = self.name.to_string();
        for (index, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let Some(line) = std::str::from_utf8(text).ok().and_then(Line::parse) else { continue };
            let place = Place { file: file.to_owned(), line: index + 1 };
            if line.is_of(&name) {
                self.lines.push((place, line));
            } else if self.name.port.is_some() && line.is_of(&self.name.host) {
                self.portless.push((place, line));
            }
        }
    }

    /// Takes over a file of `RevokedHostKeys`: keys, one in a line, that no host may use.
    ///
    /// # Errors
    /// It cannot be read or understood; OpenSSH trusts nobody then.
    pub fn revoke(&mut self, file: &Path) -> io::Result<()> {
        let bytes = std::fs::read(file)?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if bytes.starts_with(b"SSHKRL\n\0") {
            return Err(invalid("revocation lists in binary form (KRL) are not understood; list the keys as text"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is no text"))?;
        for (index, key) in text.lines().enumerate() {
            if key.trim().is_empty() || key.trim_start().starts_with('#') {
                continue;
            }
            let line = Line::parse(&format!("@revoked * {key}"));
            let line = line.ok_or_else(|| invalid(&format!("line {} is no key", index + 1)))?;
            self.lines.push((Place { file: file.to_owned(), line: index + 1 }, line));
        }
        Ok(())
    }

    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// The keys that the host may show, for the order in which algorithms are offered.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let lines = if self.lines.is_empty() { &self.portless } else { &self.lines };
        lines.iter().filter(|(_, line)| line.marker == Marker::None).map(|(_, line)| &line.key)
    }

    /// Whether an authority may vouch for the host.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        self.lines.iter().any(|(_, line)| line.marker == Marker::CertAuthority)
    }

    /// Judges a plain key.
    #[must_use]
    pub fn judge(&self, key: &PublicKey) -> Verdict {
        if let Some(place) = self.revoked(key) {
            return Verdict::Revoked(place);
        }
        if let Some(place) = find(&self.lines, Marker::None, key) {
            return Verdict::Known(place);
        }
        let others: Vec<_> = self.lines.iter().filter(|(_, line)| line.marker == Marker::None).collect();
        if others.is_empty() {
            // as OpenSSH: a host that is known on port 22 by this very key is no stranger on another port
            return find(&self.portless, Marker::None, key).map_or(Verdict::Unknown, Verdict::Known);
        }
        let describe = |line: &Line| format!("{} {}", line::named(&line.key), fingerprint(&line.key));
        Verdict::Changed(others.into_iter().map(|(place, line)| (place.clone(), describe(line))).collect())
    }

    /// Judges a certificate; one of an authority that is not the host's is judged by the key in it, as OpenSSH does.
    #[must_use]
    pub fn judge_certificate(&self, certificate: &Certificate, now: u64) -> Verdict {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        if let Some(place) = self.revoked(&key).or_else(|| self.revoked(&authority)) {
            return Verdict::Revoked(place);
        }
        let Some(place) = find(&self.lines, Marker::CertAuthority, &authority) else { return self.judge(&key) };
        match certificate::check(certificate, &authority, &self.name.host, now) {
            Ok(()) => Verdict::Known(place),
            Err(reason) => Verdict::BadCertificate(format!("{reason} (its authority: {place})")),
        }
    }

    fn revoked(&self, key: &PublicKey) -> Option<Place> {
        find(&self.lines, Marker::Revoked, key).or_else(|| find(&self.portless, Marker::Revoked, key))
    }
}

fn find(lines: &[(Place, Line)], marker: Marker, key: &PublicKey) -> Option<Place> {
    let same = |line: &Line| line.marker == marker && line.key.key_data() == key.key_data();
    lines.iter().find(|(_, line)| same(line)).map(|(place, _)| place.clone())
}

/// `SHA256:...`, as ssh-keygen prints it.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

pub(super) use line::named;
pub(super) use pin::{Pin, pin};
