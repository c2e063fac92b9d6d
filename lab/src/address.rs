//! Which network a lab gets: the first free `10.77.N.0/24`. Pure; what is taken is read elsewhere.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::LabError;

/// A lab's network `10.77.N.0/24` and what is named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LabSubnet(pub u8);

impl LabSubnet {
    pub fn network(self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 77, self.0, 0), 24)
    }

    /// The machine's own address in it.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.0, 1)
    }

    /// The address of host `number`, counted from 1; at most [`MAX_HOSTS`].
    pub fn host(self, number: usize) -> Ipv4Addr {
        let last = u8::try_from(number + 10).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 77, self.0, last)
    }

    /// The bridge's name on the machine; interface names end at 15 characters.
    pub fn bridge(self) -> String {
        format!("junio-lab{}", self.0)
    }

    /// The first network that overlaps nothing in `taken`. A taken network wider than /16 is no reason to step aside: its
    /// routes lose against a /24, and one private /8 would otherwise leave no room at all.
    pub fn first_free(taken: &[Ipv4Net]) -> Result<Self, LabError> {
        (0..=u8::MAX)
            .map(Self)
            .find(|candidate| {
                let network = candidate.network();
                !taken
                    .iter()
                    .any(|other| other.prefix_len() >= 16 && (other.contains(&network) || network.contains(other)))
            })
            .ok_or(LabError::NoSubnet)
    }
}

/// Hosts that fit into a lab's network.
pub(crate) const MAX_HOSTS: usize = 200;

/// The networks that the machine has routes to: the text of `/proc/net/route` (Linux `Documentation/networking`; addresses
/// are in the byte order of the machine).
pub(crate) fn routed_networks(table: &str) -> Vec<Ipv4Net> {
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let destination = word(fields.get(1)?)?;
            let mask = word(fields.get(7)?)?;
            Ipv4Net::with_netmask(destination, mask).ok()
        })
        .filter(|network| network.prefix_len() > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<Ipv4Net> {
        list.iter().map(|text| text.parse().expect("a network")).collect()
    }

    #[test]
    fn the_first_network_that_overlaps_nothing_is_taken() {
        assert_eq!(LabSubnet::first_free(&[]).expect("free"), LabSubnet(0));
        assert_eq!(LabSubnet::first_free(&nets(&["10.77.0.0/24", "10.77.1.128/25"])).expect("free"), LabSubnet(2));
        assert_eq!(LabSubnet::first_free(&nets(&["10.77.0.0/23"])).expect("free"), LabSubnet(2));
        assert_eq!(LabSubnet::first_free(&nets(&["10.0.0.0/8", "172.17.0.0/16"])).expect("free"), LabSubnet(0));
        assert!(matches!(LabSubnet::first_free(&nets(&["10.77.0.0/16"])), Err(LabError::NoSubnet)));
    }

    #[test]
    fn routes_are_read_and_the_default_route_is_left_out() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routed_networks(table), nets(&["172.17.0.0/16"]));
    }

    #[test]
    fn every_host_has_an_own_address_in_the_network() {
        let subnet = LabSubnet(7);
        let network = subnet.network();
        let all: std::collections::BTreeSet<_> = (1..=MAX_HOSTS).map(|number| subnet.host(number)).collect();
        assert_eq!(all.len(), MAX_HOSTS);
        assert!(all.iter().all(|address| network.contains(address) && *address != subnet.gateway()));
        assert!(LabSubnet(255).bridge().len() <= 15);
    }
}
