//! What a host is like, gathered once and read-only. Checks and plans are pure functions of this.

mod gather;
mod net;
mod parse;

pub(crate) use gather::in_path;
pub use gather::{gather, init_system};
pub use net::{Interface, Listener, Protocol, Route};

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::docker::DockerFacts;

/// A host at one moment. Sizes are bytes.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub hostname: String,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    pub kernel: String,
    pub architecture: String,
    pub uid: u32,
    pub cpus: usize,
    pub memory_total: u64,
    /// Devices and files in use as swap.
    pub swaps: Vec<String>,
    pub cgroup: CgroupVersion,
    pub init: InitSystem,
    /// The source address of the default route.
    pub default_address: Option<IpAddr>,
    pub default_interface: Option<String>,
    pub interfaces: Vec<Interface>,
    pub routes: Vec<Route>,
    /// Sockets that accept connections or datagrams on the ports that were asked for.
    pub listeners: Vec<Listener>,
    /// `CapBnd` of this process.
    pub capabilities: u64,
    pub ip_forward: Option<String>,
    pub ipv6_forwarding: Option<String>,
    /// `None`: the kernel has no bridge netfilter.
    pub bridge_nf_call_iptables: Option<String>,
    /// Programs that were looked for and not found in `PATH`.
    pub missing_programs: Vec<String>,
    /// Free bytes below `/var/lib`.
    pub disk_free: Option<u64>,
    /// An active firewalld.
    pub firewalld: bool,
    /// The host's name resolves.
    pub hostname_resolves: bool,
    pub docker: DockerState,
    pub leftovers: Leftovers,
    /// systemd-resolved is active, so the stub resolver must not be given to pods.
    pub systemd_resolved: bool,
    /// conntrack's limits cannot be set here (a network namespace that is not the machine's).
    pub conntrack_read_only: bool,
    /// Which of the directories that kubeadm mounts into the API server exist.
    pub certificate_directories: Vec<String>,
}

/// Docker Engine as seen over its socket.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum DockerState {
    /// Nobody asked.
    #[default]
    Unknown,
    /// There is no socket.
    Absent,
    /// There is a socket and nobody answers; the error.
    Unreachable {
        error: String,
    },
    Running(DockerFacts),
}

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    #[default]
    V1,
    /// v1 controllers with an empty v2 hierarchy beside them.
    Hybrid,
    V2,
}

/// What runs as process 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitSystem {
    Systemd,
    /// Something else; we keep the kubelet running ourselves.
    #[default]
    Other,
}

/// Traces of an earlier cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftovers {
    /// Files in `/etc/kubernetes/manifests`.
    pub manifests: Vec<String>,
    /// `/var/lib/etcd` is not empty.
    pub etcd_data: bool,
    pub kubelet_conf: bool,
    pub admin_conf: bool,
    /// The cluster's CA. Its directory says nothing: a kubelet makes one that a pod mounts.
    pub certificates: bool,
    /// Our journal is there: a run of ours began here and was not undone.
    pub journal: bool,
    /// Network links named `cni0` or `flannel.1`.
    pub links: Vec<String>,
    /// Containers of a kubelet (any), running or not.
    pub containers: usize,
}

impl Leftovers {
    /// Something of a cluster is here.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.manifests.is_empty()
            || self.etcd_data
            || self.kubelet_conf
            || self.admin_conf
            || !self.links.is_empty()
            || self.containers > 0
    }
}

impl Facts {
    /// Who accepts on this TCP port.
    #[must_use]
    pub fn tcp_listener(&self, port: u16) -> Option<&Listener> {
        self.listeners.iter().find(|l| l.protocol == Protocol::Tcp && l.port == port)
    }

    /// Routes to other places than the default route, except those of our own links.
    pub fn foreign_routes(&self) -> impl Iterator<Item = (&IpNet, &str)> {
        const OURS: [&str; 3] = ["cni0", "flannel.1", "lo"];
        self.routes
            .iter()
            .filter(|route| route.destination.prefix_len() > 0 && !OURS.contains(&route.interface.as_str()))
            .map(|route| (&route.destination, route.interface.as_str()))
    }
}
