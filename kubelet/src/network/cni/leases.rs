//! Addresses that host-local has given out: one file per address in `DATADIR/NETWORK`, whose first line is the
//! container ID (plugins/ipam/host-local/backend/disk). Only read here; freeing is the plugin's own work.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::conf::NetworkConf;
use crate::runtime::SandboxId;

const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";
/// Engine IDs are this many hexadecimal digits; other users of the directory are left alone.
const ID_DIGITS: usize = 64;

/// Sandboxes that hold an address of this network.
pub(super) fn holders(conf: &NetworkConf) -> BTreeSet<SandboxId> {
    conf.plugins
        .iter()
        .filter_map(|plugin| plugin.get("ipam"))
        .filter(|ipam| ipam.get("type").and_then(Value::as_str) == Some("host-local"))
        .map(|ipam| ipam.get("dataDir").and_then(Value::as_str).unwrap_or(DEFAULT_DATA_DIR))
        .flat_map(|dir| holders_in(&Path::new(dir).join(&conf.name)))
        .collect()
}

fn holders_in(dir: &Path) -> Vec<SandboxId> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<IpAddr>().is_ok()))
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter_map(|text| text.lines().next().map(|line| line.trim().to_owned()))
        .filter(|id| id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(SandboxId)
        .collect()
}
