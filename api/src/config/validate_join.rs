//! Judges what `join` works with, after its defaults: kubeadm v1.36.3's rules, all problems at once.

use std::net::IpAddr;

use super::defaults::split_endpoint;
use super::documents::{JoinDocuments, Kind};
use super::error::FieldError;
use super::join::{BootstrapTokenDiscovery, Discovery, FileDiscovery};
use super::validate::{Problems, absolute, is_dns1123_subdomain, node};

/// Everything that is wrong. With `discovers` false the discovery is not looked at: a phase that is run alone on a host that
/// has its kubeconfig does without.
#[must_use]
pub fn validate_join(documents: &JoinDocuments, discovers: bool) -> Vec<FieldError> {
    let mut p = Problems::new(Kind::JoinConfiguration);
    let join = &documents.join;
    absolute(&mut p, "caCertPath", &join.ca_cert_path);
    node(&mut p, &join.node_registration);
    if discovers {
        discovery(&mut p, &join.discovery);
    }
    if join.control_plane.is_some() {
        p.add("controlPlane", "joining as a control plane node is not built yet; leave it out to join as a worker");
    }
    p.found
}

fn discovery(p: &mut Problems, discovery: &Discovery) {
    match (&discovery.bootstrap_token, &discovery.file) {
        (None, None) => p.add(
            "discovery",
            "bootstrapToken or file is needed: HOST:PORT with --token and --discovery-token-ca-cert-hash, or --discovery-file",
        ),
        (Some(_), Some(_)) => p.add("discovery", "bootstrapToken and file exclude each other"),
        (Some(token), None) => {
            bootstrap_token(p, token);
            p.require(discovery.tls_bootstrap_token.is_some(), "discovery.tlsBootstrapToken", || "is missing".into());
        }
        (None, Some(file)) => from_file(p, file),
    }
}

fn bootstrap_token(p: &mut Problems, discovery: &BootstrapTokenDiscovery) {
    let path = |field: &str| format!("discovery.bootstrapToken.{field}");
    p.require(discovery.token.is_some(), &path("token"), || "is missing (--token)".into());
    let endpoint = &discovery.api_server_endpoint;
    let (host, port) = split_endpoint(endpoint);
    let known_host = host.parse::<IpAddr>().is_ok() || is_dns1123_subdomain(&host.to_lowercase());
    let known_port = port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    p.require(!endpoint.is_empty() && known_host && known_port, &path("apiServerEndpoint"), || {
        format!("{endpoint:?} is not HOST:PORT of an API server")
    });
    let pins = &discovery.ca_cert_hashes;
    p.require(!pins.is_empty() || discovery.unsafe_skip_ca_verification, &path("caCertHashes"), || {
        "at least one is needed (--discovery-token-ca-cert-hash sha256:HEX), or unsafeSkipCAVerification: true \
         (--discovery-token-unsafe-skip-ca-verification)"
            .into()
    });
    for (i, pin) in pins.iter().enumerate() {
        p.require(is_pin(pin), &path(&format!("caCertHashes[{i}]")), || {
            format!("{pin:?} is not sha256: and 64 hexadecimal digits")
        });
    }
}

fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn from_file(p: &mut Problems, file: &FileDiscovery) {
    let path = &file.kube_config_path;
    let local = path.strip_prefix("file://").unwrap_or(path);
    p.require(local.starts_with('/') || path.starts_with("https://"), "discovery.file.kubeConfigPath", || {
        format!("{path:?} is neither an absolute path nor an https:// address")
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostFacts, defaults};

    fn paths(configure: impl FnOnce(&mut JoinDocuments)) -> Vec<String> {
        let mut documents = JoinDocuments::default();
        configure(&mut documents);
        let token = "abcdef.0123456789abcdef".parse().expect("a token");
        let facts = HostFacts { hostname: "worker-1".into(), default_address: None, token };
        defaults::apply_join(&mut documents, &facts);
        validate_join(&documents, true).into_iter().map(|problem| problem.path).collect()
    }

    fn token_discovery(endpoint: &str, pins: &[&str]) -> Option<BootstrapTokenDiscovery> {
        Some(BootstrapTokenDiscovery {
            token: "abcdef.0123456789abcdef".parse().ok(),
            api_server_endpoint: endpoint.into(),
            ca_cert_hashes: pins.iter().map(|pin| (*pin).into()).collect(),
            unsafe_skip_ca_verification: false,
        })
    }

    #[test]
    fn a_whole_join_command_is_taken_and_its_port_has_a_default() {
        let pin = format!("sha256:{}", "0a".repeat(32));
        for endpoint in ["10.0.0.1:6443", "10.0.0.1", "[fd00::1]:6443", "cp.example:8443"] {
            assert_eq!(paths(|d| d.join.discovery.bootstrap_token = token_discovery(endpoint, &[&pin])), [""; 0]);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(paths(|_| {}), ["discovery"]);
        let of = |endpoint: &str, pins: &[&str]| {
            paths(|d| d.join.discovery.bootstrap_token = token_discovery(endpoint, pins))
        };
        assert_eq!(of("10.0.0.1:6443", &[]), ["discovery.bootstrapToken.caCertHashes"]);
        assert_eq!(of("10.0.0.1:6443", &["sha256:12"]), ["discovery.bootstrapToken.caCertHashes[0]"]);
        assert_eq!(
            of("10.0.0.1:0", &["md5:12"]).first().map(String::as_str),
            Some("discovery.bootstrapToken.apiServerEndpoint")
        );
        let file =
            |path: &str| paths(|d| d.join.discovery.file = Some(FileDiscovery { kube_config_path: path.into() }));
        assert_eq!(file("join.conf"), ["discovery.file.kubeConfigPath"]);
        assert_eq!(file("http://a/join.conf"), ["discovery.file.kubeConfigPath"]);
        assert_eq!(file("/root/join.conf"), [""; 0]);
        assert_eq!(file("https://a/join.conf"), [""; 0]);
    }
}
