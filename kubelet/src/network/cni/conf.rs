//! Network configurations: the first usable file of the directory in the order of names, as libcni takes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NetworkNotReady;

/// A configuration list; a single `.conf` becomes a list of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct NetworkConf {
    pub name: String,
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    pub plugins: Vec<Map<String, Value>>,
}

impl NetworkConf {
    pub fn plugin_names(&self) -> Vec<&str> {
        self.plugins.iter().map(type_of).collect()
    }
}

pub(super) fn type_of(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The configuration to use, with every plugin of it present.
pub(super) fn load(dir: &Path, bin_dirs: &[PathBuf]) -> Result<NetworkConf, NetworkNotReady> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().and_then(|end| end.to_str()).is_some_and(|end| matches!(end, "conflist" | "conf" | "json"))
        })
        .collect();
    files.sort();
    let mut first_error = None;
    for path in files {
        match parse(&path) {
            Ok(conf) => return complete(conf, bin_dirs),
            Err(message) => first_error = first_error.or(Some(NetworkNotReady::BadConfig { path, message })),
        }
    }
    Err(first_error.unwrap_or_else(|| NetworkNotReady::NoConfig { dir: dir.to_path_buf() }))
}

/// The path of a plugin.
pub(super) fn find(name: &str, bin_dirs: &[PathBuf]) -> Option<PathBuf> {
    bin_dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn parse(path: &Path) -> Result<NetworkConf, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let file: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let conf = NetworkConf {
        name: text(&file, "name").ok_or("no name")?,
        // The specification's default for a missing version.
        cni_version: text(&file, "cniVersion").unwrap_or_else(|| "0.2.0".to_owned()),
        plugins: match file.get("plugins").and_then(Value::as_array) {
            Some(plugins) => plugins.iter().filter_map(Value::as_object).cloned().collect(),
            None => vec![file],
        },
    };
    match conf.plugin_names().as_slice() {
        [] => Err("no plugins".to_owned()),
        // A name is a file name, never a path.
        names if names.iter().any(|name| name.is_empty() || name.contains('/')) => {
            Err("a plugin has no type".to_owned())
        }
        _ => Ok(conf),
    }
}

fn complete(conf: NetworkConf, bin_dirs: &[PathBuf]) -> Result<NetworkConf, NetworkNotReady> {
    let ipam = |plugin: &Map<String, Value>| plugin.get("ipam")?.get("type")?.as_str().map(str::to_owned);
    let wanted =
        conf.plugins.iter().map(|plugin| type_of(plugin).to_owned()).chain(conf.plugins.iter().filter_map(ipam));
    for name in wanted {
        if find(&name, bin_dirs).is_none() {
            let dirs = bin_dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":");
            return Err(NetworkNotReady::NoPlugin { name, dirs });
        }
    }
    Ok(conf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usable_file_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("a directory");
        let dirs = [bin.clone()];
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        assert!(matches!(load(dir.path(), &dirs), Err(NetworkNotReady::NoConfig { .. })));
        write("00-broken.conflist", "{");
        assert!(matches!(load(dir.path(), &dirs), Err(NetworkNotReady::BadConfig { .. })));
        write("10-single.conf", r#"{"name":"one","type":"bridge","ipam":{"type":"host-local"}}"#);
        write("05-ignored.txt", "{}");
        let missing = load(dir.path(), &dirs).expect_err("no plugin yet");
        assert!(missing.to_string().starts_with("cni plugin bridge not found in "), "{missing}");
        std::fs::write(bin.join("bridge"), "").expect("a file");
        let missing = load(dir.path(), &dirs).expect_err("no ipam plugin yet");
        assert!(missing.to_string().starts_with("cni plugin host-local not found in "), "{missing}");
        std::fs::write(bin.join("host-local"), "").expect("a file");
        let conf = load(dir.path(), &dirs).expect("a configuration");
        assert_eq!((conf.name.as_str(), conf.cni_version.as_str()), ("one", "0.2.0"));
        write("05-list.conflist", r#"{"name":"list","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}"#);
        assert_eq!(load(dir.path(), &dirs).expect("a configuration").name, "list");
    }
}
