//! How to connect: plain data, to be read from a document or filled from flags.
//!
//! What is `None` or empty here is decided by ssh_config, and where that says nothing by the defaults named below.

use std::path::PathBuf;

use junio_api::duration::GoDuration;
use serde::{Deserialize, Serialize};

use super::Target;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Unless the target names one. Default: who runs this program.
    pub user: Option<String>,
    /// Unless the target names one. Default: 22.
    pub port: Option<u16>,
    /// Private keys; each must exist. Default: `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa`, those that are there.
    pub identity_files: Vec<PathBuf>,
    /// Whether keys of an ssh-agent are tried.
    pub use_agent: bool,
    /// The agent's socket. Default: `$SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
    /// Read instead of `~/.ssh/config` and `/etc/ssh/ssh_config`; `none` reads neither.
    pub config_file: Option<PathBuf>,
    /// Default: `~/.ssh/known_hosts`, `~/.ssh/known_hosts2` and the two of the same names `ssh_known_hosts` in `/etc/ssh`.
    /// Keys of first use are written to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Default: strict.
    pub host_keys: Option<HostKeyPolicy>,
    /// Hosts to go through, in this order; empty: what ssh_config says.
    pub proxy_jump: Vec<Target>,
    /// For resolving, connecting and each step of the handshake. Default: 10 s.
    pub connect_timeout: Option<GoDuration>,
    /// Silence after which the host is asked whether it is there; after three unanswered the connection is lost. Default: 10 s.
    pub keep_alive: Option<GoDuration>,
    /// How long [`super::Connection::run`] lets a command take. Default: 5 minutes.
    pub command_timeout: Option<GoDuration>,
    pub sudo: SudoPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: None,
            port: None,
            identity_files: Vec::new(),
            use_agent: true,
            agent: None,
            config_file: None,
            known_hosts: Vec::new(),
            host_keys: None,
            proxy_jump: Vec::new(),
            connect_timeout: None,
            keep_alive: None,
            command_timeout: None,
            sudo: SudoPolicy::default(),
        }
    }
}

/// What to do with a host whose key is in no known_hosts. A changed or revoked key is refused always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Refuse.
    #[default]
    Strict,
    /// Accept and write down, so that from then on it is the only one.
    AcceptNew,
}

/// How commands become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SudoPolicy {
    /// Through sudo unless the user is root.
    #[default]
    Auto,
    /// Never: commands run as the user that logged in.
    Never,
    /// Through sudo even for root.
    Always,
}
