//! Makes, limits and removes the cgroups of pods: by hand with the cgroupfs driver, through systemd with the other.
//!
//! Containers' own cgroups below them belong to the engine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use super::cgroup::{CgroupDriver, CgroupSettings};
use super::context::uid;
use super::qos::{QosClass, qos_class};
use super::resources::{CPU_PERIOD, cpu_quota, cpu_shares, is_limited, pod_limits, pod_requests};
use super::systemd_slice;
use crate::volume::{MountEntry, mount_table};

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("{what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the mount table cannot be read")]
    MountTable(#[source] io::Error),
    #[error("systemd refused {operation} of {unit}: {message}")]
    Systemd { operation: &'static str, unit: String, message: String },
}

/// Limits of one cgroup. `None` leaves the resource alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// cgroup v1 scale.
    pub cpu_shares: Option<i64>,
    /// Microseconds per [`CPU_PERIOD`].
    pub cpu_quota: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
    pub pids: Option<i64>,
}

/// Knows where this host's hierarchies are. Its methods block for microseconds, with systemd for milliseconds.
#[derive(Debug, Clone)]
pub struct CgroupManager {
    pub(super) settings: CgroupSettings,
    pub(super) hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    mount_point: PathBuf,
    /// `None` is the unified hierarchy (v2).
    pub(super) controllers: Option<BTreeSet<String>>,
}

impl CgroupManager {
    /// Looks at what is mounted.
    pub fn detect(settings: CgroupSettings) -> Result<Self, CgroupError> {
        let table = mount_table().map_err(CgroupError::MountTable)?;
        Ok(Self { settings, hierarchies: hierarchies(&table) })
    }

    /// 2 where the unified hierarchy is the only one.
    #[must_use]
    pub fn version(&self) -> u8 {
        if self.hierarchies.iter().any(|hierarchy| hierarchy.controllers.is_some()) { 1 } else { 2 }
    }

    /// Makes the cgroups of all pods and of the classes. `cpu_milli` and `memory` are what pods may use together.
    pub fn ensure_classes(&self, cpu_milli: i64, memory: Option<i64>) -> Result<(), CgroupError> {
        if !self.settings.enabled {
            return Ok(());
        }
        let all = Limits { cpu_shares: Some(cpu_shares(cpu_milli)), memory, ..Limits::default() };
        self.ensure(&self.settings.class_path(QosClass::Guaranteed), &all)?;
        let least = Limits { cpu_shares: Some(cpu_shares(0)), ..Limits::default() };
        self.ensure(&self.settings.class_path(QosClass::BestEffort), &least)?;
        self.ensure(&self.settings.class_path(QosClass::Burstable), &least)
    }

    /// Gives the burstable class the CPU that its pods request together.
    pub fn update_burstable<'a>(&self, pods: impl Iterator<Item = &'a Pod>) -> Result<(), CgroupError> {
        if !self.settings.enabled {
            return Ok(());
        }
        let milli: i64 = pods
            .filter(|pod| qos_class(pod) == QosClass::Burstable)
            .map(|pod| pod_requests(pod).get("cpu").map_or(0, super::quantity::Quantity::milli_value))
            .sum();
        let limits = Limits { cpu_shares: Some(cpu_shares(milli)), ..Limits::default() };
        self.ensure(&self.settings.class_path(QosClass::Burstable), &limits)
    }

    /// Makes the pod's cgroup, or brings its limits up to date. Must be done before its containers are created.
    pub fn ensure_pod(&self, pod: &Pod) -> Result<(), CgroupError> {
        if !self.settings.enabled {
            return Ok(());
        }
        self.ensure(&self.settings.pod_path(uid(pod), qos_class(pod)), &pod_cgroup_limits(pod, &self.settings))
    }

    /// Raises the pod's limits where `pod` wants more than it has, and leaves them where it wants less: its containers may
    /// grow now. Afterwards [`Self::ensure_pod`] sets what it wants.
    pub fn raise_pod(&self, pod: &Pod) -> Result<(), CgroupError> {
        if !self.settings.enabled {
            return Ok(());
        }
        let path = self.settings.pod_path(uid(pod), qos_class(pod));
        let wanted = pod_cgroup_limits(pod, &self.settings);
        // A limit that the pod did not have before comes last, too.
        let greater = |current: Option<i64>, wanted: Option<i64>| Some(current?.max(wanted?));
        let has = |v1: &str, v2: &str| {
            let read = |hierarchy: &Hierarchy| {
                let dir = hierarchy.join(&path);
                let text = fs::read_to_string(dir.join(v1)).or_else(|_| fs::read_to_string(dir.join(v2))).ok()?;
                text.split_whitespace().next()?.parse::<i64>().ok().filter(|limit| *limit > 0)
            };
            self.hierarchies.iter().find_map(read)
        };
        let limits = Limits {
            cpu_quota: greater(has("cpu.cfs_quota_us", "cpu.max"), wanted.cpu_quota),
            memory: greater(has("memory.limit_in_bytes", "memory.max"), wanted.memory),
            ..wanted
        };
        self.ensure(&path, &limits)
    }

    /// Removes the pod's cgroup and what the engine left in it. Fails while a process is still there; try again then.
    pub fn remove_pod(&self, uid: &str) -> Result<(), CgroupError> {
        for class in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            let path = self.settings.pod_path(uid, class);
            if self.settings.driver == CgroupDriver::Systemd && self.exists(&path) {
                systemd_slice::stop(last_component(&path))?;
            }
            for hierarchy in &self.hierarchies {
                remove_tree(&hierarchy.join(&path))?;
            }
        }
        Ok(())
    }

    /// UIDs of all pods that have a cgroup.
    pub fn pods(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for class in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            for hierarchy in &self.hierarchies {
                let Ok(entries) = fs::read_dir(hierarchy.join(&self.settings.class_path(class))) else { continue };
                found.extend(
                    entries.flatten().filter_map(|entry| self.settings.uid_of(&entry.file_name().to_string_lossy())),
                );
            }
        }
        found
    }

    fn exists(&self, path: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.join(path).exists())
    }

    fn ensure(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        match self.settings.driver {
            CgroupDriver::Systemd => systemd_slice::ensure(last_component(path), limits, self.version()),
            CgroupDriver::Cgroupfs => {
                self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.ensure(path, limits, self.version()))
            }
        }
    }
}

