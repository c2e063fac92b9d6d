//! Interfaces, routes and listening sockets, read from the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    pub destination: IpNet,
    pub interface: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A socket that takes what comes to a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
    /// `NAME (process PID)`, when it could be read.
    pub process: Option<String>,
    #[serde(skip)]
    pub(crate) inode: u64,
}

impl Listener {
    #[must_use]
    pub fn new(protocol: Protocol, address: IpAddr, port: u16, process: Option<String>) -> Self {
        Self { protocol, address, port, process, inode: 0 }
    }
}

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// The address that packets to the world leave from. Nothing is sent: connecting a datagram socket only picks a route.
pub(super) fn default_address() -> Option<IpAddr> {
    // 192.0.2.1 and 2001:db8::1 are set aside for documentation, so they always go by the default route.
    let v4 = || {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|s| s.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| s.local_addr()))
    };
    let v6 = || {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .and_then(|s| s.connect((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)).and_then(|()| s.local_addr()))
    };
    v4().or_else(|_| v6()).ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

pub(super) fn interfaces() -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return found };
    for entry in addresses {
        let index = found.iter().position(|i| i.name == entry.interface_name).unwrap_or_else(|| {
            found.push(Interface { name: entry.interface_name.clone(), addresses: Vec::new() });
            found.len() - 1
        });
        let Some(storage) = entry.address else { continue };
        if let Some(v4) = storage.as_sockaddr_in() {
            found[index].addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = storage.as_sockaddr_in6() {
            found[index].addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    found
}

pub(super) fn routes() -> Vec<Route> {
    let mut routes = fs::read_to_string("/proc/net/route").map(|text| parse_routes_v4(&text)).unwrap_or_default();
    routes.extend(fs::read_to_string("/proc/net/ipv6_route").map(|text| parse_routes_v6(&text)).unwrap_or_default());
    routes
}

fn parse_routes_v4(text: &str) -> Vec<Route> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|value| Ipv4Addr::from(value.to_le_bytes()));
        let net = Ipv4Net::with_netmask(address(fields.get(1)?)?, address(fields.get(7)?)?).ok()?;
        Some(Route { destination: IpNet::V4(net), interface: (*fields.first()?).to_owned() })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

fn parse_routes_v6(text: &str) -> Vec<Route> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
        let prefix = u8::from_str_radix(fields.get(1)?, 16).ok()?;
        let local = address.is_unicast_link_local() || address.is_multicast() || prefix == 128;
        let net = Ipv6Net::new(address, prefix).ok()?;
        (!local).then(|| Route { destination: IpNet::V6(net), interface: (*fields.last().unwrap_or(&"")).to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

/// Sockets that listen on one of `ports`, each with its process where that is readable.
pub(super) fn listeners(ports: &[u16]) -> Vec<Listener> {
    let sources = [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    let mut found: Vec<Listener> = sources
        .into_iter()
        .flat_map(|(file, protocol)| {
            fs::read_to_string(format!("/proc/net/{file}"))
                .map(|text| parse_sockets(&text, protocol))
                .unwrap_or_default()
        })
        .filter(|listener| ports.contains(&listener.port))
        .collect();
    if !found.is_empty() {
        let inodes: BTreeSet<u64> = found.iter().map(|l| l.inode).collect();
        let owners = socket_owners(&inodes);
        for listener in &mut found {
            listener.process = owners.iter().find(|(inode, _)| *inode == listener.inode).map(|(_, name)| name.clone());
        }
    }
    found
}

fn parse_sockets(text: &str, protocol: Protocol) -> Vec<Listener> {
    let wanted = match protocol {
        Protocol::Tcp => TCP_LISTEN,
        Protocol::Udp => UDP_UNCONNECTED,
    };
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if *fields.get(3)? != wanted {
            return None;
        }
        let (address, port) = fields.get(1)?.split_once(':')?;
        Some(Listener {
            protocol,
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            process: None,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// Addresses are printed as 32-bit words in host order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let words = (0..hex.len() / 8)
        .map(|i| u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| IpAddr::V4(b.into())),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::V6(b.into())),
        _ => None,
    }
}

fn socket_owners(inodes: &BTreeSet<u64>) -> Vec<(u64, String)> {
    let mut owners = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else { return owners };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                owners.push((inode, format!("{} (process {pid})", name.trim())));
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routing_table_is_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let routes = parse_routes_v4(text);
        assert_eq!(routes[0].destination.to_string(), "0.0.0.0/0");
        assert_eq!(
            (routes[1].destination.to_string().as_str(), routes[1].interface.as_str()),
            ("172.17.0.0/16", "docker0")
        );
    }

    #[test]
    fn listening_sockets_are_read_and_connections_left_out() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n   \
            1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100 0 0 10 0\n";
        let found = parse_sockets(text, Protocol::Tcp);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].address.to_string().as_str(), found[0].port, found[0].inode), ("127.0.0.1", 8080, 4242));
        assert_eq!(parse_address("00000000000000000000000001000000"), Some("::1".parse().expect("an address")));
    }

    #[test]
    fn a_real_listener_is_found_with_its_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let found = listeners(&[port]);
        assert!(
            found.iter().any(|l| l.process.as_deref().is_some_and(|p| p.contains(&std::process::id().to_string()))),
            "{found:?}"
        );
    }
}
