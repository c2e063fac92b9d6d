//! CNI: runs the plugin chain of the configured network for a sandbox, and undoes it from what was recorded.
//! Protocol: CNI specification 1.0.0 (containernetworking/cni SPEC.md). The state is one file per sandbox in the cache
//! directory, written before the first plugin runs, so that a crash at any moment leaves something to delete.

mod cache;
mod conf;
mod leases;
mod plugin;
mod watch;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::sync::watch::Receiver;
use tokio_util::task::AbortOnDropHandle;

use self::cache::{Cache, Record};
use self::conf::NetworkConf;
use self::plugin::{Call, Command};
use super::netns;
use crate::runtime::{PodRef, PortMapping, SandboxId};

/// Why no pod can get a network now. The text is the cause in the node's Ready condition.
#[derive(Debug, thiserror::Error)]
pub enum NetworkNotReady {
    #[error("cni config uninitialized: no network configuration in {dir}")]
    NoConfig { dir: PathBuf },
    #[error("cni config uninitialized: {path}: {message}")]
    BadConfig { path: PathBuf, message: String },
    #[error("cni plugin {name} not found in {dirs}")]
    NoPlugin { name: String, dirs: String },
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("network is not ready")]
    NotReady(#[source] NetworkNotReady),
    #[error("set up loopback of sandbox {sandbox}")]
    Loopback {
        sandbox: String,
        #[source]
        source: io::Error,
    },
    #[error("record network of sandbox {sandbox}")]
    Cache {
        sandbox: String,
        #[source]
        source: io::Error,
    },
    #[error("run cni plugin {plugin}")]
    Exec {
        plugin: String,
        #[source]
        source: io::Error,
    },
    #[error("cni plugin {plugin} did not end within {seconds} s")]
    Timeout { plugin: String, seconds: u64 },
    #[error("cni plugin {plugin} failed with code {code}: {message}")]
    Plugin { plugin: String, code: u64, message: String },
    #[error("cni plugin {plugin} gave no usable result: {message}")]
    Result { plugin: String, message: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodNetwork {
    /// In the plugins' order; the first one is the pod's primary address.
    pub ips: Vec<IpAddr>,
}

/// The node's CNI network.
pub struct Cni {
    conf_dir: PathBuf,
    bin_dirs: Vec<PathBuf>,
    cache: Cache,
    ready: Receiver<bool>,
    _watcher: AbortOnDropHandle<()>,
}

impl Cni {
    /// Watches `conf_dir` from now on; must be called inside a tokio runtime.
    pub fn new(conf_dir: PathBuf, bin_dirs: Vec<PathBuf>, cache_dir: PathBuf) -> Self {
        let (ready, watcher) = watch::start(conf_dir.clone(), bin_dirs.clone());
        Self { conf_dir, bin_dirs, cache: Cache::new(cache_dir), ready, _watcher: watcher }
    }

    /// Reads the configuration anew; `Ok` means that `add` can be tried.
    pub fn status(&self) -> Result<(), NetworkNotReady> {
        self.load().map(|_| ())
    }

    /// Changes as soon as a configuration (or its plugin) appears or goes.
    pub fn ready_changed(&self) -> Receiver<bool> {
        self.ready.clone()
    }

    /// Attaches the namespace to the network. Calling it again for the same namespace gives the recorded result; an
    /// unfinished or older attempt is deleted first.
    pub async fn add(
        &self,
        pod: &PodRef,
        sandbox: &SandboxId,
        netns: &Path,
        ports: &[PortMapping],
    ) -> Result<PodNetwork, NetworkError> {
        let inode = std::fs::metadata(netns).map_err(|source| self.cache_error(sandbox, source))?.ino();
        if let Some(record) = self.read(sandbox)? {
            if record.netns_inode == inode
                && record.netns == netns
                && let Some(result) = &record.result
            {
                return Ok(network_of(result));
            }
            self.del(sandbox).await?;
        }
        let conf = self.load().map_err(NetworkError::NotReady)?;
        let mut record = Record {
            pod: pod.into(),
            netns: netns.to_path_buf(),
            netns_inode: inode,
            ports: ports.iter().map(Into::into).collect(),
            ports_unknown: false,
            conf,
            result: None,
        };
        self.cache.write(sandbox, &record).map_err(|source| self.cache_error(sandbox, source))?;
        netns::loopback_up(netns.to_path_buf())
            .await
            .map_err(|source| NetworkError::Loopback { sandbox: sandbox.0.clone(), source })?;
        let result = self.run_add(sandbox, &record).await?;
        let network = network_of(&result);
        if network.ips.is_empty() {
            let plugin = record.conf.plugin_names().join(",");
            return Err(NetworkError::Result { plugin, message: format!("no address in {result}") });
        }
        record.result = Some(result);
        self.cache.write(sandbox, &record).map_err(|source| self.cache_error(sandbox, source))?;
        Ok(network)
    }

    /// Undoes `add` as it was recorded, also when the namespace or the configuration is gone. Without a record there is
    /// nothing to do.
    pub async fn del(&self, sandbox: &SandboxId) -> Result<(), NetworkError> {
        let Some(record) = self.read(sandbox)? else { return Ok(()) };
        self.run_del(sandbox, &record).await?;
        self.cache.remove(sandbox).map_err(|source| self.cache_error(sandbox, source))
    }

    /// The network of a sandbox that was added before, for a restarted kubelet.
    pub fn cached(&self, sandbox: &SandboxId) -> Option<PodNetwork> {
        let record = self.cache.read(sandbox).ok().flatten()?;
        record.result.as_ref().map(network_of)
    }

    /// Deletes what belongs to no live sandbox: records left by a crash, and addresses that host-local still holds for
    /// sandboxes whose record was lost. Returns how many sandboxes were cleaned.
    pub async fn cleanup(&self, live: &HashSet<SandboxId>) -> Result<usize, NetworkError> {
        let mut cleaned = 0;
        let recorded = self.cache.sandboxes().map_err(|source| self.cache_error(&SandboxId("*".into()), source))?;
        for sandbox in recorded.into_iter().filter(|sandbox| !live.contains(sandbox)) {
            self.del(&sandbox).await?;
            cleaned += 1;
        }
        let Ok(conf) = self.load() else { return Ok(cleaned) };
        for sandbox in leases::holders(&conf) {
            if live.contains(&sandbox) || self.read(&sandbox)?.is_some() {
                continue;
            }
            let record = Record { conf: conf.clone(), ports_unknown: true, ..Record::default() };
            self.run_del(&sandbox, &record).await?;
            cleaned += 1;
        }
        Ok(cleaned)
    }

    fn load(&self) -> Result<NetworkConf, NetworkNotReady> {
        conf::load(&self.conf_dir, &self.bin_dirs)
    }

    async fn run_add(&self, sandbox: &SandboxId, record: &Record) -> Result<Value, NetworkError> {
        let mut previous = None;
        for plugin in record.conf.plugins.iter().filter(|plugin| record.needs(plugin)) {
            let call = self.call(Command::Add, sandbox, record, Some(&record.netns));
            let result = call.run(&record.conf, plugin, previous.as_ref()).await?;
            // A plugin may pass its input on by printing nothing new; the specification wants a result, though.
            previous = Some(result.ok_or_else(|| NetworkError::Result {
                plugin: conf::type_of(plugin).to_owned(),
                message: "no output".to_owned(),
            })?);
        }
        previous.ok_or_else(|| NetworkError::Result { plugin: String::new(), message: "empty chain".to_owned() })
    }

    async fn run_del(&self, sandbox: &SandboxId, record: &Record) -> Result<(), NetworkError> {
        // A PID may belong to another process by now: only the very same namespace is named to the plugins.
        let netns = std::fs::metadata(&record.netns)
            .ok()
            .filter(|found| found.ino() == record.netns_inode)
            .map(|_| record.netns.as_path());
        for plugin in record.conf.plugins.iter().rev().filter(|plugin| record.needs(plugin)) {
            let call = self.call(Command::Del, sandbox, record, netns);
            call.run(&record.conf, plugin, record.result.as_ref()).await?;
        }
        Ok(())
    }

    fn call<'a>(
        &'a self,
        command: Command,
        sandbox: &'a SandboxId,
        record: &'a Record,
        netns: Option<&'a Path>,
    ) -> Call<'a> {
        Call { command, sandbox, netns, pod: &record.pod, ports: &record.ports, bin_dirs: &self.bin_dirs }
    }

    /// A record that cannot be read was cut by a crash of the host: then the namespace is gone too, and what
    /// host-local holds is found by `cleanup`.
    fn read(&self, sandbox: &SandboxId) -> Result<Option<Record>, NetworkError> {
        match self.cache.read(sandbox) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(sandbox = sandbox.0, %error, "network record is unreadable");
                self.cache.remove(sandbox).map_err(|source| self.cache_error(sandbox, source))?;
                Ok(None)
            }
            other => other.map_err(|source| self.cache_error(sandbox, source)),
        }
    }

    fn cache_error(&self, sandbox: &SandboxId, source: io::Error) -> NetworkError {
        NetworkError::Cache { sandbox: sandbox.0.clone(), source }
    }
}

/// `ips[].address` since 0.3.0, `ip4.ip`/`ip6.ip` before.
fn network_of(result: &Value) -> PodNetwork {
    let listed = result.get("ips").and_then(Value::as_array).into_iter().flatten().map(|ip| ip.get("address"));
    let old = ["ip4", "ip6"].into_iter().map(|key| result.get(key).and_then(|ip| ip.get("ip")));
    let ips =
        listed.chain(old).flatten().filter_map(|address| address.as_str()?.split('/').next()?.parse().ok()).collect();
    PodNetwork { ips }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_old_and_new_results() {
        let new = serde_json::json!({"ips": [{"address": "10.1.0.5/24"}, {"address": "fd00::5/64"}]});
        assert_eq!(network_of(&new).ips, ["10.1.0.5", "fd00::5"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
        let old = serde_json::json!({"ip4": {"ip": "10.1.0.6/24"}});
        assert_eq!(network_of(&old).ips, ["10.1.0.6".parse::<IpAddr>().expect("an address")]);
        assert!(network_of(&serde_json::json!({})).ips.is_empty());
    }
}