/// What the pod as a whole may use (upstream `ResourceConfigForPod`).
#[must_use]
pub fn pod_cgroup_limits(pod: &Pod, settings: &CgroupSettings) -> Limits {
    let requests = pod_requests(pod);
    let limits = pod_limits(pod);
    let limit = |name| limits.get(name).filter(|_| is_limited(pod, name));
    let mut result = Limits { cpu_shares: Some(cpu_shares(0)), pids: settings.pod_pids_limit, ..Limits::default() };
    if qos_class(pod) != QosClass::BestEffort {
        let cpu = requests.get("cpu").map_or(0, super::quantity::Quantity::milli_value);
        result.cpu_shares = Some(cpu_shares(cpu));
        result.cpu_quota =
            limit("cpu").filter(|_| settings.enforce_cpu_limits).map(|amount| cpu_quota(amount.milli_value()));
        result.memory = limit("memory").map(super::quantity::Quantity::value);
    }
    result
}

impl Hierarchy {
    #[cfg(test)]
    pub(super) fn new(mount_point: &Path, controllers: Option<&str>) -> Self {
        let controllers = controllers.map(|names| names.split(',').map(str::to_owned).collect());
        Self { mount_point: mount_point.to_owned(), controllers }
    }

    pub(super) fn join(&self, path: &str) -> PathBuf {
        self.mount_point.join(path.trim_start_matches('/'))
    }

    fn ensure(&self, path: &str, limits: &Limits, version: u8) -> Result<(), CgroupError> {
        let dir = self.join(path);
        let Some(controllers) = &self.controllers else {
            // On a hybrid host the unified hierarchy has no controllers that matter.
            return if version == 2 { self.ensure_unified(path, &dir, limits) } else { Ok(()) };
        };
        let has = |name: &str| controllers.contains(name);
        if !has("cpu") && !has("memory") && !has("pids") {
            return Ok(());
        }
        create(&dir)?;
        if has("cpu") {
            set(&dir, "cpu.shares", limits.cpu_shares)?;
            set(&dir, "cpu.cfs_period_us", limits.cpu_quota.map(|_| CPU_PERIOD))?;
            set(&dir, "cpu.cfs_quota_us", limits.cpu_quota)?;
        }
        if has("memory") {
            set(&dir, "memory.limit_in_bytes", limits.memory)?;
        }
        if has("pids") {
            set(&dir, "pids.max", limits.pids)?;
        }
        Ok(())
    }

    /// Every level above must hand the controllers down.
    fn ensure_unified(&self, path: &str, dir: &Path, limits: &Limits) -> Result<(), CgroupError> {
        let mut level = self.mount_point.clone();
        for component in path.split('/').filter(|component| !component.is_empty()) {
            enable_controllers(&level)?;
            level.push(component);
            create(&level)?;
        }
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| available.split_whitespace().any(|controller| controller == name);
        if has("cpu") {
            set(dir, "cpu.weight", limits.cpu_shares.map(weight))?;
            set(dir, "cpu.max", limits.cpu_quota.map(|quota| format!("{quota} {CPU_PERIOD}")))?;
        }
        if has("memory") {
            set(dir, "memory.max", limits.memory)?;
        }
        if has("pids") {
            set(dir, "pids.max", limits.pids)?;
        }
        Ok(())
    }
}

