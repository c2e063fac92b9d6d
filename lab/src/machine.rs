//! What the machine lets a lab host be. Read once per `up`; everything that follows from it is a value.

use crate::LabError;

/// How far a lab host may be let out of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confinement {
    /// Docker's `privileged`.
    Privileged,
    /// Every capability but `CAP_SYS_RESOURCE`, and no other confinement. Where the machine itself lacks that capability,
    /// engines before 23 cannot start a privileged container at all (`unable to apply caps: operation not permitted`).
    WithoutSysResource,
}

const CAP_SYS_RESOURCE: u32 = 24;

impl Confinement {
    /// Reads this process's bounding set, which the engine on the same machine shares.
    pub fn of_machine() -> Result<Self, LabError> {
        let path = "/proc/self/status";
        let status = std::fs::read_to_string(path).map_err(LabError::file("read", path))?;
        Ok(Self::from_status(&status))
    }

    /// From the text of `/proc/PID/status`. An unreadable set counts as a missing capability: that way works everywhere.
    fn from_status(status: &str) -> Self {
        let bounding = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0);
        if bounding & (1 << CAP_SYS_RESOURCE) == 0 { Self::WithoutSysResource } else { Self::Privileged }
    }
}

/// Fails unless this process may do what a lab needs (firewall rules, packages into a root directory).
pub(crate) fn require_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_sys_resource_gets_the_capability_list() {
        assert_eq!(Confinement::from_status("Name:\tx\nCapBnd:\t000001ffffffffff\n"), Confinement::Privileged);
        assert_eq!(Confinement::from_status("CapBnd:\t000001fffeffffff\n"), Confinement::WithoutSysResource);
        assert_eq!(Confinement::from_status(""), Confinement::WithoutSysResource);
    }
}
