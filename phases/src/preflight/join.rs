//! The checks of `join` on a worker, in kubeadm's order and under its names.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use junio_api::config::defaults::split_endpoint;
use junio_api::config::{InitDocuments, JoinConfiguration};
use junio_api::{Layout, cidr, ports};
use junio_host::Facts;
use junio_host::facts::Protocol;

use super::verdict::{Verdict, path_name};
use super::{Input, checks, docker};

/// What this host is to the cluster that it is to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No run of ours changed anything here.
    Fresh,
    /// A join of ours began here and did not get as far as a kubeconfig.
    Interrupted,
    /// A node of this very cluster, by a join of ours.
    Member,
    /// A node of another cluster, by a join of ours; its server.
    Stranger { server: String },
    /// A node of this cluster under this other name.
    OtherName { name: String },
    /// The control plane of a cluster that `init` made here.
    ControlPlane,
}

impl Standing {
    /// Files, ports and links here are of this cluster.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Member)
    }
}

/// What is looked at before the cluster is asked.
pub(crate) struct JoinInput<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) join: &'a JoinConfiguration,
    pub(crate) layout: &'a Layout,
    pub(crate) standing: &'a Standing,
    pub(crate) bundle: Option<Verdict>,
}

const EARLIER: &str = "an earlier cluster on this host was not removed";

/// The findings, and how many checks there were.
pub(crate) fn evaluate_join(input: &JoinInput<'_>) -> (Vec<Verdict>, usize) {
    let mut documents = InitDocuments::default();
    documents.init.node_registration = input.join.node_registration.clone();
    let common = Input {
        facts: input.facts,
        documents: &documents,
        ours: input.standing.is_ours(),
        overlay: true,
        bundle: None,
        external_etcd: Vec::new(),
        proxies: &[],
    };
    let mut found = Vec::new();
    standing(input, &mut found);
    files(input, &mut found);
    docker::engine(&common, &mut found);
    checks::swap(&common, &mut found);
    checks::programs(&common, &mut found);
    checks::system(&common, &mut found);
    checks::hostname(&common, &mut found);
    taken_ports(input, &mut found);
    forwarding(input, &mut found);
    leftovers(input, &mut found);
    checks::disk(&common, &mut found);
    found.extend(input.bundle.clone());
    (found, 12)
}

/// What kind of node this host is already.
fn standing(input: &JoinInput<'_>, found: &mut Vec<Verdict>) {
    let kubeconfig = input.layout.kubelet_conf();
    let check = path_name("FileAvailable", &kubeconfig);
    match input.standing {
        Standing::Fresh | Standing::Interrupted | Standing::Member => {}
        Standing::Stranger { server } => {
            let text = format!("this host is a node of another cluster already, the one at {server}");
            found.push(
                Verdict::error(check, "OTHER-CLUSTER", text, "junioadm reset")
                    .because("a host belongs to one cluster; reset takes it out of that one"),
            );
        }
        Standing::OtherName { name } => {
            let text = format!(
                "this host is the node {name} of this cluster already and cannot become {} beside that",
                input.join.node_registration.name
            );
            found.push(Verdict::error(check, "OTHER-CLUSTER", text, "junioadm reset"));
        }
        Standing::ControlPlane => {
            let text = "this host is the control plane of a cluster that junioadm init made";
            found.push(
                Verdict::error(check, "OTHER-CLUSTER", text, "junioadm reset")
                    .because("a host belongs to one cluster; reset removes that cluster"),
            );
        }
    }
}

/// Files of a cluster that is not ours to know.
fn files(input: &JoinInput<'_>, found: &mut Vec<Verdict>) {
    if *input.standing != Standing::Fresh {
        return;
    }
    let ca = input.layout.root().join(input.join.ca_cert_path.trim_start_matches('/'));
    for path in [input.layout.kubelet_conf(), input.layout.bootstrap_kubelet_conf(), ca] {
        if path.exists() {
            let text = format!("{} already exists", path.display());
            let verdict = Verdict::error(path_name("FileAvailable", &path), "LEFTOVERS", text, "junioadm reset");
            found.push(verdict.because(EARLIER));
        }
    }
    let of_control_plane = |name: &&String| name.starts_with("kube-") || name.as_str() == "etcd.yaml";
    let manifests: Vec<&str> =
        input.facts.leftovers.manifests.iter().filter(of_control_plane).map(String::as_str).collect();
    if !manifests.is_empty() {
        let directory = PathBuf::from("/etc/kubernetes/manifests");
        let text = format!("{} holds {}", directory.display(), manifests.join(", "));
        let verdict = Verdict::error(path_name("DirAvailable", &directory), "LEFTOVERS", text, "junioadm reset");
        found.push(verdict.because("the kubelet would run what earlier clusters left there"));
    }
}

