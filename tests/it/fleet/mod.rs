//! Many hosts from one place: `apply`, `join --ssh` and `reset --ssh`, run on this machine against hosts of a lab.

mod apply;
mod one_host;

use std::path::{Path, PathBuf};
use std::process::Output;

use junio_lab::{Lab, LabHost};
use serde_json::Value;

use crate::support::junioadm_command;

/// A directory of a test on this machine, for its file and kubeconfig.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn kubeconfig(&self) -> PathBuf {
        self.0.path().join("demo.kubeconfig")
    }

    /// Writes a Cluster with these hosts, each a line of YAML in braces.
    fn cluster(&self, lab: &Lab, hosts: &[String]) -> PathBuf {
        let path = self.0.path().join("cluster.yaml");
        let (key, known) = (lab.ssh_key().display().to_string(), lab.known_hosts().display().to_string());
        let hosts: String = hosts.iter().map(|host| format!("    - {host}\n")).collect();
        let text = format!(
            "apiVersion: junioadm.io/v1alpha1\nkind: Cluster\nmetadata:\n  name: demo\nspec:\n  ssh:\n    user: root\n    \
             identityFiles: [{key}]\n    knownHosts: [{known}]\n    configFile: none\n  hosts:\n{hosts}  kubeadm:\n    \
             kubeProxyConfiguration:\n      conntrack: {{maxPerCore: 0}}\n"
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    /// `apply --output json`: exit code, report and what was said.
    async fn apply(&self, file: &Path, arguments: &[&str]) -> (i32, Value, String) {
        let (file, kubeconfig) = (file.display().to_string(), self.kubeconfig().display().to_string());
        let all = [&["apply", "-f", &file, "--kubeconfig", &kubeconfig, "--output", "json"][..], arguments].concat();
        report(junioadm(&all).await)
    }
}

/// Flags with which this machine reaches a lab's hosts.
fn ssh_flags(lab: &Lab) -> Vec<String> {
    let (key, known) = (lab.ssh_key().display().to_string(), lab.known_hosts().display().to_string());
    ["--ssh-identity", &key, "--ssh-known-hosts", &known, "--ssh-config", "none"].map(str::to_owned).into()
}

fn target(host: &LabHost) -> String {
    format!("root@{}", host.address())
}

/// `junioadm` on this machine, while others of this test go on.
async fn junioadm(arguments: &[&str]) -> Output {
    let mut command = junioadm_command(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("junioadm starts")).await.expect("no panic")
}

fn report(output: Output) -> (i32, Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().expect("ended by itself"), report, said)
}

/// The row of a host.
fn row<'a>(report: &'a Value, host: &LabHost) -> &'a Value {
    let address = host.address().to_string();
    let hosts = report["hosts"].as_array().expect("a report");
    hosts
        .iter()
        .find(|row| row["host"].as_str().is_some_and(|title| title.contains(&address)))
        .expect("a row of the host")
}
