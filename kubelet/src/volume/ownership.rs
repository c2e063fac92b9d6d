//! Gives a volume to the pod's `fsGroup`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::error::VolumeError;

const WRITABLE: u32 = 0o660;
const READABLE: u32 = 0o440;
const DIRECTORY: u32 = 0o110;
const SETGID: u32 = 0o2000;

/// What the pod wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FsGroup {
    pub gid: u32,
    /// `fsGroupChangePolicy: OnRootMismatch`
    pub only_on_mismatch: bool,
}

impl FsGroup {
    pub fn of(pod: &Pod) -> Option<Self> {
        let context = pod.spec.as_ref()?.security_context.as_ref()?;
        let gid = u32::try_from(context.fs_group?).ok()?;
        Some(Self { gid, only_on_mismatch: context.fs_group_change_policy.as_deref() == Some("OnRootMismatch") })
    }
}

/// Changes group and mode of everything below `dir`, itself included. Symlinks are never followed. Blocking.
pub(super) fn give_to_group(dir: &Path, group: FsGroup, read_only: bool) -> Result<(), VolumeError> {
    let metadata = fs::symlink_metadata(dir).map_err(VolumeError::io("look at", dir))?;
    if group.only_on_mismatch && metadata.gid() == group.gid && metadata.mode() & SETGID != 0 {
        return Ok(());
    }
    change(dir, group.gid, if read_only { READABLE } else { WRITABLE })
}

fn change(path: &Path, gid: u32, extra: u32) -> Result<(), VolumeError> {
    let metadata = fs::symlink_metadata(path).map_err(VolumeError::io("look at", path))?;
    let kind = metadata.file_type();
    lchown(path, None, Some(gid)).map_err(VolumeError::io("chown", path))?;
    if kind.is_symlink() {
        return Ok(());
    }
    let mut mode = metadata.mode() & 0o7777 | extra;
    if kind.is_dir() {
        mode |= DIRECTORY | SETGID;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", path))?;
    if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(VolumeError::io("read", path))? {
            change(&entry.map_err(VolumeError::io("read", path))?.path(), gid, extra)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("metadata").mode() & 0o7777
    }

    /// Uses the caller's own group, which needs no privilege.
    #[test]
    fn changes_modes_but_not_through_links() {
        let outside = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        let gid = fs::metadata(root).expect("metadata").gid();
        let other = outside.path().join("file");
        fs::write(&other, "").expect("a file");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::create_dir(root.join("sub")).expect("a directory");
        fs::write(root.join("sub/file"), "").expect("a file");
        fs::set_permissions(root.join("sub/file"), fs::Permissions::from_mode(0o400)).expect("a mode");
        std::os::unix::fs::symlink(&other, root.join("link")).expect("a link");

        give_to_group(root, FsGroup { gid, only_on_mismatch: false }, true).expect("changed");
        assert_eq!(mode(&root.join("sub/file")), 0o440);
        assert_eq!(mode(&root.join("sub")) & 0o2110, 0o2110);
        assert_eq!(mode(&other), 0o600);

        fs::set_permissions(root.join("sub/file"), fs::Permissions::from_mode(0o400)).expect("a mode");
        give_to_group(root, FsGroup { gid, only_on_mismatch: true }, false).expect("skipped");
        assert_eq!(mode(&root.join("sub/file")), 0o400);
        give_to_group(root, FsGroup { gid, only_on_mismatch: false }, false).expect("changed");
        assert_eq!(mode(&root.join("sub/file")), 0o660);
    }
}
