//! Whether a host certificate holds: signature, kind, time, names, options (OpenSSH, PROTOCOL.certkeys).

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::ssh::pattern;

/// `authority` is trusted for `host` already; everything else about the certificate is checked here.
pub(super) fn check(certificate: &Certificate, authority: &PublicKey, host: &str, now: u64) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("it is a user's, not a host's".to_owned());
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err("it is signed with SHA-1".to_owned());
    }
    if now < certificate.valid_after() {
        return Err(format!("it is not valid before {} (seconds since 1970)", certificate.valid_after()));
    }
    if now >= certificate.valid_before() {
        return Err(format!("it was valid until {} (seconds since 1970)", certificate.valid_before()));
    }
    let names = certificate.valid_principals();
    // stricter than older OpenSSH, to whom a certificate without names was good for every host
    if !names.iter().any(|name| pattern::matches(&name.to_ascii_lowercase(), host)) {
        return Err(format!(
            "it is for {}, not for {host}",
            if names.is_empty() { "no host".to_owned() } else { names.join(", ") }
        ));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Err(format!("it has the critical option {option}, which nobody knows for hosts"));
    }
    certificate
        .validate_at(now, [&authority.fingerprint(HashAlg::Sha256)])
        .map_err(|_| "its signature does not hold".to_owned())
}
