//! What was done for each sandbox, as one JSON file per sandbox: enough to delete it when everything else is gone.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::conf::{NetworkConf, type_of};
use crate::runtime::{PodRef, PortMapping, SandboxId};

pub(super) struct Cache {
    dir: PathBuf,
}

/// `result` is absent until all plugins have succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub pod: Pod,
    pub netns: PathBuf,
    pub netns_inode: u64,
    pub ports: Vec<Port>,
    /// The record was lost, and ports may be mapped.
    #[serde(skip)]
    pub ports_unknown: bool,
    pub conf: NetworkConf,
    pub result: Option<Value>,
}

impl Record {
    /// Without ports to map, `portmap` only passes its input on, in 20 ms and with a few runs of `iptables` for each pod.
    pub fn needs(&self, plugin: &Map<String, Value>) -> bool {
        !self.ports.is_empty() || self.ports_unknown || type_of(plugin) != "portmap"
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
}

/// The shape of a `portMappings` entry (CNI CONVENTIONS.md).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: String,
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty", default)]
    pub host_ip: String,
}

impl From<&PodRef> for Pod {
    fn from(pod: &PodRef) -> Self {
        Self { uid: pod.uid.clone(), namespace: pod.namespace.clone(), name: pod.name.clone() }
    }
}

impl From<&PortMapping> for Port {
    fn from(port: &PortMapping) -> Self {
        Self {
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: port.protocol.to_ascii_lowercase(),
            host_ip: port.host_ip.clone(),
        }
    }
}

impl Cache {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Replaces by rename: a reader sees the old or the new record.
    pub fn write(&self, sandbox: &SandboxId, record: &Record) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let temporary = self.dir.join(format!(".{}", sandbox.0));
        std::fs::write(&temporary, serde_json::to_vec(record)?)?;
        std::fs::rename(temporary, self.path(sandbox))
    }

    /// `InvalidData` for a file that is not a record.
    pub fn read(&self, sandbox: &SandboxId) -> io::Result<Option<Record>> {
        match std::fs::read(self.path(sandbox)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn remove(&self, sandbox: &SandboxId) -> io::Result<()> {
        match std::fs::remove_file(self.path(sandbox)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub fn sandboxes(&self) -> io::Result<Vec<SandboxId>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
                found.push(SandboxId(id.to_owned()));
            }
        }
        Ok(found)
    }

    fn path(&self, sandbox: &SandboxId) -> PathBuf {
        self.dir.join(format!("{}.json", sandbox.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn portmap_is_for_pods_with_ports() {
        let plugin = |name: &str| json!({ "type": name }).as_object().cloned().unwrap_or_default();
        let port = Port { host_port: 80, container_port: 80, protocol: "tcp".to_owned(), host_ip: String::new() };
        let none = Record::default();
        assert!(none.needs(&plugin("bridge")) && !none.needs(&plugin("portmap")));
        assert!(Record { ports: vec![port], ..Record::default() }.needs(&plugin("portmap")));
        assert!(Record { ports_unknown: true, ..Record::default() }.needs(&plugin("portmap")), "the record was lost");
    }
}
