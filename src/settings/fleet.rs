//! Flags and file of the commands that reach other hosts.

use std::path::{Path, PathBuf};

use junio_api::config::fleet::{Cluster, SshSettings};
use junio_api::config::{HostFacts, JoinConfiguration, load_fleet, load_join, validate_fleet};
use junio_host::ssh::{HostKeyPolicy, Settings, SudoPolicy, Target};

use super::{Source, refuse_invalid, set};
use crate::cli::{JoinArgs, SshFlags};
use crate::error::CommandError;
use crate::facts;

/// The Cluster of a file, valid.
pub fn cluster(path: &Path) -> Result<Cluster, CommandError> {
    let source = Source::read(path)?;
    let cluster =
        load_fleet(&source.text).map_err(|error| CommandError::Config { source_text: source.clone(), error })?;
    let problems = validate_fleet(&cluster, &source.text, &any_host());
    refuse_invalid(problems, Some(source))?;
    Ok(cluster)
}

/// Name and address are the business of the host that a document is for; here they only must not be missing.
pub fn any_host() -> HostFacts {
    let found = facts::gather();
    HostFacts { default_address: found.default_address.or_else(|| "192.0.2.1".parse().ok()), ..found }
}

/// What `join` on each of the hosts works with, without the way into the cluster, which is made for each of them.
pub fn join(args: &JoinArgs) -> Result<JoinConfiguration, CommandError> {
    let excluded: Vec<&str> = args
        .excluded_by_config()
        .into_iter()
        .filter(|name| args.config.is_some() || !["cri-socket", "patches"].contains(name))
        .collect();
    if !excluded.is_empty() {
        let what = if args.config.is_some() { "--config" } else { "--ssh" };
        return Err(CommandError::Usage(format!("can not mix '{what}' with arguments [{}]", excluded.join(" "))));
    }
    let mut join = match &args.config {
        Some(path) => {
            let source = Source::read(path)?;
            load_join(&source.text).map_err(|error| CommandError::Config { source_text: source, error })?.join
        }
        None => JoinConfiguration::default(),
    };
    set(&mut join.node_registration.name, args.node_name.as_ref());
    set(&mut join.node_registration.cri_socket, args.cri_socket.as_ref());
    if let Some(directory) = &args.patches {
        join.patches = Some(junio_api::config::common::Patches { directory: directory.clone() });
    }
    join.node_registration.ignore_preflight_errors.extend(args.ignore_preflight_errors.iter().cloned());
    join.skip_phases.extend(args.skip_phases.iter().cloned());
    Ok(join)
}

/// One host.
pub fn target(text: &str) -> Result<Target, CommandError> {
    text.parse().map_err(|error: junio_host::ssh::SshError| CommandError::Usage(error.to_string()))
}

/// Several hosts, each once.
pub fn targets(texts: &[String]) -> Result<Vec<Target>, CommandError> {
    let mut targets: Vec<Target> = Vec::new();
    for text in texts {
        let found = target(text.trim())?;
        let same = |other: &Target| {
            (other.host.to_lowercase(), other.port.unwrap_or(22))
                == (found.host.to_lowercase(), found.port.unwrap_or(22))
        };
        if let Some(other) = targets.iter().find(|other| same(other)) {
            return Err(CommandError::Usage(format!("--ssh {found} is the same host as {other}")));
        }
        targets.push(found);
    }
    Ok(targets)
}

/// How hosts are reached: flags before the file, and where neither says anything, ssh_config.
pub fn ssh(flags: &SshFlags, file: Option<&SshSettings>) -> Result<Settings, CommandError> {
    let nothing = SshSettings::default();
    let file = file.unwrap_or(&nothing);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let paths = |flags: &[PathBuf], file: &[String]| -> Vec<PathBuf> {
        if flags.is_empty() { file.iter().map(|path| home(path)).collect() } else { flags.to_vec() }
    };
    let jumps = if flags.ssh_jump.is_empty() { &file.proxy_jump } else { &flags.ssh_jump };
    let new = flags.ssh_accept_new || file.host_keys == "accept-new";
    Ok(Settings {
        user: text(&file.user),
        port: Some(file.port).filter(|port| *port > 0),
        identity_files: paths(&flags.ssh_identity, &file.identity_files),
        config_file: flags.ssh_config.clone().or_else(|| text(&file.config_file).map(|path| home(&path))),
        known_hosts: paths(&flags.ssh_known_hosts, &file.known_hosts),
        host_keys: if new {
            Some(HostKeyPolicy::AcceptNew)
        } else {
            Some(HostKeyPolicy::Strict).filter(|_| file.host_keys == "strict")
        },
        proxy_jump: jumps.iter().map(|jump| target(jump)).collect::<Result<_, _>>()?,
        connect_timeout: file.connect_timeout,
        sudo: match file.sudo.as_str() {
            "never" => SudoPolicy::Never,
            "always" => SudoPolicy::Always,
            _ => SudoPolicy::Auto,
        },
        ..Settings::default()
    })
}

/// `~/` is the user's home, as a shell would have it.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_once() {
        let texts = |texts: &[&str]| targets(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(texts(&["a", "root@b:2222"]).expect("two hosts").len(), 2);
        assert!(texts(&["a", "root@A:22"]).expect_err("twice").to_string().contains("the same host as a"));
        assert!(texts(&["-oProxyCommand=x"]).is_err());
    }

    #[test]
    fn flags_come_before_the_file() {
        let file =
            SshSettings { identity_files: vec!["/a".into()], host_keys: "accept-new".into(), ..SshSettings::default() };
        let from_file = ssh(&SshFlags::default(), Some(&file)).expect("fine");
        assert_eq!(from_file.identity_files, [PathBuf::from("/a")]);
        assert_eq!(from_file.host_keys, Some(HostKeyPolicy::AcceptNew));
        let flags = SshFlags { ssh_identity: vec!["/b".into()], ..SshFlags::default() };
        assert_eq!(ssh(&flags, Some(&file)).expect("fine").identity_files, [PathBuf::from("/b")]);
        assert_eq!(ssh(&SshFlags::default(), None).expect("fine"), Settings::default());
    }
}
