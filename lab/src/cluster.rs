//! A cluster on a lab's first host, made by `junioadm init` there, and its kubeconfig for the machine. Workers join it as real
//! hosts do, over SSH, which is the caller's business: see [`Lab::ssh_key`] and [`Lab::known_hosts`].

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use junio_api::Layout;
use tokio_util::sync::CancellationToken;

use crate::exec::OutputStream;
use crate::{Lab, LabError, LabHost, LabName, Progress};

/// The pod network of a lab's cluster; flannel's customary one.
pub const CLUSTER_POD_SUBNET: &str = "10.244.0.0/16";

const CONFIG_PATH: &str = "/root/init.yaml";
/// The group of processes of the command that runs.
const PID_PATH: &str = "/run/lab-junioadm.pid";
/// How long an interrupted init may take to end.
const INTERRUPT_DEADLINE: Duration = Duration::from_secs(20);

impl Lab {
    /// Runs `junioadm init` on the first host; its output goes to `progress`. Run again it finishes what is unfinished.
    /// When `cancel` fires, init is interrupted on the host as by ^C, and its end is awaited.
    ///
    /// # Errors
    /// [`LabError::Init`] when init fails: what it wrote says why, and the host is left as it is.
    pub async fn init(&self, progress: &dyn Progress, cancel: &CancellationToken) -> Result<(), LabError> {
        let host = self.first_host();
        host.write_file(CONFIG_PATH, 0o600, init_config(&self.name, host).as_bytes()).await?;
        progress.step(&format!("junioadm init on {}", host.name()));
        let script = format!("exec junioadm init --config {CONFIG_PATH}");
        let output = |stream, bytes: &[u8]| progress.output(host.name(), stream, bytes);
        let status = interruptible(host, &script, output, cancel).await?;
        if status == 0 {
            Ok(())
        } else {
            Err(LabError::Init { lab: self.name.to_string(), host: host.name().to_owned(), status })
        }
    }

    /// Loads the images of a worker on all hosts after the first one, while the first one is busy. Only time is lost when it
    /// fails: `join` does it again and says what is wrong.
    pub async fn prepare_workers(&self) {
        let prepared = self.hosts[1..].iter().map(|host| async {
            match host.run(&["junioadm", "join", "phase", "images"]).await {
                Ok(output) if output.success() => {}
                Ok(output) => tracing::info!(host = host.name(), error = output.error_text(), "not prepared"),
                Err(error) => tracing::info!(host = host.name(), %error, "not prepared"),
            }
        });
        join_all(prepared).await;
    }

    /// Fetches the cluster administrator's kubeconfig from the first host and returns the path of the machine's copy (mode
    /// 0600). Its server is the host's address, which the machine reaches.
    ///
    /// # Errors
    /// [`LabError::NoCluster`] while the host has none.
    pub async fn kubeconfig(&self) -> Result<PathBuf, LabError> {
        let host = self.first_host();
        let path = Layout::default().admin_conf().display().to_string();
        let content = match host.read_file(&path).await {
            Ok(content) => content,
            Err(LabError::Engine { source, .. }) if crate::engine::is_absent(&source) => {
                return Err(LabError::NoCluster { host: host.name().to_owned(), path });
            }
            Err(error) => return Err(error),
        };
        self.state.create()?;
        self.state.write("kubeconfig", &content)?;
        Ok(self.state.path("kubeconfig"))
    }

    /// `open` and `up` make no lab without hosts.
    fn first_host(&self) -> &LabHost {
        &self.hosts[0]
    }

    /// Runs kubectl on the first host as the cluster's administrator and hands over its output.
    ///
    /// # Errors
    /// As [`LabHost::stream`]; the exit code is the result.
    pub async fn kubectl(
        &self,
        arguments: &[&str],
        output: impl FnMut(OutputStream, &[u8]) + Send,
    ) -> Result<i64, LabError> {
        let config = Layout::default().admin_conf().display().to_string();
        let mut command = vec!["kubectl", "--kubeconfig", &config];
        command.extend(arguments);
        self.first_host().stream(&command, output).await
    }
}

/// Runs a script on a host; when `cancel` fires, what it started is interrupted as by ^C, and its end is awaited.
async fn interruptible(
    host: &LabHost,
    script: &str,
    output: impl FnMut(OutputStream, &[u8]) + Send,
    cancel: &CancellationToken,
) -> Result<i64, LabError> {
    let script = format!("echo $$ > {PID_PATH}; {script}");
    let command = ["setsid", "-w", "sh", "-c", &script];
    let mut running = pin!(host.stream(&command, output));
    tokio::select! {
        status = &mut running => status,
        () = cancel.cancelled() => {
            host.shell(&format!("kill -INT -- -$(cat {PID_PATH})")).await?;
            // a command that does not heed the signal goes on by itself, and its lock keeps a second one away
            let _ = tokio::time::timeout(INTERRUPT_DEADLINE, running).await;
            Err(LabError::Interrupted)
        }
    }
}

/// kubeadm's documents for a lab. Every host of a lab shares the machine's kernel, so kube-proxy must leave the connection
/// table's size alone: it is not writable from a host.
fn init_config(name: &LabName, host: &LabHost) -> String {
    let (node, address) = (host.name(), host.address());
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {address}
nodeRegistration:
  name: {node}
  kubeletExtraArgs:
    - name: node-ip
      value: {address}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: {name}
networking:
  podSubnet: {CLUSTER_POD_SUBNET}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack:
  maxPerCore: 0
"
    )
}
