//! Host processes held by pidfd: signals cannot hit a successor with the same number, and an exit is an event that
//! comes some 20 ms before the engine's own.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use super::pidfd_info::wait_status;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// A running process, or one that has ended since.
pub(super) struct Process {
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The process `pid`, provided that it is in a cgroup named after `container`; `NotFound` when it is not (any more).
    pub fn of_container(pid: i32, container: &str) -> io::Result<Self> {
        let process = Self::open(pid)?;
        // Read after the pidfd exists: if the number was reused in between, the cgroup is another one.
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        if cgroup.contains(container) { Ok(process) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn open(pid: i32) -> io::Result<Self> {
        let fd = pidfd_open(number(pid)?, PidfdFlags::empty())?;
        #[expect(deprecated, reason = "the unsafe successor asks for a promise that OwnedFd keeps by its type")]
        let fd = AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)?;
        Ok(Self { fd })
    }

    /// A process that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Resolves when the process has ended.
    pub async fn ended(&self) -> io::Result<()> {
        self.fd.readable().await.map(|_ready| ())
    }

    /// The exit code in the engine's way of counting (128 + signal), as soon as the process was reaped. `None` if the
    /// kernel does not tell.
    pub async fn exit_code(&self) -> Option<i32> {
        loop {
            let mut ready = self.fd.readable().await.ok()?;
            if let Some(status) = wait_status(self.fd.get_ref()).ok()? {
                let signal = status & 0x7f;
                return Some(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
            }
            if ready.ready().is_read_closed() {
                return None;
            }
            // Ended but not reaped: the hang-up comes with that.
            ready.clear_ready();
        }
    }
}

/// `SIGTERM`, `TERM` or a number; `None` for what has no fixed number (real-time signals).
pub(super) fn named_signal(text: &str) -> Option<Signal> {
    let bare = text.trim().to_ascii_uppercase();
    let number = match bare.parse::<i32>() {
        Ok(number) => number,
        Err(_) => {
            let name = if bare.starts_with("SIG") { bare } else { format!("SIG{bare}") };
            name.parse::<nix::sys::signal::Signal>().ok()? as i32
        }
    };
    Signal::from_named_raw(number)
}

/// Kills a process and everything it started, children after parents so that nobody can fork anew unseen for long;
/// a second pass takes what was born during the first.
pub(super) fn kill_tree(root: i32) -> io::Result<()> {
    // All pidfds are taken before the first kill; orphans change their parent.
    for _pass in 0..2 {
        for pid in descendants(root)? {
            if let Ok(pid) = number(pid)
                && let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
                && let Err(error) = pidfd_send_signal(&fd, Signal::KILL)
                && error != rustix::io::Errno::SRCH
            {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// `root` first, then its children and theirs.
fn descendants(root: i32) -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in procfs::process::all_processes().map_err(io::Error::other)?.flatten() {
        if let Ok(stat) = process.stat() {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

fn number(pid: i32) -> io::Result<Pid> {
    Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn signals_by_any_name() {
        assert_eq!(named_signal("SIGTERM"), Some(Signal::TERM));
        assert_eq!(named_signal("quit"), Some(Signal::QUIT));
        assert_eq!(named_signal("9"), Some(Signal::KILL));
        assert_eq!(named_signal("SIGRTMIN+3"), None);
        assert_eq!(named_signal(""), None);
    }

    #[tokio::test]
    async fn a_tree_dies_and_its_exit_is_an_event() {
        let mut shell = std::process::Command::new("/bin/sh").args(["-c", "sleep 60 & wait"]).spawn().expect("a shell");
        let pid = i32::try_from(shell.id()).expect("a pid");
        let process = Process::open(pid).expect("a pidfd");
        while descendants(pid).expect("a process list").len() < 2 {
            tokio::task::yield_now().await;
        }
        let all = descendants(pid).expect("a process list");
        let others: Vec<_> = all.iter().filter(|other| **other != pid).map(|pid| Process::open(*pid)).collect();
        assert_eq!(others.len(), 1, "the shell has one child");
        kill_tree(pid).expect("permission");
        process.ended().await.expect("an event");
        assert!(!shell.wait().expect("an exit").success());
        for other in others {
            let ended = other.expect("a pidfd");
            tokio::time::timeout(Duration::from_secs(50), ended.ended()).await.expect("killed too").expect("an event");
        }
    }
}
