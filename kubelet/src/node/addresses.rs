//! Which addresses the node has. Order of trust: `--node-ip`, a node name that is an address, the hosts file if it gives the
//! node's name an address of this machine, the address that the default route uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use k8s_openapi::api::core::v1::NodeAddress;

/// The node's addresses, primary first; empty if the machine has no network.
#[must_use]
pub fn node_ips(flag: Option<&str>, node_name: &str) -> Vec<IpAddr> {
    let given: Vec<IpAddr> = flag.unwrap_or_default().split(',').filter_map(|part| part.trim().parse().ok()).collect();
    if given.iter().any(|ip| !ip.is_unspecified()) {
        return given.into_iter().filter(|ip| !ip.is_unspecified()).collect();
    }
    if let Ok(ip) = node_name.parse() {
        return vec![ip];
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    from_hosts(&hosts, node_name, &local_addresses()).or_else(default_route).into_iter().collect()
}

/// The name's address in a hosts file, if this machine has it; IPv4 first. DNS is not asked: a resolver that does not
/// answer would hold up the start for seconds.
fn from_hosts(hosts: &str, name: &str, local: &[IpAddr]) -> Option<IpAddr> {
    let mut ips: Vec<IpAddr> = hosts
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let ip: IpAddr = words.next()?.parse().ok()?;
            words.any(|word| word == name).then_some(ip)
        })
        .filter(|ip| !ip.is_loopback() && local.contains(ip))
        .collect();
    ips.sort_by_key(IpAddr::is_ipv6);
    ips.into_iter().next()
}

/// The Node object's list.
#[must_use]
pub fn node_addresses(ips: &[IpAddr], hostname: &str) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    ips.iter()
        .map(|ip| address("InternalIP", ip.to_string()))
        .chain([address("Hostname", hostname.to_owned())])
        .collect()
}

/// The source address of the default route. Connecting a datagram socket sends nothing.
fn default_route() -> Option<IpAddr> {
    let source = |bind: &str, target: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(target).ok()?;
        socket
            .local_addr()
            .ok()
            .map(|address: SocketAddr| address.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    source("0.0.0.0:0", "192.0.2.1:9").or_else(|| source("[::]:0", "[2001:db8::1]:9")).or_else(first_local)
}

/// A machine without a default route still has an address, perhaps.
fn first_local() -> Option<IpAddr> {
    local_addresses().into_iter().find(|ip| !ip.is_loopback() && *ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_addresses_win() {
        assert_eq!(
            node_ips(Some("10.0.0.1,fd00::1"), "n"),
            ["10.0.0.1".parse::<IpAddr>().expect("ip"), "fd00::1".parse().expect("ip")]
        );
        assert_eq!(node_ips(None, "10.1.1.1"), ["10.1.1.1".parse::<IpAddr>().expect("ip")]);
    }

    #[test]
    fn the_hosts_file_counts_only_for_own_addresses() {
        let hosts = "127.0.1.1 n\n10.0.0.5 n n.example # x\n10.0.0.6 n\n";
        let local = ["10.0.0.6".parse().expect("ip")];
        assert_eq!(from_hosts(hosts, "n", &local), Some(local[0]));
        assert_eq!(from_hosts(hosts, "m", &local), None);
    }

    #[test]
    fn the_list_ends_with_the_host_name() {
        let list = node_addresses(&["10.0.0.1".parse().expect("ip")], "n");
        assert_eq!(list.iter().map(|entry| entry.type_.as_str()).collect::<Vec<_>>(), ["InternalIP", "Hostname"]);
    }
}
