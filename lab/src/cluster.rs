//! A cluster on a lab's hosts, made by `junioadm init` on the first and `junioadm join` on the others, and its kubeconfig for
//! the machine.

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
const JOIN_CONFIG_PATH: &str = "/root/join.yaml";
/// The group of processes of the command that runs.
const PID_PATH: &str = "/run/lab-junioadm.pid";
/// Workers join at once.
const TOKEN_TTL: &str = "15m";
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

    /// Runs `junioadm join` on all hosts after the first one, at the same time; lines of their output carry the host's name. A
    /// host that is a node already stays as it is.
    ///
    /// # Errors
    /// [`LabError::Join`] names the hosts that did not join; the others did.
    pub async fn join(&self, progress: &dyn Progress, cancel: &CancellationToken) -> Result<(), LabError> {
        let workers = &self.hosts[1..];
        if workers.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = workers.iter().map(LabHost::name).collect();
        progress.step(&format!("junioadm join on {}", names.join(", ")));
        let invitation = self.invitation().await?;
        let joins = workers.iter().map(|host| async {
            host.write_file(JOIN_CONFIG_PATH, 0o600, join_config(&invitation, host).as_bytes()).await?;
            // the token in the file is of use for minutes only; it goes all the same
            let script = format!("trap : INT; junioadm join --config {JOIN_CONFIG_PATH}; status=$?; rm -f {JOIN_CONFIG_PATH}; exit $status");
            let mut lines = HostLines::new(host.name(), progress);
            let status = interruptible(host, &script, |stream, bytes| lines.push(stream, bytes), cancel).await?;
            lines.finish();
            Ok::<_, LabError>((host.name().to_owned(), status))
        });
        let ended = join_all(joins).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let failed: Vec<String> = ended.into_iter().filter(|(_, status)| *status != 0).map(|(name, _)| name).collect();
        if failed.is_empty() { Ok(()) } else { Err(LabError::Join { lab: self.name.to_string(), hosts: failed }) }
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

    /// Endpoint, a token of a few minutes, and the pin of the CA.
    async fn invitation(&self) -> Result<Invitation, LabError> {
        let host = self.first_host();
        let admin = Layout::default().admin_conf().display().to_string();
        let command =
            ["junioadm", "token", "create", "--kubeconfig", &admin, "--ttl", TOKEN_TTL, "--print-join-command"];
        let printed = host.check(&command).await?;
        let words: Vec<&str> = printed.split_whitespace().collect();
        let after = |word: &str| words.iter().skip_while(|w| **w != word).nth(1).map(|w| (*w).to_owned());
        match (after("join"), after("--token"), after("--discovery-token-ca-cert-hash")) {
            (Some(endpoint), Some(token), Some(pin)) => Ok(Invitation { endpoint, token, pin }),
            _ => Err(LabError::Command {
                host: host.name().to_owned(),
                command: command.join(" "),
                status: 0,
                stderr: "it printed no join command".to_owned(),
            }),
        }
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

/// What a worker is told.
struct Invitation {
    endpoint: String,
    token: String,
    pin: String,
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

/// Hands over whole lines, each with its host's name in front: several hosts speak at once.
struct HostLines<'a> {
    host: &'a str,
    progress: &'a dyn Progress,
    /// What has come of a line that has not ended yet, by stream.
    begun: [Vec<u8>; 2],
}

impl<'a> HostLines<'a> {
    fn new(host: &'a str, progress: &'a dyn Progress) -> Self {
        Self { host, progress, begun: [Vec::new(), Vec::new()] }
    }

    fn push(&mut self, stream: OutputStream, bytes: &[u8]) {
        let begun = &mut self.begun[usize::from(stream == OutputStream::Stderr)];
        begun.extend_from_slice(bytes);
        let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = begun.split_off(end + 1);
        let whole = std::mem::replace(begun, rest);
        self.tell(stream, &whole);
    }

    fn finish(mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let rest = std::mem::take(&mut self.begun[usize::from(stream == OutputStream::Stderr)]);
            self.tell(stream, &rest);
        }
    }

    fn tell(&self, stream: OutputStream, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = format!("{}: {}\n", self.host, String::from_utf8_lossy(line));
            self.progress.output(self.host, stream, line.as_bytes());
        }
    }
}

fn join_config(invitation: &Invitation, host: &LabHost) -> String {
    let Invitation { endpoint, token, pin } = invitation;
    let (node, address) = (host.name(), host.address());
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: {endpoint}
    token: {token}
    caCertHashes: [\"{pin}\"]
nodeRegistration:
  name: {node}
  kubeletExtraArgs:
    - name: node-ip
      value: {address}
"
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<String>);

    impl Progress for Heard {
        fn step(&self, _text: &str) {}

        fn output(&self, _host: &str, _stream: OutputStream, bytes: &[u8]) {
            self.0.lock().expect("no panic while it is held").push_str(&String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn lines_of_several_hosts_do_not_mix() {
        let heard = Heard::default();
        let (mut a, mut b) = (HostLines::new("x-2", &heard), HostLines::new("x-3", &heard));
        a.push(OutputStream::Stderr, b"one, ");
        b.push(OutputStream::Stderr, b"other\nnext");
        a.push(OutputStream::Stderr, b"two\n\n");
        a.finish();
        b.finish();
        assert_eq!(*heard.0.lock().expect("no panic"), "x-3: other\nx-2: one, two\nx-3: next\n");
    }
}
