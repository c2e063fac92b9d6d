//! Subnets against the host's routes, forwarding, proxies.

use std::net::IpAddr;

use ipnet::IpNet;
use junio_api::cidr;

use super::Input;
use super::verdict::Verdict;

/// The subnets of a `A,B` list.
pub(crate) fn subnets(text: &str) -> Vec<IpNet> {
    text.split(',').filter_map(|part| part.trim().parse().ok()).collect()
}

pub(super) fn overlaps(input: &Input<'_>, found: &mut Vec<Verdict>) {
    if input.ours {
        return;
    }
    let networking = &input.documents.cluster.networking;
    for (name, field, text) in [
        ("pod", "--pod-network-cidr", &networking.pod_subnet),
        ("service", "--service-cidr", &networking.service_subnet),
    ] {
        for subnet in subnets(text) {
            let route = input.facts.foreign_routes().find(|(route, _)| cidr::overlap(&subnet, route));
            if let Some((route, interface)) = route {
                let text = format!(
                    "the {name} subnet {subnet} overlaps the route {route} of this host (interface {interface})"
                );
                let command = format!("junioadm init {field} <another subnet>");
                found.push(Verdict::error(format!("CIDROverlap-{name}"), "CIDR-OVERLAP", text, command));
            }
        }
    }
}

pub(super) fn forwarding(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let facts = input.facts;
    // kubeadm stops here. Forwarding is what a node is for, so it is switched on (and recorded); the owner hears of it.
    if facts.ip_forward.as_deref() != Some("1") {
        let text = "/proc/sys/net/ipv4/ip_forward is not set to 1; it will be";
        found.push(Verdict::warning("FileContent--proc-sys-net-ipv4-ip_forward", "IP-FORWARD", text));
    }
    let v6 = subnets(&input.documents.cluster.networking.pod_subnet).iter().any(|net| matches!(net, IpNet::V6(_)));
    if v6 && facts.ipv6_forwarding.as_deref() != Some("1") {
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

pub(super) fn proxies(input: &Input<'_>, found: &mut Vec<Verdict>) {
    let address = &input.documents.init.local_api_endpoint.advertise_address;
    let networking = &input.documents.cluster.networking;
    if uses_proxy(input.proxies, address) {
        let text = format!(
            "connection to \"https://{address}\" uses a proxy of the environment; add it to no_proxy if that is not intended"
        );
        found.push(Verdict::warning("HTTPProxy", "PROXY", text));
    }
    for subnet in subnets(&networking.service_subnet).into_iter().chain(subnets(&networking.pod_subnet)) {
        if cidr::nth_address(&subnet, 1).is_some_and(|first| uses_proxy(input.proxies, &first.to_string())) {
            let text = format!(
                "connection to {subnet} uses a proxy of the environment; this may lead to malfunctional cluster setup, add it to no_proxy"
            );
            found.push(Verdict::warning("HTTPProxyCIDR", "PROXY", text));
        }
    }
}

/// Whether Go's rules send a request to this address through a proxy.
fn uses_proxy(variables: &[(String, String)], address: &str) -> bool {
    let value =
        |name: &str| variables.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    if value("https_proxy").is_none_or(str::is_empty) {
        return false;
    }
    let excluded = |rule: &str| {
        rule == "*"
            || rule == address
            || rule
                .parse::<IpNet>()
                .is_ok_and(|net| address.parse::<IpAddr>().is_ok_and(|address| net.contains(&address)))
    };
    !value("no_proxy").is_some_and(|list| list.split(',').map(str::trim).any(excluded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{documents, facts, route};

    #[test]
    fn subnets_that_the_host_routes_elsewhere_are_refused() {
        let mut facts = facts();
        facts.routes = vec![route("0.0.0.0/0", "eth0"), route("10.244.0.0/24", "cni0"), route("10.100.0.0/16", "wg0")];
        let documents = documents();
        let mut found = Vec::new();
        overlaps(
            &Input {
                facts: &facts,
                documents: &documents,
                ours: false,
                overlay: true,
                bundle: None,
                external_etcd: Vec::new(),
                proxies: &[],
            },
            &mut found,
        );
        let texts: Vec<&str> = found.iter().map(|v| v.text.as_str()).collect();
        assert_eq!(
            texts,
            ["the service subnet 10.96.0.0/12 overlaps the route 10.100.0.0/16 of this host (interface wg0)"]
        );
    }

    #[test]
    fn proxies_follow_gos_rules() {
        let variables = |no_proxy: &str| {
            vec![("HTTPS_PROXY".to_owned(), "http://p".to_owned()), ("no_proxy".to_owned(), no_proxy.to_owned())]
        };
        assert!(!uses_proxy(&[], "10.0.0.1"));
        assert!(uses_proxy(&variables(""), "10.0.0.1"));
        assert!(!uses_proxy(&variables("localhost, 10.0.0.0/8"), "10.0.0.1"));
        assert!(!uses_proxy(&variables("*"), "10.0.0.1"));
        assert!(uses_proxy(&variables("192.168.0.0/16"), "10.0.0.1"));
    }
}
