//! ssh_config: what it says about one host. The first value of a keyword counts, as with OpenSSH.
//!
//! A subset: `Host` blocks, `Include`, `Match all`, and the keywords of [`HostConfig`]. Unknown keywords are passed over;
//! what would change where we connect to and is not understood is an error or a warning, never silence.

mod expand;
mod glob;
mod read;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use super::{HostKeyPolicy, Target};

pub(super) use expand::Tokens;
pub(super) use read::{read, usual};

/// What ssh_config says about one host; `None` where it says nothing. Paths are not expanded yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostConfig {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    /// `Some` and empty after `IdentityFile none`.
    pub identity_files: Option<Vec<String>>,
    pub identities_only: Option<bool>,
    pub identity_agent: Option<String>,
    /// `Some` and empty after `ProxyJump none`.
    pub proxy_jump: Option<Vec<Target>>,
    /// Where a `ProxyCommand` stands that counts for the host. We run none.
    pub proxy_command: Option<(PathBuf, usize)>,
    pub user_known_hosts: Option<Vec<String>>,
    pub global_known_hosts: Option<Vec<String>>,
    pub revoked_host_keys: Option<String>,
    pub hash_known_hosts: Option<bool>,
    pub host_key_alias: Option<String>,
    pub host_keys: Option<HostKeyPolicy>,
    pub connect_timeout: Option<Duration>,
    pub keep_alive: Option<Duration>,
    /// What was passed over and might matter, with file and line.
    pub warnings: Vec<String>,
}

/// A file to read and where its relative includes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub file: PathBuf,
    pub includes: PathBuf,
    /// It must exist.
    pub required: bool,
    /// It must belong to us or root and be writable by nobody else.
    pub private: bool,
}
