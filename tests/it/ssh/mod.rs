//! Hosts over SSH, against the real sshd, sudo and ssh-agent: who is trusted, who is let in, what survives a lost connection.

mod login;
mod transfer;
mod trust;
mod way;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use async_trait::async_trait;
use junio_api::Secret;
use junio_api::duration::GoDuration;
use junio_host::ssh::{Connection, NoPrompter, Prompter, Settings, SshError, Target};
use junio_lab::LabHost;
use tempfile::TempDir;

use crate::support::TestLab;

/// Only what the test says: no ssh_config, no agent, the lab's key, the lab's known hosts.
fn settings(lab: &TestLab) -> Settings {
    Settings {
        config_file: Some("none".into()),
        identity_files: vec![lab.ssh_key()],
        known_hosts: vec![lab.known_hosts()],
        use_agent: false,
        keep_alive: Some(GoDuration::from_secs(1)),
        ..Settings::default()
    }
}

fn target(user: &str, host: &LabHost) -> Target {
    Target { user: Some(user.to_owned()), host: host.address().to_string(), port: None }
}

async fn connect(user: &str, host: &LabHost, settings: &Settings) -> Result<Connection, SshError> {
    Connection::connect(&target(user, host), settings, &NoPrompter).await
}

/// The user that the host says we are.
async fn who(connection: &Connection) -> String {
    let output = connection.run(&["id", "-un"], None).await.expect("id runs");
    assert!(output.success(), "{}", output.stderr_text());
    output.stdout_text()
}

/// A file of known_hosts with this content.
fn known_hosts(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let file = directory.path().join(name);
    std::fs::write(&file, content).expect("the file is written");
    file
}

fn ssh_keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output().expect("ssh-keygen starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A new key pair without a passphrase, or with one. Returns the file and the public line.
fn new_key(directory: &TempDir, name: &str, kind: &str, passphrase: &str) -> (PathBuf, String) {
    let file = directory.path().join(name);
    ssh_keygen(&["-q", "-t", kind, "-N", passphrase, "-C", name, "-f", path(&file)]);
    let public = std::fs::read_to_string(file.with_extension("pub")).expect("the public key");
    (file, public)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A user on the host whom these keys let in.
async fn add_user(host: &LabHost, name: &str, public_keys: &str) {
    let script = format!(
        "useradd -m -s /bin/bash {name} && install -d -m 700 -o {name} -g {name} /home/{name}/.ssh && \
         cat > /home/{name}/.ssh/authorized_keys <<'END' && chown {name}: /home/{name}/.ssh/authorized_keys\n{public_keys}\nEND"
    );
    host.check(&["sh", "-c", &script]).await.expect("the user is added");
}

/// Answers with what it has.
#[derive(Default)]
struct Answers {
    passphrase: Option<&'static str>,
    sudo: Option<&'static str>,
}

#[async_trait]
impl Prompter for Answers {
    async fn passphrase(&self, _key: &Path) -> Option<Secret<String>> {
        self.passphrase.map(|text| Secret::new(text.to_owned()))
    }

    async fn sudo_password(&self, _target: &Target) -> Option<Secret<String>> {
        self.sudo.map(|text| Secret::new(text.to_owned()))
    }
}

/// An ssh-agent with these keys; ends with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    async fn with(directory: &TempDir, keys: &[&Path]) -> Self {
        let socket = directory.path().join("agent");
        let process = Command::new("ssh-agent")
            .args(["-D", "-a", path(&socket)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent starts");
        let agent = Self { process, socket };
        crate::support::wait_until("the agent", std::time::Duration::from_secs(10), async || {
            std::os::unix::net::UnixStream::connect(&agent.socket).map_err(|error| error.to_string())
        })
        .await;
        for key in keys {
            let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).output();
            let added = added.expect("ssh-add starts");
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