/// cgroup v2 weight of v1 shares.
#[must_use]
pub fn weight(shares: i64) -> i64 {
    1 + (shares - 2) * 9999 / 262_142
}

fn hierarchies(table: &[MountEntry]) -> Vec<Hierarchy> {
    let known: [&str; 10] =
        ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb", "perf_event"];
    let mut result: Vec<Hierarchy> = Vec::new();
    for entry in table {
        let controllers = match entry.file_system.as_str() {
            "cgroup2" => None,
            "cgroup" => Some(
                entry
                    .super_options
                    .split(',')
                    .filter(|option| {
                        known.contains(option) || option.starts_with("name=") || option.starts_with("net_")
                    })
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => continue,
        };
        // The same hierarchy may be mounted more than once.
        if !result.iter().any(|hierarchy| hierarchy.controllers == controllers) {
            result.push(Hierarchy { mount_point: entry.mount_point.clone(), controllers });
        }
    }
    result
}

fn enable_controllers(dir: &Path) -> Result<(), CgroupError> {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let path = dir.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&path).unwrap_or_default();
    for name in ["cpu", "memory", "pids", "cpuset", "io"] {
        let listed = |list: &str| list.split_whitespace().any(|controller| controller == name);
        if listed(&available) && !listed(&enabled) {
            fs::write(&path, format!("+{name}")).map_err(|source| CgroupError::Io {
                what: "enable controllers in",
                path: path.clone(),
                source,
            })?;
        }
    }
    Ok(())
}

fn create(dir: &Path) -> Result<(), CgroupError> {
    fs::create_dir_all(dir).map_err(|source| CgroupError::Io { what: "create cgroup", path: dir.to_owned(), source })
}

fn set(dir: &Path, file: &str, value: Option<impl ToString>) -> Result<(), CgroupError> {
    let Some(value) = value else { return Ok(()) };
    let path = dir.join(file);
    let value = value.to_string();
    if fs::read_to_string(&path).is_ok_and(|old| old.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| CgroupError::Io { what: "set", path, source })
}

