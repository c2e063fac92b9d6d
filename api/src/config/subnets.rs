//! The rules about service and pod subnets.

use ipnet::IpNet;

use super::cluster::Networking;
use super::validate::Problems;
use crate::cidr;

/// Bits of the subnet that each node gets: 24 for IPv4, 64 for IPv6.
fn node_mask(net: &IpNet) -> u8 {
    if matches!(net, IpNet::V4(_)) { 24 } else { 64 }
}

fn host_bits(net: &IpNet) -> u8 {
    net.max_prefix_len() - net.prefix_len()
}

pub(super) fn check(p: &mut Problems, networking: &Networking) {
    let services = subnets(p, "networking.serviceSubnet", &networking.service_subnet);
    for net in &services {
        if host_bits(net) < 4 {
            p.add(
                "networking.serviceSubnet",
                format!(
                    "{net} is too small: at least 10 addresses are needed, so /{} or larger",
                    net.max_prefix_len() - 4
                ),
            );
        }
        if host_bits(net) > 20 {
            p.add(
                "networking.serviceSubnet",
                format!("{net} is too large: at most 20 host bits, so /{} or smaller", net.max_prefix_len() - 20),
            );
        }
    }
    if networking.pod_subnet.is_empty() {
        return;
    }
    let pods = subnets(p, "networking.podSubnet", &networking.pod_subnet);
    for net in &pods {
        let mask = node_mask(net);
        if net.prefix_len() > mask {
            p.add("networking.podSubnet", format!("{net} is too small: each node takes a /{mask} of it"));
        } else if mask - net.prefix_len() > 16 {
            p.add(
                "networking.podSubnet",
                format!(
                    "{net} is too large: a node's /{mask} can be at most 16 bits below it, so /{} or smaller",
                    mask - 16
                ),
            );
        }
    }
    for pod in &pods {
        for service in services.iter().filter(|service| cidr::overlap(pod, service)) {
            p.add("networking.podSubnet", format!("{pod} overlaps the service subnet {service}"));
        }
    }
}

/// The subnets of a comma-separated text: one, or two of both families.
fn subnets(p: &mut Problems, path: &str, text: &str) -> Vec<IpNet> {
    let mut found: Vec<IpNet> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse::<IpNet>() {
            Ok(net) => found.push(net.trunc()),
            Err(_) => p.add(path, format!("{part:?} is not a subnet, expected for example 10.96.0.0/12")),
        }
    }
    let v4 = found.iter().filter(|net| matches!(net, IpNet::V4(_))).count();
    if v4 > 1 || found.len() - v4 > 1 {
        p.add(path, "at most two subnets, one of each IP family");
    }
    found
}
