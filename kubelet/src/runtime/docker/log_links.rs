//! The two links by which others find a container's log: `/var/log/pods/NS_POD_UID/CONTAINER/N.log` to the engine's
//! file, and `/var/log/containers/POD_NS_CONTAINER-ID.log` to the former.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{error, naming};
use crate::runtime::{ContainerId, PodRef, RuntimeError};

pub(super) struct Links {
    by_pod: PathBuf,
    by_container: PathBuf,
}

impl Links {
    /// An empty `log_path` means that nobody wants links.
    pub fn new(container_log_dir: &Path, pod: &PodRef, container: &str, id: &ContainerId, log_path: &Path) -> Self {
        Self {
            by_pod: log_path.to_path_buf(),
            by_container: container_log_dir.join(naming::log_link_name(pod, container, &id.0)),
        }
    }

    /// The target need not exist yet: the engine makes it at the start.
    pub fn make(&self, engine_log: &Path) -> Result<(), RuntimeError> {
        if self.by_pod.as_os_str().is_empty() {
            return Ok(());
        }
        point(&self.by_pod, engine_log)?;
        point(&self.by_container, &self.by_pod)
    }

    /// Also removes directories that are empty now; the pod's own directory belongs to the log collector above.
    pub fn remove(&self) -> Result<(), RuntimeError> {
        if self.by_pod.as_os_str().is_empty() {
            return Ok(());
        }
        for link in [&self.by_container, &self.by_pod] {
            match std::fs::remove_file(link) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(error::io("remove", link.display(), source));
                }
                _ => {}
            }
        }
        if let Some(dir) = self.by_pod.parent()
            && let Err(source) = std::fs::remove_dir(dir)
            && !matches!(source.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound)
        {
            return Err(error::io("remove", dir.display(), source));
        }
        Ok(())
    }
}

fn point(link: &Path, target: &Path) -> Result<(), RuntimeError> {
    let failed = |source| error::io("link", link.display(), source);
    let make = || {
        if let Some(dir) = link.parent() {
            std::fs::create_dir_all(dir)?;
        }
        symlink(target, link)
    };
    loop {
        match make() {
            // Another attempt's removal took the directory between the two steps.
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(link).map_err(failed)?;
            }
            other => return other.map_err(failed),
        }
    }
}
