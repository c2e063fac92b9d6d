//! Which Linux capabilities this host can hand out at all. A container of containers (the lab) lacks some, and engines
//! fail in odd ways there: a negative oom score or `ALL` capabilities make the start fail (`facts/lab.md` 1).

/// `linux/capability.h`, by bit.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `AUDIT_READ`, the last capability that Docker 20.10 knows.
const LAST_OF_OLD_ENGINES: usize = 37;

/// The bounding set of this process, which the engine on the same host shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounding(u64);

impl Bounding {
    /// Everything, when the kernel does not tell.
    pub fn of_this_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&status).unwrap_or(Self(u64::MAX))
    }

    fn parse(status: &str) -> Option<Self> {
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
        u64::from_str_radix(line.trim(), 16).ok().map(Self)
    }

    pub fn has(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_none_or(|bit| self.0 & (1 << bit) != 0)
    }

    /// Names that no container can get here and that an engine's `ALL` would ask for. Engines before 23 know none of the
    /// newer names and refuse them; engines from 23 on leave out by themselves what the host lacks.
    pub fn missing(self) -> Vec<String> {
        NAMES[..=LAST_OF_OLD_ENGINES].iter().filter(|name| !self.has(name)).map(|name| (*name).to_owned()).collect()
    }

    /// A value that the engine can set: lowering below 0 needs `SYS_RESOURCE`.
    pub fn oom_score_adj(self, wanted: i64) -> i64 {
        if self.has("SYS_RESOURCE") { wanted } else { wanted.max(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_host_lacks_one() {
        let lab = Bounding::parse("Name:\tx\nCapBnd:\t000001fffeffffff\nCapAmb:\t0\n").expect("a set");
        assert_eq!(lab.missing(), ["SYS_RESOURCE"]);
        assert_eq!(lab.oom_score_adj(-998), 0);
        assert_eq!(lab.oom_score_adj(1000), 1000);
        let nested = Bounding::parse("CapBnd:\t0000003ffeffffff").expect("a set");
        assert_eq!(nested.missing(), ["SYS_RESOURCE"], "Docker 20.10 refuses names that it does not know");
        let real = Bounding::parse("CapBnd:\t000001ffffffffff").expect("a set");
        assert!(real.missing().is_empty());
        assert_eq!(real.oom_score_adj(-998), -998);
    }
}
