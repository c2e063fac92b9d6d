//! Files on this machine: atomic and durable writes, removal that stays on one file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
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

/// Gives the file or link at `path` a second name, owner and mode included, before another one is renamed over it. Replaces
/// what an interrupted run left at `kept`.
pub fn keep(path: &Path, kept: &Path) -> Result<(), HostError> {
    remove_file(kept)?;
    second_name(path, kept)
        .and_then(|()| sync_parent(kept))
        .map_err(|source| HostError::Write { path: kept.to_owned(), source })
}

/// Puts a kept file back at `path`, atomically. `kept` stays, so that this can be done again after an interruption.
pub fn put_back(kept: &Path, path: &Path) -> Result<(), HostError> {
    let fail = |source| HostError::Write { path: path.to_owned(), source };
    let temporary = temporary_beside(path).map_err(fail)?;
    remove_file(&temporary)?;
    let placed = second_name(kept, &temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_parent(path))
        .map_err(fail);
    // It is still there after an error, and where `path` was the kept file already: a rename does nothing then.
    remove_file(&temporary)?;
    placed
}

/// By hard link where both names are on one file system, else by copy.
fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, to),
        linked => linked,
    }
}

/// A file or link with its owner and mode, durably.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    // A change of owner takes the set-user-id bit away.
    fs::set_permissions(to, metadata.permissions())?;
    File::open(to)?.sync_all()
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
    fn what_is_kept_comes_back_as_it_was_a_link_as_a_link() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| directory.path().join(name);
        write_atomic(&path("program"), b"theirs", 0o750).expect("written");
        symlink("elsewhere", path("link")).expect("linked");
        for name in ["program", "link"] {
            keep(&path(name), &path("kept")).expect("kept");
            keep(&path(name), &path("kept")).expect("again, after an interruption");
            write_atomic(&path(name), b"ours", 0o755).expect("replaced");
            put_back(&path("kept"), &path(name)).expect("put back");
            put_back(&path("kept"), &path(name)).expect("again, after an interruption");
            remove_file(&path("kept")).expect("removable");
        }
        assert_eq!(fs::read(path("program")).expect("readable"), b"theirs");
        assert_eq!(fs::metadata(path("program")).expect("there").permissions().mode() & 0o7777, 0o750);
        assert_eq!(fs::read_link(path("link")).expect("a link"), Path::new("elsewhere"));
        assert_eq!(fs::read_dir(directory.path()).expect("listable").count(), 2, "a hidden neighbour was left");
    }

    #[test]
    fn a_copy_keeps_mode_and_link() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| directory.path().join(name);
        write_atomic(&path("program"), b"theirs", 0o4755).expect("written");
        symlink("elsewhere", path("link")).expect("linked");
        copy(&path("program"), &path("program2")).expect("copied");
        copy(&path("link"), &path("link2")).expect("copied");
        assert_eq!(fs::metadata(path("program2")).expect("there").permissions().mode() & 0o7777, 0o4755);
        assert_eq!(fs::read_link(path("link2")).expect("a link"), Path::new("elsewhere"));
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
