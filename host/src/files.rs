//! Files on this machine: atomic and durable writes, removal that stays on one file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::HostError;

/// Makes `path` hold `content` with `mode`: a hidden neighbour is written, synced and renamed over it.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), HostError> {
    let fail = |source| HostError::Write { path: path.to_owned(), source };
    let temporary = temporary_beside(path).map_err(fail)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(fail)
}

/// A hidden name in the same directory; the kubelet ignores dot files in its manifest directory.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a directory and its parents (0755); the last one gets `mode` even when it exists.
pub fn create_dir(path: &Path, mode: u32) -> Result<(), HostError> {
    let fail = |source| HostError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(fail)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(fail(error)),
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail)
}

/// Removes a file or link; false when there was none.
pub fn remove_file(path: &Path) -> Result<bool, HostError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(source) => Err(HostError::Remove { path: path.to_owned(), source }),
    }
}

/// Removes a tree. Links are removed, not followed; a directory on another file system stops it with `CrossesDevices`.
pub fn remove_tree(path: &Path) -> Result<bool, HostError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(source) => return Err(HostError::Remove { path: path.to_owned(), source }),
    };
    if !metadata.is_dir() {
        return remove_file(path);
    }
    remove_below(path, metadata.dev())?;
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(true),
        Err(source) => Err(HostError::Remove { path: path.to_owned(), source }),
    }
}

fn remove_below(directory: &Path, device: u64) -> Result<(), HostError> {
    let fail = |path: &Path, source| HostError::Remove { path: path.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(|e| fail(directory, e))? {
        let path = entry.map_err(|e| fail(directory, e))?.path();
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(fail(&path, error)),
        };
        if !metadata.is_dir() {
            remove_file(&path)?;
            continue;
        }
        if metadata.dev() != device {
            return Err(fail(&path, io::Error::from(io::ErrorKind::CrossesDevices)));
        }
        remove_below(&path, device)?;
        match fs::remove_dir(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(fail(&path, error)),
        }
    }
    Ok(())
}

/// True for "no such file" and for a path through something that is no directory.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_content_and_the_mode_and_leaves_no_neighbour() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("key");
        write_atomic(&path, b"one", 0o644).expect("first");
        write_atomic(&path, b"two", 0o600).expect("second");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("listable").count(), 1);
    }

    #[test]
    fn a_tree_is_removed_without_following_links() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let outside = directory.path().join("outside");
        fs::write(&outside, "keep").expect("writable");
        let tree = directory.path().join("tree");
        create_dir(&tree.join("a/b"), 0o700).expect("created");
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).expect("linked");
        assert!(remove_tree(&tree).expect("removable"));
        assert!(!remove_tree(&tree).expect("twice is fine"));
        assert!(outside.exists());
    }
}
