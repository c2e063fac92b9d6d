//! What is mounted where, from `/proc/self/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    pub mount_point: PathBuf,
    pub file_system: String,
    pub super_options: String,
}

/// All mounts of this process's namespace, in mount order.
pub fn mount_table() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// All mounts that a process sees.
pub fn mount_table_of(pid: i32) -> io::Result<Vec<MountEntry>> {
    Ok(parse(&fs::read(format!("/proc/{pid}/mountinfo"))?))
}

/// Mount points at or below `dir`, deepest and newest first: the order in which to unmount.
pub fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        mount_table()?.into_iter().map(|entry| entry.mount_point).filter(|point| point.starts_with(dir)).collect();
    found.reverse();
    found.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(found)
}

fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    Some(MountEntry {
        mount_point: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        file_system: String::from_utf8_lossy(fields.get(separator + 1)?).into_owned(),
        super_options: String::from_utf8_lossy(fields.get(separator + 3)?).into_owned(),
    })
}

/// Space, tab, newline and backslash are written as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(field.len());
    let mut index = 0;
    while index < field.len() {
        let octal = (field[index] == b'\\')
            .then(|| field.get(index + 1..index + 4))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        result.push(octal.unwrap_or(field[index]));
        index += if octal.is_some() { 4 } else { 1 };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_with_optional_fields_and_escapes() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\
                     40 35 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\nbroken\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].mount_point, Path::new("/mnt 2"));
        assert_eq!((entries[1].file_system.as_str(), entries[1].super_options.as_str()), ("cgroup", "rw,cpu,cpuacct"));
    }

    #[test]
    fn sees_the_mounts_of_this_process() {
        let points = mounts_below(Path::new("/proc")).expect("a mount table");
        assert!(points.contains(&PathBuf::from("/proc")));
    }
}
