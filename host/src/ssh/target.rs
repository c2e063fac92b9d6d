//! Where to: `[user@]host[:port]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SshError;

/// A host as a user writes it. The host may be a name, an address, or an alias of ssh_config.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

impl FromStr for Target {
    type Err = SshError;

    /// Takes `host`, `user@host`, `host:port`, `[v6]:port` and a bare IPv6 address; a user may hold an `@`.
    fn from_str(text: &str) -> Result<Self, SshError> {
        let fail = |reason| SshError::Target { text: text.to_owned(), reason };
        let (user, rest) = match text.rsplit_once('@') {
            Some(("", _)) => return Err(fail("the user before @ is empty")),
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (host, port) = split_port(rest).map_err(fail)?;
        if host.is_empty() {
            return Err(fail("it names no host"));
        }
        // what starts with a dash is an option that lost its way, and none of the rest can be a name or address
        let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'`$\\/<>;&|(){}*?!,#".contains(c);
        if host.starts_with('-') || host.contains(odd) || host.contains(['[', ']']) {
            return Err(fail("the host is neither a name nor an address"));
        }
        if user.is_some_and(|user| user.starts_with('-') || user.contains(odd)) {
            return Err(fail("the user is no user name"));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
        _ => Err("the port is no number from 1 to 65535"),
    };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, number(port)?)),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only :port may follow the bracket"),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((text, None)), // a bare IPv6 address
        Some((host, port)) => Ok((host, number(port)?)),
        None => Ok((text, None)),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(user: Option<&str>, host: &str, port: Option<u16>) -> Target {
        Target { user: user.map(str::to_owned), host: host.to_owned(), port }
    }

    #[test]
    fn the_usual_forms_are_read() {
        for (text, expected) in [
            ("web", target(None, "web", None)),
            ("root@10.0.0.1", target(Some("root"), "10.0.0.1", None)),
            ("root@web:2222", target(Some("root"), "web", Some(2222))),
            ("me@corp@web", target(Some("me@corp"), "web", None)),
            ("fd00::1", target(None, "fd00::1", None)),
            ("a@[fd00::1]", target(Some("a"), "fd00::1", None)),
            ("a@[fd00::1]:22", target(Some("a"), "fd00::1", Some(22))),
            ("[web]:2222", target(None, "web", Some(2222))),
            ("fe80::1%eth0", target(None, "fe80::1%eth0", None)),
        ] {
            assert_eq!(text.parse::<Target>().expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "@web",
            "root@",
            "web:",
            "web:0",
            "web:65536",
            "web:x",
            "web:+22",
            "-oProxyCommand=x",
            "[web",
            "[web]x",
            "a b",
            "web\n",
            "-x@web",
            "$(id)",
            "web/1",
            ":22",
            "[]:22",
        ] {
            assert!(matches!(text.parse::<Target>(), Err(SshError::Target { .. })), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_back(text in ".{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>().expect("its own text"), target);
            }
        }
    }
}
