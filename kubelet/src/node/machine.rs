//! What the machine is: read once, cheap to read again.

use std::fs;
use std::path::Path;

use procfs::Current as _;

/// Facts that only a reboot changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel_version: String,
    /// `PRETTY_NAME` of os-release.
    pub os_image: String,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: &'static str,
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub swap: u64,
    /// Page size in KiB and number of pages.
    pub huge_pages: Vec<(u64, u64)>,
}

/// A file system's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes.
    pub total: u64,
    /// Bytes that an unprivileged user may still write.
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

impl Machine {
    /// Reads what it can; a value that the machine does not tell stays empty.
    #[must_use]
    pub fn read() -> Self {
        let memory = procfs::Meminfo::current().ok();
        Self {
            machine_id: text("/etc/machine-id"),
            system_uuid: system_uuid(),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel_version: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
            memory: memory.as_ref().map_or(0, |memory| memory.mem_total),
            swap: memory.as_ref().map_or(0, |memory| memory.swap_total),
            huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
        }
    }
}

/// Memory of the whole machine, in bytes. Source of the arithmetic: cAdvisor's root container on cgroup v2, which is what
/// upstream evicts by; the files of a v1 root group leave out the kernel's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    pub usage: u64,
    /// Without files that nobody has looked at for a while.
    pub working_set: u64,
    pub anonymous: u64,
}

/// Memory now.
#[must_use]
pub fn memory() -> Option<Memory> {
    let memory = procfs::Meminfo::current().ok()?;
    Some(memory_of(&memory))
}

fn memory_of(memory: &procfs::Meminfo) -> Memory {
    let usage = memory.mem_total.saturating_sub(memory.mem_free);
    Memory {
        total: memory.mem_total,
        usage,
        working_set: usage.saturating_sub(memory.inactive_file.unwrap_or(0)),
        anonymous: memory.anon_pages.unwrap_or(0),
    }
}

/// The size of the file system that holds `path`.
#[must_use]
pub fn disk(path: &Path) -> Option<Disk> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let block = stat.fragment_size();
    Some(Disk {
        total: stat.blocks() * block,
        available: stat.blocks_available() * block,
        inodes: stat.files(),
        inodes_free: stat.files_available(),
    })
}

fn system_uuid() -> String {
    let uuid = text("/sys/class/dmi/id/product_uuid");
    if uuid.is_empty() { text("/etc/machine-id") } else { uuid }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn os_image(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

fn huge_pages(directory: &Path) -> Vec<(u64, u64)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut sizes: Vec<(u64, u64)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((size, count))
        })
        .collect();
    sizes.sort_unstable();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_image(""), "Linux");
    }

    #[test]
    fn inactive_files_are_no_use_of_memory() {
        use procfs::FromRead as _;
        let zero = [
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Dirty",
            "Writeback",
            "Mapped",
            "Slab",
            "Committed_AS",
            "VmallocTotal",
            "VmallocUsed",
            "VmallocChunk",
        ]
        .map(|name| format!("{name}: 0 kB\n"))
        .concat();
        let text = format!("MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nAnonPages: 50 kB\n{zero}");
        let memory = memory_of(&procfs::Meminfo::from_read(text.as_bytes()).expect("figures"));
        assert_eq!((memory.usage, memory.working_set), (600 * 1024, 500 * 1024));
        assert_eq!((memory.total, memory.anonymous), (1000 * 1024, 50 * 1024));
    }

    #[test]
    fn this_machine_has_processors_memory_and_a_disk() {
        let machine = Machine::read();
        assert!(machine.cpus > 0 && machine.memory > 0 && !machine.boot_id.is_empty());
        assert!(disk(Path::new("/")).is_some_and(|disk| disk.total > 0));
    }
}
