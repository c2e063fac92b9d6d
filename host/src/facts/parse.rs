//! Pure readers of small kernel texts.

/// `MemTotal` of `/proc/meminfo` in bytes.
pub(super) fn memory_total(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Device names of `/proc/swaps`.
pub(super) fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// `PRETTY_NAME` of os-release.
pub(super) fn pretty_name(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".to_owned(), |name| name.trim().trim_matches('"').to_owned())
}

/// `CapBnd` of `/proc/self/status`.
pub(super) fn capability_bound(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_texts_are_understood() {
        assert_eq!(memory_total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), 24576 * 1024);
        assert_eq!(memory_total(""), 0);
        assert!(swaps("Filename\tType\tSize\n").is_empty());
        assert_eq!(swaps("Filename Type Size\n/swapfile file 1\n/dev/sdb2 partition 2\n"), ["/swapfile", "/dev/sdb2"]);
        assert_eq!(
            pretty_name("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(capability_bound("Name:\tx\nCapBnd:\t000001feffffffff\n"), 0x01fe_ffff_ffff);
    }
}