fn taken_ports(input: &JoinInput<'_>, found: &mut Vec<Verdict>) {
    // On a node of another cluster of ours, the ports are no second complaint.
    let is_node = *input.standing != Standing::Fresh;
    let holds = |process: Option<&str>, names: &[&str]| {
        is_node && process.is_none_or(|process| names.iter().any(|name| process.starts_with(name)))
    };
    for port in [ports::KUBELET, ports::KUBELET_HEALTHZ] {
        let Some(listener) = input.facts.tcp_listener(port) else { continue };
        let process = listener.process.as_deref();
        if !holds(process, &["junio-kubelet"]) {
            let by = process.map_or_else(String::new, |process| format!(" by {process}"));
            let text = format!("port {port} is in use{by}");
            let command = format!("ss -ltnp sport = :{port}");
            found.push(Verdict::error(format!("Port-{port}"), "PORT-IN-USE", text, command));
        }
    }
    // The kernel holds the port of a VXLAN link itself; a process on it is somebody else.
    let listeners = input.facts.listeners.iter();
    for listener in listeners.filter(|l| l.protocol == Protocol::Udp && l.port == ports::VXLAN) {
        let Some(process) = listener.process.as_deref().filter(|process| !holds(Some(process), &["flanneld"])) else {
            continue;
        };
        let text = format!("UDP port {} is in use by {process}, the overlay network needs it", ports::VXLAN);
        let command = format!("ss -lunp sport = :{}", ports::VXLAN);
        found.push(Verdict::error(format!("Port-{}", ports::VXLAN), "PORT-IN-USE", text, command));
    }
}

/// kubeadm looks where the endpoint is an address; forwarding is what a node is for, so ours is switched on and recorded.
fn forwarding(input: &JoinInput<'_>, found: &mut Vec<Verdict>) {
    let endpoint = input.join.discovery.bootstrap_token.as_ref().map(|token| token.api_server_endpoint.as_str());
    let address = endpoint.and_then(|endpoint| split_endpoint(endpoint).0.parse::<IpAddr>().ok());
    if !matches!(address, Some(IpAddr::V6(_))) && input.facts.ip_forward.as_deref() != Some("1") {
        let text = "/proc/sys/net/ipv4/ip_forward is not set to 1; it will be";
        found.push(Verdict::warning("FileContent--proc-sys-net-ipv4-ip_forward", "IP-FORWARD", text));
    }
    if matches!(address, Some(IpAddr::V6(_))) && input.facts.ipv6_forwarding.as_deref() != Some("1") {
        let text = "/proc/sys/net/ipv6/conf/default/forwarding contents are not set to 1";
        let command = "sysctl -w net.ipv6.conf.default.forwarding=1 net.ipv6.conf.all.forwarding=1";
        found.push(Verdict::error(
            "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
            "IP-FORWARD",
            text,
            command,
        ));
    }
}

fn leftovers(input: &JoinInput<'_>, found: &mut Vec<Verdict>) {
    let leftovers = &input.facts.leftovers;
    if *input.standing != Standing::Fresh {
        return;
    }
    if leftovers.containers > 0 {
        let text = format!("an earlier cluster left {} containers of a kubelet on this host", leftovers.containers);
        found.push(Verdict::error("Leftovers", "LEFTOVERS", text, "junioadm reset").because(EARLIER));
    }
    if !leftovers.links.is_empty() {
        let text = format!("network links of an earlier cluster are there: {}", leftovers.links.join(", "));
        found.push(Verdict::error("Leftovers-links", "LEFTOVERS", text, "junioadm reset").because(EARLIER));
    }
}

