//! Kernel settings below `/proc/sys`.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::HostError;

/// What became of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SysctlChange {
    /// It had the value already.
    Unchanged,
    /// It was changed; this is what it was.
    Changed { previous: String },
    /// This host does not let us; the reason.
    Refused { reason: String },
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// The value of `net.ipv4.ip_forward` and the like; `None` when this kernel does not have it.
pub fn read(name: &str) -> Result<Option<String>, HostError> {
    let path = path(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::Read { path, source }),
    }
}

/// Sets a value. A setting that this host keeps read-only (it is not namespaced, or absent) is refused, not an error.
pub fn write(name: &str, value: &str) -> Result<SysctlChange, HostError> {
    let Some(previous) = read(name)? else {
        return Ok(SysctlChange::Refused { reason: "this kernel does not have it".to_owned() });
    };
    if previous == value {
        return Ok(SysctlChange::Unchanged);
    }
    let path = path(name);
    match fs::write(&path, value) {
        Ok(()) => Ok(SysctlChange::Changed { previous }),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(SysctlChange::Refused { reason: error.to_string() })
        }
        Err(source) => Err(HostError::Write { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_their_dotted_name() {
        assert!(read("kernel.ostype").expect("readable").is_some_and(|v| v == "Linux"));
        assert_eq!(read("kernel.no_such_setting").expect("readable"), None);
        assert_eq!(write("kernel.ostype", "Linux").expect("same"), SysctlChange::Unchanged);
    }
}
