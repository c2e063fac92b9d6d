//! `emptyDir`: a directory on disk or in memory that lives as long as the pod.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};

use super::error::VolumeError;
use super::ownership::{FsGroup, give_to_group};
use super::tmpfs::{mount_huge_pages, mount_tmpfs};
use crate::container_spec::{Quantity, is_limited, pod_limits};

/// Makes the directory, once. `node_memory` bounds a memory-backed one, in bytes. Blocking.
pub(super) fn make_empty_dir(
    dir: &Path,
    source: &EmptyDirVolumeSource,
    pod: &Pod,
    node_memory: i64,
) -> Result<(), VolumeError> {
    let created = make_volume_dir(dir)?;
    let medium = source.medium.as_deref().unwrap_or_default();
    match medium {
        "" => {}
        "Memory" => mount_tmpfs(dir, Some(memory_size(source, pod, node_memory)).filter(|size| *size > 0))?,
        "HugePages" => mount_huge_pages(dir, None)?,
        _ => match medium.strip_prefix("HugePages-") {
            Some(size) => mount_huge_pages(dir, Some(size))?,
            None => return Err(VolumeError::Unsupported { name: medium.to_owned(), kind: "emptyDir medium" }),
        },
    }
    if created {
        // A file system that was just mounted has its own mode.
        open_to_all(dir)?;
        if let Some(group) = FsGroup::of(pod) {
            give_to_group(dir, group, false)?;
        }
    }
    Ok(())
}

/// Makes a directory that every user may write to, whatever the umask. Tells whether it is new.
pub(super) fn make_volume_dir(dir: &Path) -> Result<bool, VolumeError> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(VolumeError::io("create", parent))?;
    }
    match fs::create_dir(dir) {
        Ok(()) => open_to_all(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(VolumeError::io("create", dir)(error)),
    }
}

fn open_to_all(dir: &Path) -> Result<(), VolumeError> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).map_err(VolumeError::io("set the mode of", dir))
}

/// The smallest of the volume's own limit, the pod's memory limit and the node's memory.
fn memory_size(source: &EmptyDirVolumeSource, pod: &Pod, node_memory: i64) -> i64 {
    let own = source.size_limit.as_ref().and_then(|text| Quantity::try_from(text).ok()).map(|amount| amount.value());
    let pod_limit = pod_limits(pod).get("memory").filter(|_| is_limited(pod, "memory")).map(Quantity::value);
    [own, pod_limit, Some(node_memory)].into_iter().flatten().filter(|size| *size > 0).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_open_to_all_users() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b");
        make_empty_dir(&path, &EmptyDirVolumeSource::default(), &Pod::default(), 0).expect("made");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777, 0o777);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
        make_empty_dir(&path, &EmptyDirVolumeSource::default(), &Pod::default(), 0).expect("made again");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777, 0o700);
        let odd = EmptyDirVolumeSource { medium: Some("Tape".into()), ..Default::default() };
        assert!(make_empty_dir(&path, &odd, &Pod::default(), 0).is_err());
    }

    #[test]
    fn memory_is_bounded_by_the_least() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi"}}}]}
        }))
        .expect("a pod");
        let source = |size: Option<&str>| {
            serde_json::from_value::<EmptyDirVolumeSource>(serde_json::json!({"medium": "Memory", "sizeLimit": size}))
                .expect("a source")
        };
        assert_eq!(memory_size(&source(Some("10Mi")), &pod, 1 << 30), 10 << 20);
        assert_eq!(memory_size(&source(None), &pod, 1 << 30), 64 << 20);
        assert_eq!(memory_size(&source(None), &Pod::default(), 1 << 30), 1 << 30);
        assert_eq!(memory_size(&source(Some("0")), &pod, 1 << 30), 64 << 20);
    }
}
