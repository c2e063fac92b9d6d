//! One execution of one plugin: parameters in the environment, configuration on stdin, result or error on stdout.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;

use super::NetworkError;
use super::cache::{Pod, Port};
use super::conf::{NetworkConf, find, type_of};
use crate::runtime::SandboxId;

/// The interface inside the pod.
const INTERFACE: &str = "eth0";
/// A plugin that hangs (a lock, a dead DHCP server) must not hold a pod for ever.
const LIMIT: Duration = Duration::from_secs(60);
/// For plugins that run `iptables`, where a service manager gave the kubelet none.
const FALLBACK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
}

/// The parameters that all plugins of a chain share.
pub(super) struct Call<'a> {
    pub command: Command,
    pub sandbox: &'a SandboxId,
    /// `None`: the namespace is gone, which a DEL must tolerate.
    pub netns: Option<&'a Path>,
    pub pod: &'a Pod,
    pub ports: &'a [Port],
    pub bin_dirs: &'a [PathBuf],
}

impl Call<'_> {
    /// The result of an ADD; `None` when the plugin printed nothing.
    pub async fn run(
        &self,
        conf: &NetworkConf,
        plugin: &Map<String, Value>,
        previous: Option<&Value>,
    ) -> Result<Option<Value>, NetworkError> {
        let name = type_of(plugin).to_owned();
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let exec_error = |source| NetworkError::Exec { plugin: name.clone(), source };
        let path = find(&name, self.bin_dirs).ok_or_else(missing).map_err(exec_error)?;
        let stdin = self.stdin(conf, plugin, previous).to_string();
        let output = tokio::time::timeout(LIMIT, self.execute(&path, stdin.as_bytes()))
            .await
            .map_err(|_| NetworkError::Timeout { plugin: name.clone(), seconds: LIMIT.as_secs() })?
            .map_err(exec_error)?;
        interpret(&name, &output)
    }

    async fn execute(&self, path: &Path, stdin: &[u8]) -> io::Result<Output> {
        let mut command = tokio::process::Command::new(path);
        if std::env::var_os("PATH").is_none() {
            command.env("PATH", FALLBACK_PATH);
        }
        let mut child = command
            .env("CNI_COMMAND", if self.command == Command::Add { "ADD" } else { "DEL" })
            .env("CNI_CONTAINERID", &self.sandbox.0)
            .env("CNI_NETNS", self.netns.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_ARGS", self.args())
            .env("CNI_PATH", std::env::join_paths(self.bin_dirs).map_err(io::Error::other)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut pipe = child.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let write = async move {
            match pipe.write_all(stdin).await {
                // A plugin that fails early need not read; its own error is the better one.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => Ok(()),
            }
        };
        let (written, output) = tokio::join!(write, child.wait_with_output());
        written?;
        output
    }

    fn args(&self) -> String {
        let Pod { uid, namespace, name } = self.pod;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid}",
            self.sandbox.0
        )
    }

    fn stdin(&self, conf: &NetworkConf, plugin: &Map<String, Value>, previous: Option<&Value>) -> Value {
        let mut config = plugin.clone();
        config.insert("name".to_owned(), json!(conf.name));
        config.insert("cniVersion".to_owned(), json!(conf.cni_version));
        let capable = |name: &str| plugin.get("capabilities").and_then(|all| all.get(name)) == Some(&Value::Bool(true));
        if !self.ports.is_empty() && capable("portMappings") {
            config.insert("runtimeConfig".to_owned(), json!({ "portMappings": self.ports }));
        }
        if let Some(previous) = previous {
            config.insert("prevResult".to_owned(), previous.clone());
        }
        Value::Object(config)
    }
}

fn interpret(plugin: &str, output: &Output) -> Result<Option<Value>, NetworkError> {
    let parsed = serde_json::from_slice::<Value>(&output.stdout);
    if output.status.success() {
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        return parsed
            .map(Some)
            .map_err(|error| NetworkError::Result { plugin: plugin.to_owned(), message: error.to_string() });
    }
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (code, message) = match parsed {
        Ok(error) => {
            let (message, details) = (text(&error, "msg"), text(&error, "details"));
            let whole = if details.is_empty() { message } else { format!("{message}; {details}") };
            (error.get("code").and_then(Value::as_u64).unwrap_or_default(), whole)
        }
        Err(_) => (0, format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    };
    Err(NetworkError::Plugin { plugin: plugin.to_owned(), code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_only_for_capable_plugins_and_the_previous_result_for_all_after_the_first() {
        let pod = Pod { uid: "u".into(), namespace: "n".into(), name: "p".into() };
        let port = Port { host_port: 80, container_port: 8080, protocol: "tcp".into(), host_ip: String::new() };
        let call = Call {
            command: Command::Add,
            sandbox: &SandboxId("s".into()),
            netns: None,
            pod: &pod,
            ports: std::slice::from_ref(&port),
            bin_dirs: &[],
        };
        let conf = NetworkConf { name: "net".into(), cni_version: "1.0.0".into(), plugins: Vec::new() };
        let bridge = json!({"type": "bridge"});
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        let first = call.stdin(&conf, bridge.as_object().expect("a map"), None);
        assert_eq!(first, json!({"type": "bridge", "name": "net", "cniVersion": "1.0.0"}));
        let second = call.stdin(&conf, portmap.as_object().expect("a map"), Some(&json!({"ips": []})));
        assert_eq!(
            second["runtimeConfig"]["portMappings"],
            json!([{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}])
        );
        assert_eq!(second["prevResult"], json!({"ips": []}));
        assert_eq!(
            call.args(),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=s;K8S_POD_UID=u"
        );
    }
}
