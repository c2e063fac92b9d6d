//! Network links: looking and removing, by netlink, so that no program is needed on the host.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

use crate::error::HostError;

const NLMSG_ERROR: u16 = 2;
const RTM_DELLINK: u16 = 17;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;

/// True when there is a link of this name in our network namespace.
#[must_use]
pub fn exists(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

/// Removes a link with its addresses and routes; false when there was none.
pub fn remove(name: &str) -> Result<bool, HostError> {
    let Ok(index) = nix::net::if_::if_nametoindex(name) else { return Ok(false) };
    delete(index).map(|()| true).map_err(|source| HostError::Kernel { call: "RTM_DELLINK", source })
}

/// One `RTM_DELLINK` request and its acknowledgement; layouts from `linux/netlink.h` and `linux/rtnetlink.h`.
fn delete(index: u32) -> io::Result<()> {
    let descriptor = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut request = Vec::with_capacity(HEADER + IFINFOMSG);
    request.extend(u32::try_from(HEADER + IFINFOMSG).unwrap_or_default().to_ne_bytes());
    request.extend(RTM_DELLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    request.extend(1u32.to_ne_bytes()); // sequence
    request.extend(0u32.to_ne_bytes()); // port: the kernel's
    request.extend([0, 0, 0, 0]); // family, padding, type
    request.extend(index.to_ne_bytes());
    request.extend([0; 8]); // flags, change
    sendto(descriptor.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0u8; 4096];
    let length = recv(descriptor.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let kind = answer.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let code = answer.get(HEADER..HEADER + 4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) if length >= HEADER + 4 => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) if length >= HEADER + 4 => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_links_are_no_error_and_the_loopback_stays() {
        assert!(!remove("no-such-link").expect("nothing to do"));
        assert!(exists("lo"));
        assert!(remove("lo").is_err(), "the kernel refuses to remove the loopback");
        assert!(exists("lo"));
    }
}
