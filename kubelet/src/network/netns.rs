//! Work inside another network namespace. `setns` holds for one thread, so each piece of work gets a thread of its own
//! that ends with it; never a thread of the async runtime.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

/// Runs `work` on a thread inside the namespace at `path` (`/proc/PID/ns/net`).
pub async fn within<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        let enter = || -> io::Result<T> {
            let namespace = File::open(path)?;
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        // The caller may have given up.
        sender.send(enter()).ok();
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// Sets `lo` up in the namespace, as the CNI loopback plugin would, without a process for it.
pub async fn loopback_up(path: PathBuf) -> io::Result<()> {
    within(path, set_loopback_up).await
}

/// One RTM_NEWLINK request for link 1, which is `lo` in every namespace (rtnetlink(7), netlink(7)).
fn set_loopback_up() -> io::Result<()> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    bind(fd, &NetlinkAddr::new(0, 0))?;
    sendto(fd, &link_up_request(1), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(fd, &mut answer, MsgFlags::empty())?;
    acknowledged(&answer[..length])
}

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const REQUEST_AND_ACK: u16 = 1 | 4;
const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const IFF_UP: u32 = 1;

fn link_up_request(index: i32) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + LINK_BYTES);
    // nlmsghdr: length, type, flags, sequence, port
    message.extend_from_slice(&((HEADER_BYTES + LINK_BYTES) as u32).to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACK.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    // ifinfomsg: family, padding, type, index, flags, mask of the flags to change
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(&0_u16.to_ne_bytes());
    message.extend_from_slice(&index.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// An acknowledgement is an error message with the code 0; others are negative errno values.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "netlink answer is not an acknowledgement");
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(malformed()),
    }
}