/// What can only be judged when the cluster's subnets are known.
pub(crate) fn in_cluster(facts: &Facts, standing: &Standing, subnets: &[(&str, Vec<IpNet>)]) -> Vec<Verdict> {
    let mut found = Vec::new();
    if standing.is_ours() {
        return found;
    }
    for (name, subnet) in subnets.iter().flat_map(|(name, nets)| nets.iter().map(move |net| (name, net))) {
        if let Some((route, interface)) = facts.foreign_routes().find(|(route, _)| cidr::overlap(subnet, route)) {
            let text = format!(
                "the cluster's {name} subnet {subnet} overlaps the route {route} of this host (interface {interface})"
            );
            found.push(
                Verdict::error(format!("CIDROverlap-{name}"), "CIDR-OVERLAP", text, "ip route")
                    .because("pods or services of the cluster could not be told from hosts behind that route"),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::verdict::Severity;
    use crate::test_support::{facts, listener, route};
    use junio_api::config::{HostFacts, JoinDocuments, defaults};

    fn join() -> JoinConfiguration {
        let mut documents = JoinDocuments::default();
        let token = "abcdef.0123456789abcdef".parse().expect("a token");
        defaults::apply_join(
            &mut documents,
            &HostFacts { hostname: "worker-1".to_owned(), default_address: None, token },
        );
        documents.join
    }

    fn errors(facts: &Facts, layout: &Layout, standing: &Standing) -> Vec<String> {
        let input = JoinInput { facts, join: &join(), layout, standing, bundle: None };
        let found = evaluate_join(&input).0;
        for verdict in found.iter().filter(|v| v.severity == Severity::Error) {
            assert!(verdict.next_step.command.is_some(), "{verdict:?}");
        }
        found.into_iter().filter(|v| v.severity == Severity::Error).map(|v| v.check).collect()
    }

    #[test]
    fn a_small_host_with_docker_can_be_a_worker() {
        let root = tempfile::tempdir().expect("temporary directory");
        let facts = Facts { cpus: 1, memory_total: 512 << 20, ..facts() };
        assert_eq!(errors(&facts, &Layout::new(root.path()), &Standing::Fresh), Vec::<String>::new());
    }

    #[test]
    fn traces_of_another_cluster_are_errors_on_a_fresh_host_only() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        std::fs::create_dir_all(layout.kubernetes_dir()).expect("made");
        std::fs::write(layout.kubelet_conf(), "theirs").expect("written");
        let mut facts = facts();
        facts.leftovers.containers = 3;
        facts.leftovers.links = vec!["cni0".to_owned()];
        facts.listeners.push(listener(10250, Some("junio-kubelet (process 4)")));
        let checks = errors(&facts, &layout, &Standing::Fresh);
        assert!(checks[0].ends_with("-etc-kubernetes-kubelet.conf"), "{checks:?}");
        assert_eq!(checks[1..], ["Port-10250", "Leftovers", "Leftovers-links"]);
        assert_eq!(errors(&facts, &layout, &Standing::Member), Vec::<String>::new());
        facts.listeners[0] = listener(10250, Some("kubelet (process 4)"));
        assert_eq!(errors(&facts, &layout, &Standing::Member), ["Port-10250"], "a stranger on the port");
    }

    #[test]
    fn nodes_of_other_clusters_and_control_planes_are_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        for standing in [
            Standing::ControlPlane,
            Standing::Stranger { server: "https://10.0.0.1:6443".to_owned() },
            Standing::OtherName { name: "a".to_owned() },
        ] {
            let mut facts = facts();
            facts.listeners.push(listener(10250, Some("junio-kubelet (process 4)")));
            assert_eq!(errors(&facts, &layout, &standing).len(), 1, "{standing:?}");
        }
    }

    #[test]
    fn the_clusters_subnets_must_not_be_routed_elsewhere() {
        let mut facts = facts();
        facts.routes = vec![route("10.244.3.0/24", "cni0"), route("10.244.128.0/17", "wg0")];
        let subnets = [("pod", vec!["10.244.0.0/16".parse().expect("a subnet")])];
        let found = in_cluster(&facts, &Standing::Fresh, &subnets);
        assert!(found[0].text.contains("wg0"), "{found:?}");
        assert!(in_cluster(&facts, &Standing::Member, &subnets).is_empty());
    }
}
