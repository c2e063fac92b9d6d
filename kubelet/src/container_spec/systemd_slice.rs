//! Slices for pods, through systemd's D-Bus interface (org.freedesktop.systemd1.Manager) by way of `busctl`.

use std::process::Command;

use super::cgroup_manager::{CgroupError, Limits};

/// Starts the slice with these limits, or changes them if it runs.
pub(super) fn ensure(unit: &str, limits: &Limits, cgroup_version: u8) -> Result<(), CgroupError> {
    let properties = properties(limits, cgroup_version);
    let flat = |list: &[[String; 3]]| -> Vec<String> {
        std::iter::once(list.len().to_string()).chain(list.iter().flatten().cloned()).collect()
    };
    let mut start = vec!["ssa(sv)a(sa(sv))".to_owned(), unit.to_owned(), "replace".to_owned()];
    start.extend(flat(&properties));
    start.push("0".to_owned());
    match call("StartTransientUnit", &start) {
        Ok(()) => Ok(()),
        Err(message) if is_already_there(&message) => {
            let mut change = vec!["sba(sv)".to_owned(), unit.to_owned(), "true".to_owned()];
            change.extend(flat(&properties));
            call("SetUnitProperties", &change).map_err(|message| CgroupError::Systemd {
                operation: "the limits",
                unit: unit.to_owned(),
                message,
            })
        }
        Err(message) => Err(CgroupError::Systemd { operation: "the start", unit: unit.to_owned(), message }),
    }
}

/// Stops the slice; one that is not there is fine.
pub(super) fn stop(unit: &str) -> Result<(), CgroupError> {
    let arguments = ["ss".to_owned(), unit.to_owned(), "replace".to_owned()];
    match call("StopUnit", &arguments) {
        Err(message) if !message.contains("not loaded") => {
            Err(CgroupError::Systemd { operation: "the stop", unit: unit.to_owned(), message })
        }
        _ => Ok(()),
    }
}

/// Name, D-Bus signature and value of each property.
fn properties(limits: &Limits, cgroup_version: u8) -> Vec<[String; 3]> {
    let unified = cgroup_version == 2;
    let number =
        |name: &str, value: Option<i64>| value.map(|value| [name.to_owned(), "t".to_owned(), value.to_string()]);
    let flag = |name: &str| Some([name.to_owned(), "b".to_owned(), "true".to_owned()]);
    let shares = if unified {
        number("CPUWeight", limits.cpu_shares.map(super::cgroup_manager::weight))
    } else {
        number("CPUShares", limits.cpu_shares)
    };
    [
        flag("CPUAccounting"),
        flag("MemoryAccounting"),
        flag("TasksAccounting"),
        shares,
        // Microseconds per second, where the period is a tenth of a second.
        number("CPUQuotaPerSecUSec", limits.cpu_quota.map(|quota| quota * 10)),
        number(if unified { "MemoryMax" } else { "MemoryLimit" }, limits.memory),
        number("TasksMax", limits.pids),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_already_there(message: &str) -> bool {
    message.contains("already loaded") || message.contains("already exists")
}

fn call(method: &str, arguments: &[String]) -> Result<(), String> {
    let output = Command::new("busctl")
        .args([
            "call",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            method,
        ])
        .args(arguments)
        .output()
        .map_err(|error| format!("busctl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_the_words_of_each_version() {
        let limits = Limits { cpu_shares: Some(1024), cpu_quota: Some(50_000), memory: Some(1 << 20), pids: None };
        let names = |version| {
            properties(&limits, version)
                .into_iter()
                .map(|[name, _, value]| format!("{name}={value}"))
                .skip(3)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(2), ["CPUWeight=39", "CPUQuotaPerSecUSec=500000", "MemoryMax=1048576"]);
        assert_eq!(names(1), ["CPUShares=1024", "CPUQuotaPerSecUSec=500000", "MemoryLimit=1048576"]);
    }
}
