//! Arithmetic on service and pod subnets.

use std::net::IpAddr;

use ipnet::IpNet;

/// The `index`-th address of a subnet, counted from its network address: 1 is the API server's service address, 10 the
/// cluster DNS address. `None` when the subnet is too small.
#[must_use]
pub fn nth_address(net: &IpNet, index: u32) -> Option<IpAddr> {
    let address = match net.network() {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(index)?.into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(u128::from(index))?.into()),
    };
    net.contains(&address).then_some(address)
}

/// True when two subnets share an address.
#[must_use]
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
