//! Memory-backed file systems, so that secrets never reach a disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::error::VolumeError;

/// Mounts a tmpfs on `dir` unless something is mounted there already. `size` is in bytes; `None` is the kernel's
/// default. Blocking.
pub(super) fn mount_tmpfs(dir: &Path, size: Option<i64>) -> Result<(), VolumeError> {
    let options = size.map_or_else(|| "mode=0777".to_owned(), |size| format!("mode=0777,size={size}"));
    mount_once(dir, "tmpfs", &options)
}

/// Mounts huge pages of one size, such as `2Mi`, or of the default size.
pub(super) fn mount_huge_pages(dir: &Path, page_size: Option<&str>) -> Result<(), VolumeError> {
    let options = page_size.map_or_else(String::new, |size| format!("pagesize={}", size.trim_end_matches('i')));
    mount_once(dir, "hugetlbfs", &options)
}

fn mount_once(dir: &Path, file_system: &str, options: &str) -> Result<(), VolumeError> {
    if is_mount_point(dir).map_err(VolumeError::io("look at", dir))? {
        return Ok(());
    }
    mount(Some(file_system), dir, Some(file_system), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
        .map_err(|error| VolumeError::io("mount a memory file system on", dir)(error.into()))
}

/// Only file systems of their own count, not bind mounts of the parent's.
fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let parent = dir.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(fs::symlink_metadata(dir)?.dev() != fs::symlink_metadata(parent)?.dev())
}
