//! The checks, in kubeadm's order. Source of names, texts and severities: kubeadm v1.36.3 `app/preflight`; what is about CRI
//! there is about Docker Engine here.

use std::path::Path;

use junio_api::{names, ports};
use junio_host::Facts;
use junio_host::facts::{CgroupVersion, Protocol};

use super::verdict::{Verdict, path_name};
use super::{Input, docker, network};

const MIN_CPUS: usize = 2;
const MIN_MEMORY: u64 = 1700 * 1_000_000;
const MIN_KERNEL: (u32, u32) = (5, 4);
const MIN_DISK: u64 = 2 << 30;
const MANIFESTS: [&str; 4] =
    [names::KUBE_APISERVER, names::KUBE_CONTROLLER_MANAGER, names::KUBE_SCHEDULER, names::ETCD];

/// Names of processes that our own cluster runs; a port that they hold is no obstacle to a second run.
const OUR_PROCESSES: [&str; 6] =
    ["kube-apiserver", "kube-controller", "kube-scheduler", "etcd", "junio-kubelet", "flanneld"];

fn of_a_cluster(process: &str) -> bool {
    OUR_PROCESSES.iter().any(|name| process.starts_with(name))
}

/// Runs all checks: the findings, and how many checks there were.
pub(crate) fn evaluate(input: &Input<'_>) -> (Vec<Verdict>, usize) {
    if input.facts.uid != 0 {
        // As kubeadm: alone and first, since without privileges the other answers would be wrong.
        return (
            vec![Verdict::error("IsPrivilegedUser", "NOT-ROOT", "user is not running as root", "sudo junioadm init")],
            1,
        );
    }
    type Check = fn(&Input<'_>, &mut Vec<Verdict>);
    const CHECKS: [Check; 18] = [
        cpus,
        memory,
        firewalld,
        taken_ports,
        manifests,
        network::proxies,
        docker::engine,
        swap,
        programs,
        system,
        hostname,
        network::forwarding,
        external_etcd,
        etcd_directory,
        leftovers,
        network::overlaps,
        disk,
        bundle,
    ];
    let mut found = Vec::new();
    for check in CHECKS {
        check(input, &mut found);
    }
    (found, CHECKS.len() + 1)
}

fn cpus(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let cpus = input.facts.cpus;
    if cpus < MIN_CPUS {
        let text = format!("the number of available CPUs {cpus} is less than the required {MIN_CPUS}");
        found.push(Verdict::error("NumCPU", "TOO-FEW-CPUS", text, "junioadm init --ignore-preflight-errors=NumCPU"));
    }
}

fn memory(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let total = input.facts.memory_total;
    if total < MIN_MEMORY {
        let text =
            format!("the system RAM ({} MB) is less than the minimum {} MB", total / 1_000_000, MIN_MEMORY / 1_000_000);
        found.push(Verdict::error("Mem", "LOW-MEMORY", text, "junioadm init --ignore-preflight-errors=Mem"));
    }
}

fn firewalld(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if input.facts.firewalld {
        let port = input.documents.init.local_api_endpoint.bind_port;
        let text = format!(
            "firewalld is active, please ensure ports [{port} {}] are open or your cluster may not function correctly",
            ports::KUBELET
        );
        found.push(Verdict::warning("Firewalld", "FIREWALLD", text));
    }
}

fn taken_ports(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let mut wanted = vec![
        input.documents.init.local_api_endpoint.bind_port,
        ports::SCHEDULER,
        ports::CONTROLLER_MANAGER,
        ports::KUBELET,
        ports::KUBELET_HEALTHZ,
    ];
    if input.documents.cluster.etcd.external.is_none() {
        wanted.extend([ports::ETCD_CLIENT, ports::ETCD_PEER, ports::ETCD_METRICS]);
    }
    for port in wanted {
        let Some(listener) = input.facts.tcp_listener(port) else { continue };
        let process = listener.process.as_deref();
        let is_ours = input.ours && process.is_none_or(of_a_cluster);
        if is_ours {
            continue;
        }
        let by = process.map_or_else(String::new, |process| format!(" by {process}"));
        let check = format!("Port-{port}");
        if input.facts.leftovers.any() && process.is_some_and(of_a_cluster) {
            let text = format!("port {port} is in use{by}, which an earlier cluster left running");
            found.push(Verdict::error(check, "LEFTOVERS", text, "junioadm reset").because(EARLIER));
        } else {
            let text = format!("port {port} is in use{by}");
            found.push(Verdict::error(check, "PORT-IN-USE", text, format!("ss -ltnp sport = :{port}")));
        }
    }
    let vxlan = input
        .facts
        .listeners
        .iter()
        .find(|l| l.protocol == Protocol::Udp && l.port == ports::VXLAN && l.process.is_some());
    if let (true, false, Some(listener)) = (input.overlay, input.ours, vxlan) {
        let by = listener.process.as_deref().unwrap_or_default();
        let text = format!("UDP port {} is in use by {by}, the overlay network needs it", ports::VXLAN);
        found.push(Verdict::error(
            format!("Port-{}", ports::VXLAN),
            "PORT-IN-USE",
            text,
            format!("ss -lunp sport = :{}", ports::VXLAN),
        ));
    }
}

fn manifests(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if input.ours {
        return;
    }
    for component in MANIFESTS {
        let name = format!("{component}.yaml");
        if input.facts.leftovers.manifests.contains(&name) {
            let path = Path::new("/etc/kubernetes/manifests").join(&name);
            let text = format!("{} already exists", path.display());
            found.push(
                Verdict::error(path_name("FileAvailable", &path), "LEFTOVERS", text, "junioadm reset").because(EARLIER),
            );
        }
    }
}

const EARLIER: &str = "an earlier cluster on this host was not removed";

pub(super) fn swap(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if !input.facts.swaps.is_empty() {
        let text = format!(
            "swap is in use ({}); the kubelet does not limit what pods swap, `swapoff -a` turns it off",
            input.facts.swaps.join(", ")
        );
        found.push(Verdict::warning("Swap", "SWAP", text));
    }
}

pub(super) fn programs(input: &Input<'_>, found: &mut Vec<Verdict>) {
    for program in &input.facts.missing_programs {
        let text = format!("{program} not found in system path");
        found.push(Verdict::error(
            format!("FileExisting-{program}"),
            "PROGRAM-MISSING",
            text,
            "apt-get install mount coreutils",
        ));
    }
}

pub(super) fn system(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let facts = input.facts;
    if kernel_version(&facts.kernel).is_some_and(|version| version < MIN_KERNEL) {
        let text = format!("kernel {} is older than {}.{}", facts.kernel, MIN_KERNEL.0, MIN_KERNEL.1);
        found.push(Verdict::warning("SystemVerification", "KERNEL-OLD", text));
    }
    if facts.architecture != "x86_64" {
        let text = format!("the bundle is for x86_64, this host is {}", facts.architecture);
        found.push(Verdict::error("SystemVerification", "ARCHITECTURE", text, "uname -m"));
    }
    if facts.cgroup != CgroupVersion::V2 {
        // An error with kubeadm. Our kubelet works on both, so the host's owner only hears of it.
        found.push(Verdict::warning(
            "SystemVerification",
            "CGROUP-V1",
            "this host uses cgroups v1, which Kubernetes will stop supporting",
        ));
    }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn hostname(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if !input.facts.hostname_resolves {
        let text = format!("hostname {:?} could not be reached", input.facts.hostname);
        found.push(Verdict::warning("Hostname", "HOSTNAME", text));
    }
}

fn external_etcd(input: &Input<'_>, found: &mut Vec<Verdict>) {
    found.extend(input.external_etcd.iter().cloned());
}

fn etcd_directory(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let Some(local) = &input.documents.cluster.etcd.local else { return };
    if !input.ours && input.facts.leftovers.etcd_data {
        let path = Path::new(&local.data_dir);
        let text = format!("{} is not empty", path.display());
        found.push(
            Verdict::error(path_name("DirAvailable", path), "LEFTOVERS", text, "junioadm reset").because(EARLIER),
        );
    }
}

fn leftovers(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let leftovers = &input.facts.leftovers;
    if input.ours {
        // Certificates come before etcd's data and go after it, so only another hand can have removed them.
        let default_place = Path::new(&input.documents.cluster.certificates_dir) == Path::new("/etc/kubernetes/pki");
        if leftovers.etcd_data && !leftovers.certificates && default_place {
            let text = "/var/lib/etcd holds a cluster whose certificates in /etc/kubernetes/pki are gone";
            let verdict = Verdict::error("Leftovers", "LEFTOVERS", text, "junioadm reset");
            found.push(verdict.because("with new certificates the old cluster's data cannot be used"));
        }
        return;
    }
    let mut traces = Vec::new();
    if leftovers.kubelet_conf {
        traces.push("/etc/kubernetes/kubelet.conf".to_owned());
    }
    if leftovers.admin_conf {
        traces.push("/etc/kubernetes/admin.conf".to_owned());
    }
    if leftovers.containers > 0 {
        traces.push(format!("{} containers of a kubelet", leftovers.containers));
    }
    if !traces.is_empty() {
        let text = format!("an earlier cluster left {} on this host", traces.join(", "));
        found.push(Verdict::error("Leftovers", "LEFTOVERS", text, "junioadm reset").because(EARLIER));
    }
    if input.overlay && !leftovers.links.is_empty() {
        let text = format!("network links of an earlier cluster are there: {}", leftovers.links.join(", "));
        found.push(Verdict::error("Leftovers-links", "LEFTOVERS", text, "junioadm reset").because(EARLIER));
    }
}

pub(super) fn disk(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if let Some(free) = input.facts.disk_free.filter(|free| *free < MIN_DISK) {
        let text = format!("only {} MB are free below /var/lib", free / 1_000_000);
        found.push(Verdict::warning("DiskSpace", "DISK-SPACE", text));
    }
}

fn bundle(input: &Input<'_>, found: &mut Vec<Verdict>) {
    found.extend(input.bundle.clone());
}

/// Whether another resolver than the stub must be given to pods; kubeadm sets `resolvConf` then.
pub(crate) fn resolv_conf(facts: &Facts) -> Option<&'static str> {
    facts.systemd_resolved.then_some("/run/systemd/resolve/resolv.conf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::verdict::Severity;
    use crate::test_support::{documents, facts, listener};
    use junio_api::config::InitDocuments;

    fn verdicts(facts: &Facts, documents: &InitDocuments, ours: bool) -> Vec<Verdict> {
        evaluate(&Input {
            facts,
            documents,
            ours,
            overlay: true,
            bundle: None,
            external_etcd: Vec::new(),
            proxies: &[],
        })
        .0
    }

    fn errors(facts: &Facts, ours: bool) -> Vec<String> {
        verdicts(facts, &documents(), ours)
            .into_iter()
            .filter(|v| v.severity == Severity::Error)
            .map(|v| v.check)
            .collect()
    }

    #[test]
    fn a_good_host_has_no_errors() {
        assert_eq!(errors(&facts(), false), Vec::<String>::new());
    }

    #[test]
    fn without_privileges_nothing_else_is_judged() {
        let facts = Facts { uid: 1000, cpus: 1, ..facts() };
        assert_eq!(errors(&facts, false), ["IsPrivilegedUser"]);
    }

    #[test]
    fn all_failures_come_together_with_kubeadms_names() {
        let mut facts =
            Facts { cpus: 1, memory_total: 1 << 30, missing_programs: vec!["losetup".to_owned()], ..facts() };
        facts.listeners.push(listener(6443, Some("nginx (process 7)")));
        facts.leftovers.manifests = vec!["etcd.yaml".to_owned()];
        facts.leftovers.etcd_data = true;
        let expected = [
            "NumCPU",
            "Mem",
            "Port-6443",
            "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
            "FileExisting-losetup",
            "DirAvailable--var-lib-etcd",
        ];
        assert_eq!(errors(&facts, false), expected);
    }

    #[test]
    fn every_error_has_a_next_command() {
        let mut facts = Facts {
            cpus: 1,
            memory_total: 1,
            missing_programs: vec!["cp".to_owned()],
            docker: junio_host::facts::DockerState::Absent,
            ..facts()
        };
        facts.leftovers.kubelet_conf = true;
        for verdict in verdicts(&facts, &documents(), false).into_iter().filter(|v| v.severity == Severity::Error) {
            assert!(verdict.next_step.command.is_some(), "{verdict:?}");
        }
    }

    #[test]
    fn the_process_on_a_port_is_named_and_our_own_are_no_obstacle_to_a_second_run() {
        let mut facts = facts();
        facts.listeners.push(listener(6443, Some("kube-apiserver (process 9)")));
        facts.listeners.push(listener(10250, None));
        facts.leftovers.manifests = vec!["etcd.yaml".to_owned()];
        facts.leftovers.links = vec!["cni0".to_owned()];
        facts.leftovers.containers = 4;
        assert_eq!(errors(&facts, true), Vec::<String>::new());
        let found = verdicts(&facts, &documents(), false);
        let of_port = |port: u16| found.iter().find(|v| v.check == format!("Port-{port}")).expect("taken").clone();
        assert!(of_port(6443).text.starts_with("port 6443 is in use by kube-apiserver (process 9)"));
        assert_eq!(of_port(6443).code.to_string(), "JUNIO-LEFTOVERS", "it belongs to what else is there");
        assert_eq!(of_port(10250).code.to_string(), "JUNIO-PORT-IN-USE", "nobody knows whose it is");
        facts.listeners.push(listener(2379, Some("nginx (process 3)")));
        assert_eq!(errors(&facts, true), ["Port-2379"], "a stranger on a port stays an obstacle");
    }

    #[test]
    fn a_recorded_cluster_whose_certificates_are_gone_is_no_cluster_to_go_on_with() {
        let mut facts = facts();
        facts.leftovers.etcd_data = true;
        facts.leftovers.journal = true;
        assert_eq!(errors(&facts, true), ["Leftovers"]);
        facts.leftovers.certificates = true;
        assert_eq!(errors(&facts, true), Vec::<String>::new());
    }

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(kernel_version("6.18.44-cloud"), Some((6, 18)));
        assert!(kernel_version("4.19.0").is_some_and(|v| v < MIN_KERNEL));
        assert!(kernel_version("5.10.1").is_some_and(|v| v > MIN_KERNEL));
    }
}
