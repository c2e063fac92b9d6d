//! What pods use of the thing that runs short: memory and processes from control groups, disk by looking at the files.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::signal::Resource;
use crate::container_spec::{CgroupManager, blocking, pod_log_dir_in};
use crate::pod::facts;
use crate::runtime::{ContainerState, PodRuntime, RuntimePod};
use crate::volume::mount_table_of;

/// `None` is what could not be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PodUsage {
    /// Working set, in bytes.
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub disk: Option<DiskUse>,
    pub containers: Vec<ContainerUse>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContainerUse {
    pub name: String,
    pub memory: Option<u64>,
    /// Writable layer and logs, in bytes.
    pub disk: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DiskUse {
    pub bytes: u64,
    pub inodes: u64,
}

impl DiskUse {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

impl PodUsage {
    pub(super) fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.memory,
            Resource::Pids => self.processes,
            Resource::EphemeralStorage => self.disk.map(|disk| disk.bytes),
            Resource::Inodes => self.disk.map(|disk| disk.inodes),
        }
    }
}

/// What of a pod's files counts: those on the node's file system, and those in the engine's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub volumes_and_logs: bool,
    pub layers: bool,
}

impl Parts {
    pub(super) const ALL: Self = Self { volumes_and_logs: true, layers: true };
}

/// A pod's files, by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Local volumes by directory name, `PLUGIN/NAME`.
    pub volumes: BTreeMap<String, DiskUse>,
    pub logs: BTreeMap<String, DiskUse>,
    /// Writable layers of containers that run.
    pub layers: BTreeMap<String, DiskUse>,
}

impl Files {
    pub(super) fn total(&self, parts: Parts) -> DiskUse {
        let mut total = DiskUse::default();
        let outer = self.volumes.values().chain(self.logs.values()).filter(|_| parts.volumes_and_logs);
        outer.chain(self.layers.values().filter(|_| parts.layers)).for_each(|part| total.add(*part));
        total
    }

    /// Bytes of a container's logs and, if `layer`, of its writable layer.
    pub(super) fn container(&self, name: &str, layer: bool) -> u64 {
        let bytes = |map: &BTreeMap<String, DiskUse>| map.get(name).map_or(0, |part| part.bytes);
        bytes(&self.logs) + if layer { bytes(&self.layers) } else { 0 }
    }
}

/// Reads the figures.
#[derive(Clone)]
pub(super) struct Gauge {
    pub runtime: Arc<dyn PodRuntime>,
    pub cgroups: Arc<CgroupManager>,
    /// `pods` of the kubelet's directory.
    pub pods: PathBuf,
    pub log_root: PathBuf,
    /// The engine's directory.
    pub engine: PathBuf,
}

impl Gauge {
    /// What matters where `resource` is short.
    pub(super) async fn usage(
        &self,
        pod: &Arc<Pod>,
        runtime: &RuntimePod,
        resource: Resource,
        parts: Parts,
    ) -> PodUsage {
        let mut usage = PodUsage::default();
        match resource {
            Resource::Memory => {
                for container in running(runtime) {
                    let stats = self.runtime.stats(&container.id).await.ok().flatten();
                    let memory = stats.map(|stats| stats.memory_working_set_bytes);
                    usage.containers.push(ContainerUse { name: container.name.clone(), memory, disk: None });
                }
                let sum = usage.containers.iter().map(|used| used.memory).sum::<Option<u64>>();
                usage.memory = self.cgroups.pod_usage(pod).map(|pod| pod.memory_working_set).or(sum);
            }
            Resource::Pids => usage.processes = self.cgroups.pod_usage(pod).and_then(|pod| pod.processes),
            Resource::EphemeralStorage | Resource::Inodes => {
                let files = self.files(pod, runtime).await;
                usage.disk = Some(files.total(parts));
                usage.containers = running(runtime)
                    .map(|container| ContainerUse {
                        name: container.name.clone(),
                        memory: None,
                        disk: Some(files.container(&container.name, true)),
                    })
                    .collect();
            }
        }
        usage
    }

