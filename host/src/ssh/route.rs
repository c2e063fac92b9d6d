//! From a target and settings to a list of hosts to connect to, one through the other.
//!
//! Precedence: the target, the settings, ssh_config, defaults. Jump hosts get their own ssh_config blocks; of the settings
//! they get all but user, port and the jumps themselves.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{User, gethostname, getuid};

use super::config::{self, HostConfig, Source, Tokens};
use super::known_hosts::HostName;
use super::{HostKeyPolicy, Settings, SshError, Target};

const DEFAULT_PORT: u16 = 22;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const LONGEST_ROUTE: usize = 8;
/// In the order in which they are tried.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Who runs this program, and where.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub home: PathBuf,
    pub user: String,
    pub uid: u32,
    pub agent: Option<PathBuf>,
    pub local_host: String,
}

impl Environment {
    /// As OpenSSH, the home is that of the user database; `$HOME` stands in where the user is not in it.
    pub fn of_this_process() -> Self {
        let uid = getuid();
        let user = User::from_uid(uid).ok().flatten();
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = user.as_ref().map(|user| user.dir.clone()).or_else(|| variable("HOME").map(PathBuf::from));
        Self {
            home: home.unwrap_or_else(|| PathBuf::from("/")),
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            uid: uid.as_raw(),
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            local_host: gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }
}

/// One host on the way, with all that is needed to get into it.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    /// As it was named; errors say this.
    pub name: String,
    pub user: String,
    /// What is dialled.
    pub host: String,
    pub port: u16,
    pub known_as: HostName,
    pub known_hosts: Vec<PathBuf>,
    /// Keys that no host may use.
    pub revoked: Option<PathBuf>,
    pub hash_known_hosts: bool,
    pub host_keys: HostKeyPolicy,
    pub keys: Vec<KeyFile>,
    /// Only keys of `keys` may be tried, also those that an agent holds.
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub keep_alive: Duration,
}

/// A private key that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    pub path: PathBuf,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Must be there and usable.
    Settings,
    Config,
    Default,
}

/// The hosts to connect to, the target last, and warnings about what ssh_config holds.
pub(super) fn plan(
    target: &Target,
    settings: &Settings,
    environment: &Environment,
) -> Result<(Vec<Hop>, Vec<String>), SshError> {
    let sources = match &settings.config_file {
        None => config::usual(&environment.home),
        Some(file) if file == Path::new("none") => Vec::new(),
        Some(file) => {
            let includes = environment.home.join(".ssh");
            vec![Source { file: file.clone(), includes, required: true, private: false }]
        }
    };
    let mut planner = Planner { settings, environment, sources, depth: 0, hops: Vec::new(), warnings: Vec::new() };
    planner.add(target, true, true)?;
    Ok((planner.hops, planner.warnings))
}

struct Planner<'a> {
    settings: &'a Settings,
    environment: &'a Environment,
    sources: Vec<Source>,
    /// How many hosts are being planned, each a jump to the one before.
    depth: usize,
    hops: Vec<Hop>,
    warnings: Vec<String>,
}