/// cgroup directories hold only files that vanish with them, so each is simply `rmdir`ed, deepest first.
fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::Io { what: "remove cgroup", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(point: &Path, kind: &str, options: &str) -> MountEntry {
        MountEntry { mount_point: point.to_owned(), file_system: kind.to_owned(), super_options: options.to_owned() }
    }

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"uid": "u"}, "spec": {"containers": [{"name": "c", "resources": resources}]}
        }))
        .expect("a pod")
    }

    #[test]
    fn limits_pods_by_class() {
        let settings = CgroupSettings { pod_pids_limit: Some(100), ..CgroupSettings::default() };
        let all = serde_json::json!({"limits": {"cpu": "500m", "memory": "64Mi"}});
        assert_eq!(
            pod_cgroup_limits(&pod(all), &settings),
            Limits { cpu_shares: Some(512), cpu_quota: Some(50_000), memory: Some(64 << 20), pids: Some(100) }
        );
        let some = serde_json::json!({"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}});
        assert_eq!(
            pod_cgroup_limits(&pod(some), &settings),
            Limits { cpu_shares: Some(256), cpu_quota: None, memory: Some(64 << 20), pids: Some(100) }
        );
        assert_eq!(pod_cgroup_limits(&pod(serde_json::json!({})), &settings).cpu_shares, Some(2));
    }

    #[test]
    fn recognises_hierarchies() {
        let root = Path::new("/sys/fs/cgroup");
        let hybrid = hierarchies(&[
            entry(&root.join("cpu"), "cgroup", "rw,cpu,cpuacct"),
            entry(&root.join("systemd"), "cgroup", "rw,xattr,name=systemd"),
            entry(&root.join("unified"), "cgroup2", "rw"),
            entry(Path::new("/other"), "cgroup", "rw,cpu,cpuacct"),
            entry(Path::new("/"), "ext4", "rw"),
        ]);
        assert_eq!(hybrid.len(), 3);
        let manager = |hierarchies| CgroupManager { settings: CgroupSettings::default(), hierarchies };
        assert_eq!(manager(hybrid).version(), 1);
        assert_eq!(manager(hierarchies(&[entry(root, "cgroup2", "rw")])).version(), 2);
    }

    /// Plain directories stand for the hierarchies.
    #[test]
    fn makes_and_removes_a_pod() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cpu, memory) = (dir.path().join("cpu"), dir.path().join("memory"));
        let table = [entry(&cpu, "cgroup", "rw,cpu"), entry(&memory, "cgroup", "rw,memory")];
        let manager = CgroupManager { settings: CgroupSettings::default(), hierarchies: hierarchies(&table) };
        let pod = pod(serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
        manager.ensure_pod(&pod).expect("created");
        let read = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!(read(&cpu.join("kubepods/podu/cpu.cfs_quota_us")), "100000");
        assert_eq!(read(&memory.join("kubepods/podu/memory.limit_in_bytes")), "1073741824");
        assert_eq!(manager.pods(), BTreeSet::from(["u".to_owned()]));
        for file in ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"] {
            fs::remove_file(cpu.join("kubepods/podu").join(file)).expect("real cgroup files vanish by themselves");
        }
        fs::remove_file(memory.join("kubepods/podu/memory.limit_in_bytes")).expect("as above");
        fs::create_dir(cpu.join("kubepods/podu/leftover")).expect("a child");
        manager.remove_pod("u").expect("removed");
        assert!(manager.pods().is_empty());
        manager.remove_pod("u").expect("removed again");
    }

    #[test]
    fn a_pod_grows_before_its_containers_and_shrinks_after_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cpu, memory) = (dir.path().join("cpu"), dir.path().join("memory"));
        let table = [entry(&cpu, "cgroup", "rw,cpu"), entry(&memory, "cgroup", "rw,memory")];
        let manager = CgroupManager { settings: CgroupSettings::default(), hierarchies: hierarchies(&table) };
        manager.ensure_pod(&pod(serde_json::json!({"limits": {"cpu": "200m", "memory": "64Mi"}}))).expect("created");
        let resized = pod(serde_json::json!({"limits": {"cpu": "300m", "memory": "32Mi"}}));
        let limits = || {
            let read = |path: PathBuf| fs::read_to_string(path).expect("a file");
            let quota = read(cpu.join("kubepods/podu/cpu.cfs_quota_us"));
            (quota, read(memory.join("kubepods/podu/memory.limit_in_bytes")))
        };
        manager.raise_pod(&resized).expect("raised");
        assert_eq!(limits(), ("30000".to_owned(), (64 << 20).to_string()));
        manager.ensure_pod(&resized).expect("settled");
        assert_eq!(limits(), ("30000".to_owned(), (32 << 20).to_string()));
    }

    #[test]
    fn hands_controllers_down_on_v2() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory").expect("a file");
        let pod_dir = dir.path().join("kubepods/podu");
        fs::create_dir_all(&pod_dir).expect("directories");
        fs::write(pod_dir.join("cgroup.controllers"), "cpu memory").expect("a file");
        let manager = CgroupManager {
            settings: CgroupSettings::default(),
            hierarchies: hierarchies(&[entry(dir.path(), "cgroup2", "rw")]),
        };
        manager.ensure_pod(&pod(serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}}))).expect("created");
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).expect("a file");
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        assert_eq!(read("kubepods/podu/cpu.weight"), "39");
        assert_eq!(read("kubepods/podu/cpu.max"), "100000 100000");
        assert_eq!(read("kubepods/podu/memory.max"), "1073741824");
    }

    #[test]
    #[ignore = "needs a host whose cgroup file systems may be written"]
    fn works_on_the_hierarchies_of_this_host() {
        let root = format!("/junio-test-{}", std::process::id());
        let settings = CgroupSettings { root, pod_pids_limit: Some(50), ..CgroupSettings::default() };
        let manager = CgroupManager::detect(settings.clone()).expect("hierarchies");
        let pod = pod(serde_json::json!({"limits": {"cpu": "500m", "memory": "64Mi"}}));
        manager.ensure_classes(2000, None).expect("classes");
        manager.ensure_pod(&pod).expect("created");
        manager.ensure_pod(&pod).expect("again");
        let values: Vec<String> = manager
            .hierarchies
            .iter()
            .flat_map(|hierarchy| {
                let dir = hierarchy.join(&settings.pod_path("u", QosClass::Guaranteed));
                ["cpu.cfs_quota_us", "memory.limit_in_bytes", "pids.max", "memory.max"].map(|file| dir.join(file))
            })
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
            .collect();
        assert!(values.contains(&(64_i64 << 20).to_string()), "{values:?}");
        manager.remove_pod("u").expect("removed");
        assert!(manager.pods().is_empty());
        for hierarchy in &manager.hierarchies {
            remove_tree(&hierarchy.join(&settings.root)).expect("cleaned up");
        }
    }

    #[test]
    fn converts_shares_to_weights() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
