//! One line of known_hosts: `[@marker] hosts type base64 [comment]`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use crate::ssh::pattern;

/// What a line says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// It is the host's.
    None,
    /// It signs certificates of such hosts.
    CertAuthority,
    /// It must not be used by such hosts, nor as their authority.
    Revoked,
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub marker: Marker,
    hosts: Hosts,
    pub key: PublicKey,
}

#[derive(Debug, Clone)]
enum Hosts {
    Patterns(Vec<String>),
    /// Salt and HMAC-SHA1 of one name.
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Line {
    /// `None` for blank lines, comments, and what OpenSSH skips too: unknown markers, damaged keys, keys of protocol 1.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        let first = words.next()?;
        if first.starts_with('#') {
            return None;
        }
        let (marker, hosts) = match first {
            "@cert-authority" => (Marker::CertAuthority, words.next()?),
            "@revoked" => (Marker::Revoked, words.next()?),
            _ if first.starts_with('@') => return None,
            _ => (Marker::None, first),
        };
        let (algorithm, blob) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
        let key = PublicKey::from_bytes(&blob).ok()?;
        if key.key_data().is_certificate() || named(&key) != algorithm {
            return None;
        }
        Some(Self { marker, hosts: Hosts::parse(hosts)?, key })
    }

    /// `name` in lower case, with a port other than 22 as `[host]:port`.
    pub fn is_of(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Patterns(patterns) => pattern::matches_any(patterns.iter().map(String::as_str), name),
            Hosts::Hashed { salt, hash } => hash_of(salt, name) == *hash,
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        let Some(hashed) = text.strip_prefix("|1|") else {
            return Some(Self::Patterns(text.split(',').map(str::to_ascii_lowercase).collect()));
        };
        let (salt, hash) = hashed.split_once('|')?;
        Some(Self::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? })
    }
}

/// The name of a key's type as it stands before the key.
pub(in crate::ssh) fn named(key: &PublicKey) -> String {
    // an RSA key is `ssh-rsa` whatever hash signs with it
    if key.algorithm().is_rsa() { "ssh-rsa".to_owned() } else { key.algorithm().as_str().to_owned() }
}

fn hash_of(salt: &[u8], name: &str) -> Vec<u8> {
    // HMAC takes keys of any length
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return Vec::new() };
    mac.update(name.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A line to append for a host, its name hashed when `salt` is given.
pub(super) fn write(name: &str, key: &PublicKey, salt: Option<&[u8]>) -> Option<String> {
    let hosts = match salt {
        Some(salt) => format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash_of(salt, name))),
        None => name.to_owned(),
    };
    Some(format!("{hosts} {} {}\n", named(key), STANDARD.encode(key.to_bytes().ok()?)))
}
