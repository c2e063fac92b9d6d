//! Mounts and control groups that a kubelet left behind.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::error::HostError;

/// Mount points strictly below `directory`, deepest last mounted first.
pub fn below(directory: &Path) -> Result<Vec<PathBuf>, HostError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(|source| HostError::Read { path: path.to_owned(), source })?;
    Ok(parse(&text, directory))
}

fn parse(mountinfo: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|point| point.starts_with(directory) && point != directory)
        .collect();
    found.reverse();
    found
}

/// Spaces and the like are written as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (code, character)| text.replace(code, character))
}

/// Unmounts; a busy one is detached, so that it goes when its last user does. What is no mount any more is fine.
pub fn unmount(point: &Path, flags: MntFlags) -> Result<(), HostError> {
    match umount2(point, flags) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(Errno::EBUSY) => umount2(point, flags | MntFlags::MNT_DETACH)
            .map_err(|errno| HostError::Remove { path: point.to_owned(), source: errno.into() }),
        Err(errno) => Err(HostError::Remove { path: point.to_owned(), source: errno.into() }),
    }
}

/// Removes the empty `kubepods` control groups of all hierarchies and returns the roots that went.
#[must_use]
pub fn remove_kubepods_cgroups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut hierarchies = vec![root.to_owned()];
    hierarchies.extend(
        fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()),
    );
    hierarchies
        .iter()
        .flat_map(|hierarchy| [hierarchy.join("kubepods"), hierarchy.join("kubepods.slice")])
        .filter(|path| path.is_dir() && remove_cgroup(path))
        .collect()
}

/// Deepest first; a group with processes stays, and so do its parents.
fn remove_cgroup(path: &Path) -> bool {
    for child in
        fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
    {
        remove_cgroup(&child.path());
    }
    fs::remove_dir(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_come_deepest_first() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda rw\n\
                    30 22 0:5 / /var/lib/kubelet rw - ext4 /dev/sdb rw\n\
                    31 30 0:6 / /var/lib/kubelet/pods/a/volumes/x\\040y rw - tmpfs tmpfs rw\n\
                    32 31 0:7 / /var/lib/kubelet/pods/a/volumes/x\\040y/z rw - tmpfs tmpfs rw\n\
                    33 22 0:8 / /var/lib/kubelet2 rw - tmpfs tmpfs rw\n";
        let found = parse(text, Path::new("/var/lib/kubelet"));
        assert_eq!(
            found,
            [
                PathBuf::from("/var/lib/kubelet/pods/a/volumes/x y/z"),
                PathBuf::from("/var/lib/kubelet/pods/a/volumes/x y")
            ]
        );
    }
}
