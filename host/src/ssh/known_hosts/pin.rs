//! Writing down the key of a host that was met for the first time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use russh::keys::PublicKey;

use super::{HostName, KnownHosts, Verdict, line};

/// What came of writing a key down.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ssh) enum Pin {
    /// What the file says about the key now, and whether that is by the line just written.
    Done { verdict: Verdict, added: bool },
    /// Another process is at it at this moment.
    Busy,
}

/// Appends the key unless another process did meanwhile. Several that meet hosts at the same time take turns by a lock on the
/// file.
///
/// # Errors
/// The file or its directory cannot be made, locked or written.
pub(in crate::ssh) fn pin(file: &Path, name: &HostName, key: &PublicKey, hashed: bool) -> io::Result<Pin> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut locked = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => locked,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(Pin::Busy),
        Err((_, errno)) => return Err(errno.into()),
    };
    let mut bytes = Vec::new();
    locked.seek(SeekFrom::Start(0))?;
    locked.read_to_end(&mut bytes)?;
    let mut known = KnownHosts { name: name.clone(), lines: Vec::new(), portless: Vec::new() };
    known.add(file, &bytes);
    let verdict = known.judge(key);
    if verdict != Verdict::Unknown {
        return Ok(Pin::Done { verdict, added: false });
    }
    let salt: Option<[u8; 20]> = hashed.then(rand::random);
    let text = line::write(&name.to_string(), key, salt.as_ref().map(<[u8; 20]>::as_slice))
        .ok_or_else(|| io::Error::other("the key cannot be written as text"))?;
    append(&mut locked, &mut bytes, &text)?;
    known.add(file, &bytes);
    Ok(Pin::Done { verdict: known.judge(key), added: true })
}

/// Appends a line, after the end of a last one that has none. What is in `before` then is in the file.
fn append(file: &mut File, before: &mut Vec<u8>, line: &str) -> io::Result<()> {
    let start = if before.last().is_none_or(|byte| *byte == b'\n') { "" } else { "\n" };
    let text = format!("{start}{line}");
    // one write, so that a reader without the lock sees all of the line or nothing
    file.write_all(text.as_bytes())?;
    before.extend_from_slice(text.as_bytes());
    file.sync_all()
}
