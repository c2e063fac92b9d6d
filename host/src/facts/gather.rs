//! Gathers the facts of this machine.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;

use junio_api::Layout;

use super::{CgroupVersion, DockerState, Facts, InitSystem, Leftovers, net, parse};
use crate::docker::{Docker, KUBELET_LABEL};

/// Programs that the kubelet and kube-proxy need on the host.
const PROGRAMS: [&str; 4] = ["mount", "umount", "cp", "losetup"];

/// Directories with certificate authorities that kubeadm mounts into the control plane where they exist.
const CERTIFICATE_DIRECTORIES: [&str; 5] = [
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

const RESOLVE: std::time::Duration = std::time::Duration::from_millis(300);

/// Links that an overlay leaves behind.
const OVERLAY_LINKS: [&str; 2] = ["cni0", "flannel.1"];

/// Looks at this machine. `ports` are the ones whose listeners are of interest. Docker is asked over `layout`'s socket.
pub async fn gather(layout: &Layout, ports: &[u16]) -> Facts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let interfaces = net::interfaces();
    let default_address = net::default_address();
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let ((docker, containers), hostname_resolves) = tokio::join!(docker_state(layout), resolves(&hostname));
    Facts {
        operating_system: parse::pretty_name(&text("/etc/os-release")),
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        uid: nix::unistd::geteuid().as_raw(),
        cpus: cpus(),
        memory_total: parse::memory_total(&text("/proc/meminfo")),
        swaps: parse::swaps(&text("/proc/swaps")),
        cgroup: cgroup_version(),
        init: init_system(),
        default_interface: interfaces
            .iter()
            .find(|interface| default_address.is_some_and(|address| interface.addresses.contains(&address)))
            .map(|interface| interface.name.clone()),
        default_address,
        routes: net::routes(),
        listeners: net::listeners(ports),
        capabilities: parse::capability_bound(&text("/proc/self/status")),
        ip_forward: crate::sysctl::read("net.ipv4.ip_forward").ok().flatten(),
        ipv6_forwarding: crate::sysctl::read("net.ipv6.conf.default.forwarding").ok().flatten(),
        bridge_nf_call_iptables: crate::sysctl::read("net.bridge.bridge-nf-call-iptables").ok().flatten(),
        missing_programs: PROGRAMS.iter().filter(|program| !in_path(program)).map(|p| (*p).to_owned()).collect(),
        disk_free: nix::sys::statvfs::statvfs("/var/lib")
            .ok()
            .map(|stat| stat.blocks_available() * stat.fragment_size()),
        firewalld: Path::new("/run/firewalld").exists() || Path::new("/run/firewalld.pid").exists(),
        hostname_resolves,
        docker,
        leftovers: leftovers(layout, &interfaces, containers),
        systemd_resolved: Path::new("/run/systemd/resolve/resolv.conf").exists()
            && text("/etc/resolv.conf").lines().any(|line| line.trim() == "nameserver 127.0.0.53"),
        conntrack_read_only: conntrack_read_only(),
        certificate_directories: CERTIFICATE_DIRECTORIES
            .iter()
            .filter(|d| Path::new(d).is_dir())
            .map(|d| (*d).to_owned())
            .collect(),
        hostname,
        interfaces,
    }
}

/// Whether the name resolves, within the time that a check is worth. The resolver blocks for seconds where no server answers,
/// so it gets a thread that nobody waits for.
async fn resolves(hostname: &str) -> bool {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let name = hostname.to_owned();
    let asking = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
        // Nobody listens any more when it took too long.
        let _ = sender.send(found);
    });
    asking.is_ok() && matches!(tokio::time::timeout(RESOLVE, receiver).await, Ok(Ok(true)))
}

async fn docker_state(layout: &Layout) -> (DockerState, usize) {
    let socket = layout.docker_socket();
    if !socket.exists() {
        return (DockerState::Absent, 0);
    }
    let asked = async {
        let docker = Docker::connect(&socket).await?;
        Ok::<_, crate::HostError>(tokio::try_join!(docker.facts(), docker.containers(KUBELET_LABEL))?)
    };
    match asked.await {
        Ok((facts, containers)) => (DockerState::Running(facts), containers.len()),
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            (DockerState::Unreachable { error: cause.to_string() }, 0)
        }
    }
}

/// The CPUs that this process may run on: what Go's `runtime.NumCPU` says, which kubeadm checks. A quota is no fewer CPUs.
fn cpus() -> usize {
    nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))
        .map_or(1, |set| (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or_default()).count())
}

fn cgroup_version() -> CgroupVersion {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        CgroupVersion::V2
    } else if root.join("unified").exists() {
        CgroupVersion::Hybrid
    } else {
        CgroupVersion::V1
    }
}

/// systemd says that it is in charge by this directory (`sd_booted(3)`).
#[must_use]
pub fn init_system() -> InitSystem {
    if Path::new("/run/systemd/system").is_dir() { InitSystem::Systemd } else { InitSystem::Other }
}

/// Outside the first network namespace the file shows no write permission for anybody, which root must heed here.
fn conntrack_read_only() -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata("/proc/sys/net/netfilter/nf_conntrack_max").is_ok_and(|file| file.permissions().mode() & 0o222 == 0)
}

/// True when `program` is an executable file in one of the usual places.
#[must_use]
pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].into_iter().map(Into::into))
        .any(|directory| directory.join(program).is_file())
}

fn leftovers(layout: &Layout, interfaces: &[super::Interface], containers: usize) -> Leftovers {
    let names = |directory: &Path| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    };
    Leftovers {
        manifests: names(&layout.manifests_dir()),
        etcd_data: !names(&layout.etcd_data_dir()).is_empty(),
        kubelet_conf: layout.kubelet_conf().exists(),
        admin_conf: layout.admin_conf().exists(),
        certificates: layout.pki_dir().join("ca.crt").exists(),
        journal: layout.journal().exists(),
        links: interfaces.iter().filter(|i| OVERLAY_LINKS.contains(&i.name.as_str())).map(|i| i.name.clone()).collect(),
        containers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_has_a_name_a_kernel_and_no_docker_below_an_empty_root() {
        let root = tempfile::tempdir().expect("temporary directory");
        let facts = gather(&Layout::new(root.path()), &[]).await;
        assert!(!facts.hostname.is_empty());
        assert!(!facts.kernel.is_empty());
        assert!(facts.memory_total > 0);
        assert!(facts.cpus > 0);
        assert!(matches!(facts.docker, DockerState::Absent));
        assert_eq!(facts.leftovers.manifests, Vec::<String>::new());
        assert!(!facts.leftovers.journal);
    }
}
