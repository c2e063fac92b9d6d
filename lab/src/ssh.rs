//! The lab's ssh key, the hosts' keys, and the client configuration that makes `ssh -F FILE HOST` just work.
//!
//! Host keys are read through the engine, so that no connection ever trusts on first use.

use std::fmt::Write;
use std::path::Path;

use tokio::process::Command;

use crate::state::StateDir;
use crate::{LabError, LabHost};

const KEY: &str = "id_ed25519";

/// Makes the lab's key pair unless it is there, and returns the public half as a line of `authorized_keys`.
pub(crate) async fn ensure_key(state: &StateDir) -> Result<String, LabError> {
    let key = state.path(KEY);
    let public = state.path(&format!("{KEY}.pub"));
    if !public.exists() {
        let _ = std::fs::remove_file(&key);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "junioadm-lab", "-f"])
            .arg(&key)
            .output()
            .await;
        match made {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(LabError::Tool { command: "ssh-keygen".to_owned(), stderr });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LabError::ToolMissing { program: "ssh-keygen" });
            }
            Err(error) => return Err(LabError::file("run", "ssh-keygen")(error)),
        }
    }
    std::fs::read_to_string(&public).map_err(LabError::file("read", public))
}

/// Writes `known_hosts` and `ssh_config`. `keys` holds each host's public key line (`TYPE BASE64 ...`).
pub(crate) fn write_client_files(state: &StateDir, hosts: &[LabHost], keys: &[String]) -> Result<(), LabError> {
    let mut known = String::new();
    for (host, key) in hosts.iter().zip(keys) {
        let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let _ = writeln!(known, "{},{} {key}", host.name(), host.address());
    }
    state.write("known_hosts", known.as_bytes())?;
    let config = client_config(hosts, &state.path(KEY), &state.path("known_hosts"));
    state.write("ssh_config", config.as_bytes())
}

fn client_config(hosts: &[LabHost], key: &Path, known_hosts: &Path) -> String {
    let mut config = String::new();
    for host in hosts {
        let _ = writeln!(config, "Host {} {}\n    HostName {}", host.name(), host.address(), host.address());
    }
    let _ = write!(
        config,
        "Host *\n    User root\n    IdentityFile \"{}\"\n    IdentitiesOnly yes\n    UserKnownHostsFile \"{}\"\n    \
         GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    LogLevel ERROR\n    ConnectTimeout 10\n",
        key.display(),
        known_hosts.display()
    );
    config
}

/// The ssh client for a host: interactive without a command, else several words as they are, or one as a shell script.
pub(crate) fn command(state: &StateDir, host: &str, command: &[String], terminal: bool) -> std::process::Command {
    let mut ssh = std::process::Command::new("ssh");
    ssh.arg("-F").arg(state.path("ssh_config"));
    if terminal {
        ssh.arg("-t");
    }
    ssh.arg(host);
    match command {
        [] => {}
        // one word is a script for the host's shell, as with ssh itself
        [script] => drop(ssh.arg("--").arg(script)),
        // ssh joins its arguments with blanks and the host's shell splits them again
        words => drop(ssh.arg("--").arg(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))),
    }
    ssh
}

/// Quotes a word for a POSIX shell; a plain word stays readable.
fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_host_as_they_were_typed() {
        assert_eq!(quote("get"), "get");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$HOME"), "'$HOME'");
    }
}