impl Planner<'_> {
    /// `last`: the target itself. `own_jumps`: whether the host's own ProxyJump counts, which it does where a route begins.
    fn add(&mut self, target: &Target, last: bool, own_jumps: bool) -> Result<(), SshError> {
        let tokens = Tokens {
            home: self.environment.home.clone(),
            host: target.host.clone(),
            original: target.host.clone(),
            alias: target.host.clone(),
            local_user: self.environment.user.clone(),
            uid: self.environment.uid,
            local_host: self.environment.local_host.clone(),
            ..Tokens::default()
        };
        let config = config::read(&self.sources, &target.host, &tokens)?;
        for warning in &config.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
        let hop = self.hop(target, &config, tokens, last)?;
        let from_settings = last && !self.settings.proxy_jump.is_empty();
        let jumps = if from_settings {
            self.settings.proxy_jump.clone()
        } else if own_jumps {
            if let Some((file, line)) = config.proxy_command {
                let reason =
                    "ProxyCommand is not supported; use ProxyJump, or `ProxyCommand none` in a block before it";
                return Err(SshError::Config { file, line, reason: reason.to_owned() });
            }
            config.proxy_jump.unwrap_or_default()
        } else {
            Vec::new()
        };
        self.depth += 1;
        let itself = jumps.iter().any(|jump| jump.host == target.host && jump.port == target.port);
        if itself || self.depth > LONGEST_ROUTE || self.hops.len() + jumps.len() > LONGEST_ROUTE {
            return Err(SshError::JumpLoop { host: target.host.clone(), limit: LONGEST_ROUTE });
        }
        for (index, jump) in jumps.iter().enumerate() {
            self.add(jump, false, index == 0)?;
        }
        self.depth -= 1;
        self.hops.push(hop);
        Ok(())
    }

    fn hop(&self, target: &Target, config: &HostConfig, mut tokens: Tokens, last: bool) -> Result<Hop, SshError> {
        let settings = self.settings;
        let of_settings = |value: &Option<String>| value.clone().filter(|_| last);
        let user = target.user.clone().or_else(|| of_settings(&settings.user)).or_else(|| config.user.clone());
        let user = user.unwrap_or_else(|| self.environment.user.clone());
        let port = target.port.or(settings.port.filter(|_| last)).or(config.port).unwrap_or(DEFAULT_PORT);
        let wrong = |reason| SshError::Config { file: self.file(), line: 0, reason };
        let host = match &config.host_name {
            Some(name) => tokens.text(name).map_err(wrong)?,
            None => target.host.clone(),
        };
        tokens = Tokens { host: host.clone(), port, remote_user: user.clone(), ..tokens };
        if let Some(alias) = &config.host_key_alias {
            tokens.alias.clone_from(alias);
        }
        let paths = |texts: &[String]| -> Result<Vec<PathBuf>, SshError> {
            let wanted = texts.iter().filter(|text| !text.eq_ignore_ascii_case("none"));
            wanted.map(|text| tokens.path(text).map_err(wrong)).collect()
        };
        let known_hosts = if settings.known_hosts.is_empty() {
            let usual = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let user_files = config.user_known_hosts.clone();
            let user_files = user_files.unwrap_or_else(|| usual(&["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]));
            let global = config.global_known_hosts.clone();
            let global = global.unwrap_or_else(|| usual(&["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]));
            [paths(&user_files)?, paths(&global)?].concat()
        } else {
            settings.known_hosts.clone()
        };
        let known_as =
            config.host_key_alias.as_ref().map_or_else(|| HostName::new(&host, port), |alias| HostName::alias(alias));
        let seconds = |duration: junio_api::duration::GoDuration| Some(duration.0).filter(|time| !time.is_zero());
        Ok(Hop {
            name: target.host.clone(),
            known_as,
            known_hosts,
            revoked: paths(config.revoked_host_keys.as_slice())?.pop(),
            hash_known_hosts: config.hash_known_hosts.unwrap_or(false),
            host_keys: settings.host_keys.or(config.host_keys).unwrap_or_default(),
            keys: self.keys(config, &paths)?,
            identities_only: config.identities_only.unwrap_or(false),
            agent: self.agent(config, &tokens).map_err(wrong)?,
            connect_timeout: settings
                .connect_timeout
                .and_then(seconds)
                .or(config.connect_timeout)
                .unwrap_or(CONNECT_TIMEOUT),
            keep_alive: settings.keep_alive.and_then(seconds).or(config.keep_alive).unwrap_or(KEEP_ALIVE),
            user,
            host,
            port,
        })
    }

    fn keys(
        &self,
        config: &HostConfig,
        paths: &impl Fn(&[String]) -> Result<Vec<PathBuf>, SshError>,
    ) -> Result<Vec<KeyFile>, SshError> {
        let of = |files: Vec<PathBuf>, origin| files.into_iter().map(move |path| KeyFile { path, origin });
        let mut keys: Vec<KeyFile> = of(self.settings.identity_files.clone(), Origin::Settings).collect();
        match &config.identity_files {
            Some(files) => keys.extend(of(paths(files)?, Origin::Config)),
            None if keys.is_empty() => {
                let directory = self.environment.home.join(".ssh");
                keys.extend(of(DEFAULT_KEYS.iter().map(|name| directory.join(name)).collect(), Origin::Default));
            }
            None => {}
        }
        Ok(keys)
    }

    fn agent(&self, config: &HostConfig, tokens: &Tokens) -> Result<Option<PathBuf>, String> {
        if !self.settings.use_agent {
            return Ok(None);
        }
        if self.settings.agent.is_some() {
            return Ok(self.settings.agent.clone());
        }
        match config.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => Ok(self.environment.agent.clone()),
            Some(none) if none.eq_ignore_ascii_case("none") => Ok(None),
            Some(variable) if variable.starts_with('$') && !variable.starts_with("${") => {
                Ok(std::env::var_os(&variable[1..]).map(PathBuf::from))
            }
            Some(path) => tokens.path(path).map(Some),
        }
    }

    /// For errors of values, whose line is not known any more.
    fn file(&self) -> PathBuf {
        self.sources.first().map(|source| source.file.clone()).unwrap_or_default()
    }
}
