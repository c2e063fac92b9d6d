//! CPU and memory of a container from its cgroup's files, version 1 or 2; the engine's own `stats` call takes seconds.

use std::io;
use std::path::{Path, PathBuf};

use super::client::DockerRuntime;
use super::error::io as io_error;
use crate::runtime::{ContainerState, ContainerStats, RuntimeError};

const CGROUPS: &str = "/sys/fs/cgroup";

impl DockerRuntime {
    pub(super) async fn container_stats(&self, id: &str, group: Group) -> Result<Option<ContainerStats>, RuntimeError> {
        let known = self.seen().get(id).cloned();
        let seen = match known {
            Some(seen) => seen,
            None => self.inspect(id).await?,
        };
        let Some(pid) = seen.pid.filter(|_| matches!(seen.state, ContainerState::Running { .. })) else {
            return Ok(None);
        };
        match read(pid, id, group) {
            Ok(stats) => Ok(stats),
            // It ended between two reads.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
                Ok(None)
            }
            Err(error) => Err(io_error("read cgroup of", id, error)),
        }
    }
}

/// Whose figures are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Container,
    /// The parent of the container's group.
    Pod,
}

impl Group {
    /// `None`: the container is in no pod's group, because the kubelet makes none here.
    fn path(self, own: &Path) -> Option<PathBuf> {
        match self {
            Self::Container => Some(own.to_owned()),
            Self::Pod => own
                .parent()
                .filter(|parent| {
                    parent.file_name().is_some_and(|name| name.to_string_lossy().contains("pod"))
                        && parent.to_string_lossy().contains("kubepods")
                })
                .map(Path::to_owned),
        }
    }
}

/// `None` if the process is not the container's any more.
fn read(pid: i32, container: &str, group: Group) -> io::Result<Option<ContainerStats>> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    if !membership.contains(container) {
        return Ok(None);
    }
    match (controller(&membership, "memory"), controller(&membership, "cpuacct")) {
        (Some(memory), Some(cpu)) => match (group.path(&memory), group.path(&cpu)) {
            (Some(memory), Some(cpu)) => version1(&memory, &cpu).map(Some),
            _ => Ok(None),
        },
        _ => match unified(&membership).and_then(|own| group.path(&own)) {
            Some(dir) => version2(&dir).map(Some),
            None => Ok(None),
        },
    }
}

/// Lines are `ID:CONTROLLERS:PATH` (cgroups(7)).
fn controller(membership: &str, name: &str) -> Option<PathBuf> {
    membership.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        if !controllers.split(',').any(|controller| controller == name) {
            return None;
        }
        let root = Path::new(CGROUPS);
        let mounts = [root.join(name), root.join(controllers)];
        mounts.into_iter().find(|mount| mount.is_dir()).map(|mount| mount.join(path.trim_start_matches('/')))
    })
}

fn unified(membership: &str) -> Option<PathBuf> {
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(CGROUPS).join(path.trim_start_matches('/')))
}

fn version1(memory: &Path, cpu: &Path) -> io::Result<ContainerStats> {
    let usage = number(&memory.join("memory.usage_in_bytes"))?;
    let details = std::fs::read_to_string(memory.join("memory.stat"))?;
    Ok(ContainerStats {
        cpu_usage_nanos: number(&cpu.join("cpuacct.usage"))?,
        memory_usage_bytes: usage,
        memory_working_set_bytes: usage.saturating_sub(field(&details, "total_inactive_file")),
        memory_rss_bytes: field(&details, "total_rss"),
    })
}

fn version2(dir: &Path) -> io::Result<ContainerStats> {
    let usage = number(&dir.join("memory.current"))?;
    let details = std::fs::read_to_string(dir.join("memory.stat"))?;
    let cpu = std::fs::read_to_string(dir.join("cpu.stat"))?;
    Ok(ContainerStats {
        cpu_usage_nanos: field(&cpu, "usage_usec").saturating_mul(1000),
        memory_usage_bytes: usage,
        memory_working_set_bytes: usage.saturating_sub(field(&details, "inactive_file")),
        memory_rss_bytes: field(&details, "anon"),
    })
}

fn number(path: &Path) -> io::Result<u64> {
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or_default()
}
