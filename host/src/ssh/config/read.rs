//! Reading ssh_config files for one host: blocks that count, includes, keywords.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{HostConfig, Source, Tokens, glob, words};
use crate::ssh::{HostKeyPolicy, SshError, Target, pattern};

/// As OpenSSH.
const DEEPEST_INCLUDE: usize = 16;

/// What the files say about `host`, a name as the user typed it. `tokens` serves the paths of `Include`.
///
/// # Errors
/// A line that cannot be understood, with file and line; a file that must be there and is not, or is not safe.
pub(in crate::ssh) fn read(sources: &[Source], host: &str, tokens: &Tokens) -> Result<HostConfig, SshError> {
    let mut reader = Reader { host, tokens, config: HostConfig::default() };
    for source in sources {
        reader.file(source, true, 0)?;
    }
    Ok(reader.config)
}

struct Reader<'a> {
    host: &'a str,
    tokens: &'a Tokens,
    config: HostConfig,
}

/// A line's place, and its way to say what is wrong with it.
struct At<'a> {
    file: &'a Path,
    line: usize,
}

impl At<'_> {
    fn error(&self, reason: impl Into<String>) -> SshError {
        SshError::Config { file: self.file.to_owned(), line: self.line, reason: reason.into() }
    }
}

impl Reader<'_> {
    /// `counts`: whether the file is included where lines count. Nothing in a file can count that is included elsewhere.
    fn file(&mut self, source: &Source, counts: bool, depth: usize) -> Result<(), SshError> {
        let fail = |error| SshError::ConfigFile { file: source.file.clone(), source: error };
        let bytes = match std::fs::read(&source.file) {
            Ok(bytes) => bytes,
            Err(error) if !source.required && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        if source.private {
            let stat = std::fs::metadata(&source.file).map_err(fail)?;
            if (stat.uid() != 0 && stat.uid() != self.tokens.uid) || stat.mode() & 0o022 != 0 {
                return Err(
                    At { file: &source.file, line: 0 }.error("others may write this file, so it is not trusted")
                );
            }
        }
        let mut active = counts;
        for (index, text) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let at = At { file: &source.file, line: index + 1 };
            let Some((keyword, arguments)) = words::split(text).map_err(|reason| at.error(reason))? else { continue };
            match keyword.as_str() {
                "host" => active = counts && pattern::matches_any(arguments.iter().map(String::as_str), self.host),
                "match" => active = counts && self.matches(&arguments, &at)?,
                "include" => {
                    for argument in need(&arguments, &keyword, &at)? {
                        self.include(argument, source, active, depth, &at)?;
                    }
                }
                _ if active => self.keyword(&keyword, &arguments, &at)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn matches(&mut self, arguments: &[String], at: &At<'_>) -> Result<bool, SshError> {
        need(arguments, "match", at)?;
        if arguments.len() == 1 && arguments[0].eq_ignore_ascii_case("all") {
            return Ok(true);
        }
        let condition = arguments.join(" ");
        self.warn(at, &format!("Match {condition} is passed over: only `Match all` is understood"));
        Ok(false)
    }

    fn include(
        &mut self,
        argument: &str,
        from: &Source,
        counts: bool,
        depth: usize,
        at: &At<'_>,
    ) -> Result<(), SshError> {
        if depth >= DEEPEST_INCLUDE {
            return Err(at.error("files include each other too deeply"));
        }
        // `join` leaves an absolute path as it is
        let path = from.includes.join(self.tokens.path(argument).map_err(|reason| at.error(reason))?);
        for file in glob::files(&path) {
            let source = Source { file, required: true, ..from.clone() };
            self.file(&source, counts, depth + 1)?;
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, arguments: &[String], at: &At<'_>) -> Result<(), SshError> {
        let values = || need(arguments, keyword, at);
        let value = || Ok::<_, SshError>(values()?[0].as_str());
        let config = &mut self.config;
        match keyword {
            "hostname" => set(&mut config.host_name, value()?.to_owned()),
            "user" => set(&mut config.user, value()?.to_owned()),
            "port" => set(&mut config.port, port(value()?, at)?),
            "identityfile" => {
                let file = value()?;
                let files = config.identity_files.get_or_insert_default();
                if !file.eq_ignore_ascii_case("none") && !files.iter().any(|known| known == file) {
                    files.push(file.to_owned());
                }
            }
            "identitiesonly" => set(&mut config.identities_only, yes(value()?, at)?),
            "identityagent" => set(&mut config.identity_agent, value()?.to_owned()),
            "hashknownhosts" => set(&mut config.hash_known_hosts, yes(value()?, at)?),
            "revokedhostkeys" => set(&mut config.revoked_host_keys, value()?.to_owned()),
            "hostkeyalias" => set(&mut config.host_key_alias, value()?.to_owned()),
            "userknownhostsfile" => set(&mut config.user_known_hosts, values()?.to_vec()),
            "globalknownhostsfile" => set(&mut config.global_known_hosts, values()?.to_vec()),
            "connecttimeout" => set_some(&mut config.connect_timeout, seconds(value()?, at)?),
            "serveraliveinterval" => set_some(&mut config.keep_alive, seconds(value()?, at)?),
            "stricthostkeychecking" => set(&mut config.host_keys, policy(value()?, at)?),
            // whichever of the two comes first counts
            "proxyjump" if config.proxy_command.is_none() => set(&mut config.proxy_jump, jumps(value()?, at)?),
            "proxycommand" if config.proxy_jump.is_none() && config.proxy_command.is_none() => {
                if value()?.eq_ignore_ascii_case("none") {
                    config.proxy_jump = Some(Vec::new());
                } else {
                    config.proxy_command = Some((at.file.to_owned(), at.line));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn warn(&mut self, at: &At<'_>, what: &str) {
        self.config.warnings.push(format!("{}:{}: {what}", at.file.display(), at.line));
    }
}

fn set<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

fn set_some<T>(field: &mut Option<T>, value: Option<T>) {
    if let Some(value) = value {
        set(field, value);
    }
}

fn need<'a>(arguments: &'a [String], keyword: &str, at: &At<'_>) -> Result<&'a [String], SshError> {
    if arguments.first().is_none_or(String::is_empty) {
        return Err(at.error(format!("{keyword} has no value")));
    }
    Ok(arguments)
}

fn port(text: &str, at: &At<'_>) -> Result<u16, SshError> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| at.error(format!("{text:?} is no port")))
}

fn yes(text: &str, at: &At<'_>) -> Result<bool, SshError> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(at.error(format!("{text:?} is neither yes nor no"))),
    }
}

fn policy(text: &str, at: &At<'_>) -> Result<HostKeyPolicy, SshError> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "ask" => Ok(HostKeyPolicy::Strict),
        // `no` lets changed keys pass in OpenSSH; here nothing does
        "accept-new" | "no" | "false" | "off" => Ok(HostKeyPolicy::AcceptNew),
        _ => Err(at.error(format!("{text:?} is no way to check host keys"))),
    }
}

/// `none` and 0 say nothing.
fn seconds(text: &str, at: &At<'_>) -> Result<Option<Duration>, SshError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let fail = || at.error(format!("{text:?} is no time"));
    let (mut total, mut number) = (0u64, None::<u64>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = number.unwrap_or(0).checked_mul(10).and_then(|value| value.checked_add(digit.into()));
            if number.is_none() {
                return Err(fail());
            }
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            'w' => 604_800,
            _ => return Err(fail()),
        };
        let value = number.take().ok_or_else(fail)?.checked_mul(unit).ok_or_else(fail)?;
        total = total.checked_add(value).ok_or_else(fail)?;
    }
    if text.is_empty() {
        return Err(fail());
    }
    total = total.checked_add(number.unwrap_or(0)).ok_or_else(fail)?;
    Ok(Some(Duration::from_secs(total)).filter(|time| !time.is_zero()))
}

fn jumps(text: &str, at: &At<'_>) -> Result<Vec<Target>, SshError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|jump| {
            let jump = jump.trim();
            let jump = jump.strip_prefix("ssh://").unwrap_or(jump).trim_end_matches('/');
            jump.parse().map_err(|error: SshError| at.error(error.to_string()))
        })
        .collect()
}

/// The files that OpenSSH reads for a user.
pub(in crate::ssh) fn usual(home: &Path) -> Vec<Source> {
    let (user, system) = (home.join(".ssh"), PathBuf::from("/etc/ssh"));
    vec![
        Source { file: user.join("config"), includes: user, required: false, private: true },
        Source { file: system.join("ssh_config"), includes: system, required: false, private: false },
    ]
}
