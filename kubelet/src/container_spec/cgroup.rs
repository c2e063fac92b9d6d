//! Names of the cgroups that group pods by class. Pure; `cgroup_manager` makes and removes them.

use k8s_openapi::api::core::v1::Pod;

use super::context::uid;
use super::qos::{QosClass, qos_class};

/// Who manages cgroups: must be the same as the engine's driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    #[default]
    Cgroupfs,
    Systemd,
}

/// What the configuration says of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupSettings {
    /// `cgroupsPerQOS`; without it pods have no cgroup of their own.
    pub enabled: bool,
    pub driver: CgroupDriver,
    /// `cgroupRoot`, cgroupfs only: a path without a trailing slash, empty for the root.
    pub root: String,
    /// `podPidsLimit`
    pub pod_pids_limit: Option<i64>,
    /// `cpuCFSQuota`
    pub enforce_cpu_limits: bool,
    /// Whether containers may be protected from the out-of-memory killer; see [`may_lower_oom_score`].
    pub may_lower_oom_score: bool,
}

impl Default for CgroupSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            driver: CgroupDriver::default(),
            root: String::new(),
            pod_pids_limit: None,
            enforce_cpu_limits: true,
            may_lower_oom_score: true,
        }
    }
}

impl CgroupSettings {
    /// The parent of the pod's containers, as the engine wants it: a cgroupfs path or the name of a slice.
    #[must_use]
    pub fn parent(&self, pod: &Pod) -> Option<String> {
        self.enabled.then(|| {
            let names = Names { class: qos_class(pod), uid: uid(pod) };
            match self.driver {
                CgroupDriver::Cgroupfs => format!("{}{}", self.root, names.path()),
                CgroupDriver::Systemd => names.slices().pop().unwrap_or_default(),
            }
        })
    }

    /// The path of a pod's cgroup below the mount point of each hierarchy.
    #[must_use]
    pub fn pod_path(&self, uid: &str, class: QosClass) -> String {
        let names = Names { class, uid };
        match self.driver {
            CgroupDriver::Cgroupfs => format!("{}{}", self.root, names.path()),
            CgroupDriver::Systemd => format!("/{}", names.slices().join("/")),
        }
    }

    /// The path of the cgroup of all pods of a class; the guaranteed ones are directly below the root of all pods.
    #[must_use]
    pub fn class_path(&self, class: QosClass) -> String {
        let name = class_name(class);
        match (self.driver, name) {
            (CgroupDriver::Cgroupfs, None) => format!("{}/kubepods", self.root),
            (CgroupDriver::Cgroupfs, Some(name)) => format!("{}/kubepods/{name}", self.root),
            (CgroupDriver::Systemd, None) => "/kubepods.slice".to_owned(),
            (CgroupDriver::Systemd, Some(name)) => format!("/kubepods.slice/kubepods-{name}.slice"),
        }
    }

    /// The UID in the last component of a pod's cgroup path, if it is one.
    #[must_use]
    pub fn uid_of(&self, component: &str) -> Option<String> {
        match self.driver {
            CgroupDriver::Cgroupfs => component.strip_prefix("pod").map(str::to_owned),
            CgroupDriver::Systemd => {
                let name = component.strip_suffix(".slice")?;
                let (_, uid) = name.split_once("-pod")?;
                Some(uid.replace('_', "-"))
            }
        }
    }
}

/// Whether this process, and so an engine started like it, may set negative out-of-memory scores: CAP_SYS_RESOURCE
/// (bit 24) in the bounding set. Without it runc fails to start such a container.
#[must_use]
pub fn may_lower_oom_score() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_sys_resource(&status))
}

fn has_sys_resource(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .is_some_and(|set| set & (1 << 24) != 0)
}

struct Names<'a> {
    class: QosClass,
    uid: &'a str,
}

impl Names<'_> {
    fn path(&self) -> String {
        match class_name(self.class) {
            None => format!("/kubepods/pod{}", self.uid),
            Some(class) => format!("/kubepods/{class}/pod{}", self.uid),
        }
    }

    /// From the outermost to the pod's.
    fn slices(&self) -> Vec<String> {
        let uid = self.uid.replace('-', "_");
        match class_name(self.class) {
            None => vec!["kubepods.slice".to_owned(), format!("kubepods-pod{uid}.slice")],
            Some(class) => vec![
                "kubepods.slice".to_owned(),
                format!("kubepods-{class}.slice"),
                format!("kubepods-{class}-pod{uid}.slice"),
            ],
        }
    }
}

fn class_name(class: QosClass) -> Option<&'static str> {
    match class {
        QosClass::Guaranteed => None,
        QosClass::Burstable => Some("burstable"),
        QosClass::BestEffort => Some("besteffort"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cgroups_as_upstream() {
        let cgroupfs = CgroupSettings::default();
        let systemd = CgroupSettings { driver: CgroupDriver::Systemd, ..CgroupSettings::default() };
        for (class, path, slice) in [
            (QosClass::Guaranteed, "/kubepods/poda-b", "/kubepods.slice/kubepods-poda_b.slice"),
            (
                QosClass::Burstable,
                "/kubepods/burstable/poda-b",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice",
            ),
            (
                QosClass::BestEffort,
                "/kubepods/besteffort/poda-b",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice",
            ),
        ] {
            assert_eq!(cgroupfs.pod_path("a-b", class), path);
            assert_eq!(systemd.pod_path("a-b", class), slice);
            assert!(systemd.pod_path("a-b", class).starts_with(&systemd.class_path(class)));
            let last = |path: &str| path.rsplit('/').next().map(str::to_owned).expect("a component");
            assert_eq!(cgroupfs.uid_of(&last(path)).as_deref(), Some("a-b"));
            assert_eq!(systemd.uid_of(&last(slice)).as_deref(), Some("a-b"));
        }
        let mut pod = Pod::default();
        pod.metadata.uid = Some("x".to_owned());
        assert_eq!(systemd.parent(&pod).as_deref(), Some("kubepods-besteffort-podx.slice"));
        assert_eq!(CgroupSettings { enabled: false, ..systemd }.parent(&pod), None);
        assert_eq!(cgroupfs.uid_of("besteffort"), None);
    }

    #[test]
    fn reads_the_bounding_set() {
        assert!(has_sys_resource("Name:\tx\nCapBnd:\t000001ffffffffff\n"));
        assert!(!has_sys_resource("CapBnd:\t000001fffeffffff\n"));
        assert!(!has_sys_resource(""));
    }
}
