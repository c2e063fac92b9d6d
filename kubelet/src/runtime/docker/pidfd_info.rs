//! The exit status of a process that is not our child, from its pidfd: PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15
//! and later (`include/uapi/linux/pidfd.h`). The one module of the kubelet that needs `unsafe`.
#![expect(unsafe_code, reason = "neither nix nor rustix wraps this ioctl")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// First published version of the kernel's structure, which later ones only extend.
#[repr(C)]
#[derive(Default)]
pub struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, then real, effective, saved and file system user and group.
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(pidfd_get_info, 0xFF, 11, PidfdInfo);

/// The wait status (as `waitpid` gives it) once the process was reaped; `None` before. Fails on older kernels.
pub(super) fn wait_status(pidfd: impl AsFd) -> io::Result<Option<i32>> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the descriptor is open for the length of the call, and the structure has the size that is encoded in the
    // request, which is all that the kernel writes.
    unsafe { pidfd_get_info(pidfd.as_fd().as_raw_fd(), &mut info) }?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}
