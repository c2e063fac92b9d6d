//! Files that appear whole or not at all, with the right mode from the first byte on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::PkiError;

/// Keys, kubeconfigs, requests and `sa.pub`.
pub const MODE_SECRET: u32 = 0o600;
/// Certificates.
pub const MODE_PUBLIC: u32 = 0o644;
/// `/etc/kubernetes`, `pki`, `pki/etcd`.
pub const MODE_DIRECTORY: u32 = 0o755;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Creates a directory and its parents with `mode`, whatever the umask; existing ones keep theirs.
pub fn ensure_directory(path: &Path, mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::Write { path: path.to_owned(), source };
    let mut missing = Vec::new();
    let mut at = path;
    while !at.as_os_str().is_empty() && !at.try_exists().map_err(fail)? {
        missing.push(at);
        let Some(parent) = at.parent() else { break };
        at = parent;
    }
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(directory) {
            Ok(()) => fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(fail)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(())
}

/// Writes a file beside its place, syncs it and renames it. A reader sees the old content or the new one. Call
/// [`sync_directory`] once after the last file of a directory.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::Write { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?.to_string_lossy();
    let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".{name}.{}-{serial}.tmp", std::process::id()));
    let written = write_new(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // Best effort: what matters is the error that we already have.
        let _ = fs::remove_file(&temporary);
        fail(source)
    })
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?; // the umask may have taken bits
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), PkiError> {
    File::open(path).and_then(|d| d.sync_all()).map_err(|source| PkiError::Write { path: path.to_owned(), source })
}

/// The text of a file; `None` when it does not exist.
pub fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Read { path: path.to_owned(), source }),
    }
}

/// `DIR/STEM.crt`.
#[must_use]
pub fn certificate_path(directory: &Path, stem: &str) -> PathBuf {
    directory.join(format!("{stem}.crt"))
}

/// `DIR/STEM.key`.
#[must_use]
pub fn key_path(directory: &Path, stem: &str) -> PathBuf {
    directory.join(format!("{stem}.key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories_get_their_modes_and_leave_nothing_behind() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = root.path().join("a/b");
        ensure_directory(&directory, 0o755).expect("creates");
        let file = directory.join("k");
        write(&file, b"one", 0o600).expect("writes");
        write(&file, b"two", 0o644).expect("replaces");
        sync_directory(&directory).expect("syncs");
        assert_eq!(fs::read(&file).expect("reads"), b"two");
        let mode = |p: &Path| fs::metadata(p).expect("exists").permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&directory)), (0o644, 0o755));
        assert_eq!(fs::read_dir(&directory).expect("lists").count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let root = tempfile::tempdir().expect("temporary directory");
        let target = root.path().join("taken");
        fs::create_dir(&target).expect("creates");
        fs::write(target.join("inside"), "x").expect("writes");
        assert!(write(&target, b"new", 0o600).is_err());
        assert_eq!(fs::read_dir(root.path()).expect("lists").count(), 1, "no temporary file stays");
    }
}
