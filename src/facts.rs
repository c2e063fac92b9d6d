//! The two facts about this machine that defaults need before anything else is looked at.

use std::net::{IpAddr, UdpSocket};

use junio_api::Token;
use junio_api::config::HostFacts;

/// Host name, address of the default route, a fresh token.
pub fn gather() -> HostFacts {
    HostFacts { hostname: hostname(), default_address: default_address(), token: Token::generate() }
}

/// As the kernel says it.
pub fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// The source address that the kernel would use towards a far host. Connecting a UDP socket sends nothing; the far
/// addresses are documentation ones (RFC 5737, RFC 3849).
fn default_address() -> Option<IpAddr> {
    let towards = |bind: &str, far: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(far).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_unspecified() && !address.is_loopback()).then_some(address)
    };
    towards("0.0.0.0:0", "198.51.100.1:9").or_else(|| towards("[::]:0", "[2001:db8::1]:9"))
}
