//! Takes a pod's directory away without touching anything outside of it.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::error::VolumeError;
use super::mount_table::mounts_below;

/// Unmounts everything below `dir`, then removes it. Stops before removing anything if a mount remains, because its
/// content is not the pod's. Succeeds if `dir` does not exist. Blocking.
pub(super) fn remove_pod_dir(dir: &Path) -> Result<(), VolumeError> {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(VolumeError::io("look at", dir)(error)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(VolumeError::io("remove", dir)(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(_) => {}
    }
    let real = fs::canonicalize(dir).map_err(VolumeError::io("resolve", dir))?;
    let table = |real: &Path| mounts_below(real).map_err(VolumeError::io("read the mount table for", real));
    for point in table(&real)? {
        unmount(&point)?;
    }
    if let Some(point) = table(&real)?.first() {
        return Err(VolumeError::io("unmount", point)(io::Error::from(io::ErrorKind::ResourceBusy)));
    }
    // The standard library walks by file descriptor and follows no link.
    match fs::remove_dir_all(&real) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VolumeError::io("remove", real)(error)),
        _ => Ok(()),
    }
}

/// A busy mount is detached: the containers are gone, so whoever still holds it is a stray reader.
fn unmount(point: &Path) -> Result<(), VolumeError> {
    let result = match umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EBUSY) => umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH),
        other => other,
    };
    match result {
        // Not a mount point any more.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(error) => Err(VolumeError::io("unmount", point)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tmpfs::mount_tmpfs;

    /// Needs the right to mount, as the kubelet has.
    #[test]
    fn unmounts_before_it_removes() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("keep"), "").expect("a file");
        let dir = tempfile::tempdir().expect("a directory");
        let pod = dir.path().join("pod");
        let memory = pod.join("volumes/memory");
        fs::create_dir_all(&memory).expect("directories");
        mount_tmpfs(&memory, Some(1 << 20)).expect("mounted");
        mount_tmpfs(&memory, Some(1 << 20)).expect("mounted once only");
        assert_eq!(mounts_below(&pod).expect("a table").len(), 1);
        fs::create_dir(memory.join("bound")).expect("a directory");
        nix::mount::mount(
            Some(outside.path()),
            &memory.join("bound"),
            None::<&str>,
            nix::mount::MsFlags::MS_BIND,
            None::<&str>,
        )
        .expect("bound");
        std::os::unix::fs::symlink(outside.path(), pod.join("link")).expect("a link");
        remove_pod_dir(&pod).expect("removed");
        assert!(!pod.exists());
        assert!(outside.path().join("keep").exists());
        remove_pod_dir(&pod).expect("removed again");
    }

    #[test]
    fn refuses_a_link_in_place_of_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("pod");
        std::os::unix::fs::symlink("/tmp", &link).expect("a link");
        assert!(remove_pod_dir(&link).is_err());
    }
}
