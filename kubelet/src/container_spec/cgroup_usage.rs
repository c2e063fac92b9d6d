//! What pods use and may use together, read from their control groups.

use std::fs;

use k8s_openapi::api::core::v1::Pod;

use super::cgroup_manager::{CgroupManager, Hierarchy};
use super::context::uid;
use super::qos::{QosClass, qos_class};

/// Figures of one pod's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodGroupUsage {
    /// Bytes.
    pub memory_working_set: u64,
    /// Tasks; `None` where nobody counts them.
    pub processes: Option<u64>,
}

impl CgroupManager {
    /// Limit and working set of all pods together, in bytes. `None` where they are not limited.
    #[must_use]
    pub fn pods_memory(&self) -> Option<(u64, u64)> {
        let path = self.settings.class_path(QosClass::Guaranteed);
        let limit = self.number(&path, "memory", "memory.limit_in_bytes", "memory.max")?;
        // The kernel writes the largest number of whole pages for "no limit".
        (limit < u64::MAX >> 2).then_some((limit, self.working_set(&path)?))
    }

    /// `None` for a pod without a group.
    #[must_use]
    pub fn pod_usage(&self, pod: &Pod) -> Option<PodGroupUsage> {
        let path = self.settings.pod_path(uid(pod), qos_class(pod));
        let processes = self.number(&path, "pids", "pids.current", "pids.current");
        Some(PodGroupUsage { memory_working_set: self.working_set(&path)?, processes })
    }

    fn working_set(&self, path: &str) -> Option<u64> {
        let usage = self.number(path, "memory", "memory.usage_in_bytes", "memory.current")?;
        let stat = self.read(path, "memory", "memory.stat", "memory.stat")?;
        let inactive = ["total_inactive_file ", "inactive_file "].into_iter().find_map(|name| {
            stat.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse::<u64>().ok())
        });
        Some(usage.saturating_sub(inactive.unwrap_or(0)))
    }

    fn number(&self, path: &str, controller: &str, v1: &str, v2: &str) -> Option<u64> {
        self.read(path, controller, v1, v2)?.trim().parse().ok()
    }

    /// A file of the controller's hierarchy; of the unified one where it is the only one.
    fn read(&self, path: &str, controller: &str, v1: &str, v2: &str) -> Option<String> {
        if !self.settings.enabled {
            return None;
        }
        let has = |hierarchy: &&Hierarchy| {
            hierarchy.controllers.as_ref().is_some_and(|controllers| controllers.contains(controller))
        };
        let (hierarchy, file) = match self.hierarchies.iter().find(has) {
            Some(hierarchy) => (hierarchy, v1),
            None => (self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_none())?, v2),
        };
        fs::read_to_string(hierarchy.join(path).join(file)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::CgroupSettings;
    use std::path::Path;

    fn manager(hierarchies: Vec<Hierarchy>) -> CgroupManager {
        CgroupManager { settings: CgroupSettings::default(), hierarchies }
    }

    fn group(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("made");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("written");
        }
    }

    #[test]
    fn the_unified_hierarchy_is_read_where_it_is_the_only_one() {
        let root = tempfile::tempdir().expect("a directory");
        let all = root.path().join("kubepods");
        group(
            &all,
            &[("memory.max", "1000\n"), ("memory.current", "600\n"), ("memory.stat", "anon 1\ninactive_file 100\n")],
        );
        let pod: Pod =
            serde_json::from_value(serde_json::json!({ "metadata": { "uid": "u" }, "spec": { "containers": [] } }))
                .expect("a pod");
        group(&all.join("besteffort/podu"), &[("memory.current", "50"), ("memory.stat", ""), ("pids.current", "7\n")]);
        let manager = manager(vec![Hierarchy::new(root.path(), None)]);
        assert_eq!(manager.pods_memory(), Some((1000, 500)));
        assert_eq!(manager.pod_usage(&pod), Some(PodGroupUsage { memory_working_set: 50, processes: Some(7) }));
        group(&all, &[("memory.max", "max\n")]);
        assert_eq!(manager.pods_memory(), None);
    }

    #[test]
    fn a_hybrid_host_has_memory_in_its_own_hierarchy() {
        let root = tempfile::tempdir().expect("a directory");
        let (memory, unified) = (root.path().join("memory"), root.path().join("unified"));
        let files = [
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "600\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 200\n"),
        ];
        group(&memory.join("kubepods"), &files);
        let manager = manager(vec![Hierarchy::new(&unified, None), Hierarchy::new(&memory, Some("memory"))]);
        assert_eq!(manager.pods_memory(), None, "no limit");
        group(&memory.join("kubepods"), &[("memory.limit_in_bytes", "1000\n")]);
        assert_eq!(manager.pods_memory(), Some((1000, 400)));
    }
}
