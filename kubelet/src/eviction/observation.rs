//! How much there is of each thing on this host, now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use procfs::Current as _;

use super::signal::Signal;
use crate::container_spec::CgroupManager;
use crate::node::machine;

/// Bytes, inodes or processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    pub available: i64,
    pub capacity: i64,
}

/// What could be read.
pub type Observations = BTreeMap<Signal, Observation>;

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    /// The kubelet's directory: the node file system.
    pub node: PathBuf,
    /// Where the engine keeps images and containers.
    pub images: PathBuf,
    pub cgroups: Arc<CgroupManager>,
}

impl Places {
    /// Looks. Blocks for a few system calls.
    #[must_use]
    pub fn observe(&self) -> Observations {
        let mut seen = Observations::new();
        let mut note = |signal, available: u64, capacity: u64| {
            seen.insert(signal, Observation { available: signed(available), capacity: signed(capacity) });
        };
        if let Some(memory) = machine::memory() {
            note(Signal::MemoryAvailable, memory.total.saturating_sub(memory.working_set), memory.total);
        }
        if let Some((limit, working_set)) = self.cgroups.pods_memory() {
            note(Signal::AllocatableMemoryAvailable, limit.saturating_sub(working_set), limit);
        }
        let disks = [
            (&self.node, Signal::NodeFsAvailable, Signal::NodeFsInodesFree),
            (&self.images, Signal::ImageFsAvailable, Signal::ImageFsInodesFree),
        ];
        for (path, bytes, inodes) in disks {
            let Some(disk) = machine::disk(path) else { continue };
            note(bytes, disk.available, disk.total);
            // Some file systems make inodes as they need them and tell of none.
            if disk.inodes > 0 {
                note(inodes, disk.inodes_free, disk.inodes);
            }
        }
        if let Some((running, limit)) = processes() {
            note(Signal::PidAvailable, limit.saturating_sub(running), limit);
        }
        seen
    }

    /// True if images have a file system of their own.
    #[must_use]
    pub fn split(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let device = |path| std::fs::metadata(path).map(|data| data.dev()).ok();
        matches!((device(&self.node), device(&self.images)), (Some(node), Some(images)) if node != images)
    }
}

/// Tasks that there are, and how many there can be.
fn processes() -> Option<(u64, u64)> {
    let running = procfs::LoadAverage::current().ok()?.max;
    let limit =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse::<u64>().ok();
    Some((u64::from(running), limit("pid_max").into_iter().chain(limit("threads-max")).min()?))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::CgroupSettings;

    #[test]
    fn this_host_has_memory_disks_and_processes() {
        let directory = tempfile::tempdir().expect("a directory");
        let cgroups = CgroupManager::detect(CgroupSettings::default()).expect("a mount table");
        let places =
            Places { node: directory.path().into(), images: directory.path().into(), cgroups: Arc::new(cgroups) };
        let seen = places.observe();
        for signal in [Signal::MemoryAvailable, Signal::NodeFsAvailable, Signal::ImageFsAvailable, Signal::PidAvailable]
        {
            let Observation { available, capacity } = seen[&signal];
            assert!(0 < available && available < capacity, "{signal:?}: {available} of {capacity}");
        }
        assert!(!places.split());
        assert!(Places { node: "/proc".into(), ..places }.split());
    }
}