    /// Adds up the pod's files.
    pub(super) async fn files(&self, pod: &Arc<Pod>, runtime: &RuntimePod) -> Files {
        let own = self.pods.join(facts::uid(pod)).join("volumes");
        let logs = pod_log_dir_in(&self.log_root, pod);
        let engine = self.engine.clone();
        let processes: Vec<(String, i32)> =
            running(runtime).filter_map(|container| Some((container.name.clone(), container.pid?))).collect();
        let look = move || {
            let mut files = Files::default();
            for plugin in children(&own) {
                for volume in children(&plugin) {
                    let name = volume.strip_prefix(&own).unwrap_or(&volume).to_string_lossy().into_owned();
                    // What is mounted there, memory or another disk, is not on this one.
                    files.volumes.insert(name, tree(&volume, device(&own)));
                }
            }
            for container in children(&logs) {
                let name = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.logs.insert(name, log_files(&container));
            }
            for (name, pid) in processes {
                if let Some(layer) = writable_layer(pid, &engine) {
                    files.layers.insert(name, tree(&layer, device(&layer)));
                }
            }
            files
        };
        blocking(look).await
    }
}

fn running(runtime: &RuntimePod) -> impl Iterator<Item = &crate::runtime::RuntimeContainer> {
    runtime.containers.iter().filter(|container| matches!(container.state, ContainerState::Running { .. }))
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).map(|data| data.dev()).ok()
}

/// Blocks and inodes at and below `root`, on `device` only; a file with several names counts once. What goes away while
/// it is looked at is not counted.
fn tree(root: &Path, device: Option<u64>) -> DiskUse {
    let mut total = DiskUse::default();
    let mut several = HashSet::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(data) = fs::symlink_metadata(&path) else { continue };
        if Some(data.dev()) != device || (!data.is_dir() && data.nlink() > 1 && !several.insert(data.ino())) {
            continue;
        }
        total.add(DiskUse { bytes: data.blocks() * 512, inodes: 1 });
        if data.is_dir() {
            left.extend(children(&path));
        }
    }
    total
}

/// The links in `/var/log/pods` name the engine's files; what was rotated lies beside them.
fn log_files(dir: &Path) -> DiskUse {
    let mut total = DiskUse::default();
    for link in children(dir) {
        let Ok(target) = fs::canonicalize(&link) else { continue };
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { continue };
        let name = name.to_string_lossy().into_owned();
        for file in children(parent) {
            if file.file_name().is_some_and(|other| other.to_string_lossy().starts_with(&name)) {
                total.add(tree(&file, device(&file)));
            }
        }
    }
    total
}

/// The directory in which overlayfs keeps what the container of this process wrote.
fn writable_layer(pid: i32, engine: &Path) -> Option<PathBuf> {
    let table = mount_table_of(pid).ok()?;
    let root = table.into_iter().rev().find(|entry| entry.mount_point == Path::new("/"))?;
    let upper = root.super_options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    // The engine mounts with relative paths when there are many layers.
    Some(engine.join("overlay2").join(upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_counts_blocks_and_inodes_once_and_stays_on_its_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("v");
        fs::create_dir(&root).expect("made");
        let empty = tree(&root, device(&root));
        assert_eq!(empty.inodes, 1);
        fs::write(root.join("a"), vec![1; 1 << 20]).expect("written");
        fs::hard_link(root.join("a"), root.join("b")).expect("linked");
        symlink("/proc", root.join("elsewhere")).expect("linked");
        let full = tree(&root, device(&root));
        assert_eq!(full.inodes, 3);
        assert!((full.bytes - empty.bytes) >= 1 << 20 && (full.bytes - empty.bytes) < 3 << 19, "{full:?}");
        assert_eq!(tree(&root, device(Path::new("/proc"))), DiskUse::default());
    }

    #[test]
    fn logs_are_those_of_the_engine_with_their_rotated_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let (engine, pod) = (directory.path().join("engine"), directory.path().join("pod"));
        for dir in [&engine, &pod] {
            fs::create_dir(dir).expect("made");
        }
        for name in ["c-json.log", "c-json.log.1", "hostname"] {
            fs::write(engine.join(name), vec![1; 4096]).expect("written");
        }
        symlink(engine.join("c-json.log"), pod.join("0.log")).expect("linked");
        symlink(engine.join("gone"), pod.join("1.log")).expect("linked");
        assert_eq!(log_files(&pod).inodes, 2);
    }

    #[test]
    fn a_pod_is_the_sum_of_its_parts() {
        let part = |bytes| DiskUse { bytes, inodes: 1 };
        let files = Files {
            volumes: BTreeMap::from([("a/b".to_owned(), part(1))]),
            logs: BTreeMap::from([("c".to_owned(), part(10))]),
            layers: BTreeMap::from([("c".to_owned(), part(100))]),
        };
        assert_eq!(files.total(Parts::ALL), DiskUse { bytes: 111, inodes: 3 });
        assert_eq!(files.total(Parts { layers: false, ..Parts::ALL }).bytes, 11);
        assert_eq!((files.container("c", true), files.container("c", false), files.container("x", true)), (110, 10, 0));
    }
}
