//! Discovery by token: the cluster's CA is taken from `cluster-info`, which anybody may read and anybody could forge, so it
//! counts only with the token's signature, a pinned CA, and once more over TLS that this CA verifies.
//!
//! Source: the Kubernetes bootstrap token discovery protocol; kubeadm v1.36.3 does the same steps.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use junio_api::config::join::BootstrapTokenDiscovery;
use junio_api::token::Token;
use junio_pki::Kubeconfig;
use junio_pki::token::{ca_pin, matches_any_pin, verify};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::answer::{NoAnswer, ask, ask_until};
use super::error::JoinError;
use crate::client::{connect_with, unverified};
use crate::error::Cause;
use crate::phase_id::PhaseId;
use crate::run::Run;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const KEY: &str = "kubeconfig";
/// kubeadm's names in the kubeconfig that a host joins with.
const CLUSTER: &str = "kubernetes";
const USER: &str = "tls-bootstrap-token-user";

/// The signer answers within milliseconds, except while a control plane starts. A token that is unknown to an old cluster
/// stays unknown.
const SIGNER: Duration = Duration::from_secs(3);
const SIGNER_OF_A_YOUNG_CLUSTER: Duration = Duration::from_secs(30);
const YOUNG: SignedDuration = SignedDuration::from_secs(90);

/// The cluster, and what this host proves itself with until it has a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// `https://HOST:PORT`.
    pub(crate) server: String,
    pub(crate) ca_pem: String,
    /// Goes to `bootstrap-kubelet.conf`.
    pub(crate) bootstrap: Kubeconfig,
    /// What it authenticates with, in words: `token abcdef`.
    pub(crate) credentials: String,
}

impl Found {
    /// With a bootstrap token.
    pub(crate) fn with_token(server: &str, ca_pem: &str, token: &Token) -> Self {
        let secret = junio_api::Secret::new(token.to_string());
        Self {
            server: server.to_owned(),
            ca_pem: ca_pem.to_owned(),
            bootstrap: Kubeconfig::with_token(CLUSTER, server, ca_pem, USER, &secret),
            credentials: format!("token {}", token.id()),
        }
    }
}

/// Finds the cluster. `token` signs, `bootstrap_token` is what the kubelet's first request is made with.
pub(crate) async fn discover(
    run: &Run<'_>,
    discovery: &BootstrapTokenDiscovery,
    token: &Token,
    bootstrap_token: &Token,
    patience: Duration,
) -> Result<Found, Cause> {
    let endpoint = &discovery.api_server_endpoint;
    let map = signed_map(run, endpoint, token, patience).await?;
    let (content, ca_pem, server) = examine(&map, endpoint, token, &discovery.ca_cert_hashes)?;
    if discovery.ca_cert_hashes.is_empty() {
        run.warn(PhaseId::Discovery, "the cluster's CA is not pinned: whoever knows the token can pose as the cluster");
    } else {
        let verified = connect_with(&Kubeconfig::cluster_info(&format!("https://{endpoint}"), &ca_pem), NAME).await?;
        let again = ask_until(
            run,
            format!("cluster-info of {endpoint} over verified TLS"),
            patience,
            || ask_for_map(verified.clone()),
            |error| match error {
                NoAnswer::Certificate(reason) => Some(untrusted(endpoint, reason)),
                _ => None,
            },
            late(endpoint, patience),
        )
        .await?;
        if text(&again, KEY) != Some(content.as_str()) {
            return Err(Cause::other(JoinError::Tampered { endpoint: endpoint.clone() }));
        }
    }
    run.line(PhaseId::Discovery, format!("Found the cluster at {server}, its CA is {}", pin_text(&ca_pem)));
    Ok(Found::with_token(&server, &ca_pem, bootstrap_token))
}

fn untrusted(endpoint: &str, reason: &str) -> Cause {
    Cause::other(JoinError::Certificate { endpoint: endpoint.to_owned(), reason: reason.to_owned() })
}

fn pin_text(ca_pem: &str) -> String {
    ca_pin(ca_pem).unwrap_or_else(|_| "unreadable".to_owned())
}

/// The ConfigMap as soon as it carries a signature of this token.
async fn signed_map(run: &Run<'_>, endpoint: &str, token: &Token, patience: Duration) -> Result<ConfigMap, Cause> {
    let client = unverified(&format!("https://{endpoint}"))?;
    let first_unsigned = Mutex::new(None::<Instant>);
    let unknown = Mutex::new(false);
    let request = || async {
        let map = ask_for_map(client.clone()).await?;
        if text(&map, &signature_key(token)).is_some() {
            return Ok(map);
        }
        let mut since = first_unsigned.lock().unwrap_or_else(PoisonError::into_inner);
        if since.get_or_insert_with(Instant::now).elapsed() >= grace(&map, Timestamp::now()) {
            *unknown.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        Err(NoAnswer::Silence(format!("cluster-info has no signature of the token {}", token.id())))
    };
    let no_such_token =
        || Cause::other(JoinError::TokenUnknown { endpoint: endpoint.to_owned(), id: token.id().to_owned() });
    let fatal = |_: &NoAnswer| unknown.lock().unwrap_or_else(PoisonError::into_inner).then(no_such_token);
    let late = |error: NoAnswer| {
        let unsigned = first_unsigned.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if unsigned { no_such_token() } else { late(endpoint, patience)(error) }
    };
    ask_until(run, format!("cluster-info of {endpoint}"), patience, request, fatal, late).await
}

/// How long a missing signature may still come.
fn grace(map: &ConfigMap, now: Timestamp) -> Duration {
    let made = map.metadata.creation_timestamp.as_ref().and_then(|time| time.0.to_string().parse::<Timestamp>().ok());
    if made.is_some_and(|made| now.duration_since(made) < YOUNG) { SIGNER_OF_A_YOUNG_CLUSTER } else { SIGNER }
}

async fn ask_for_map(client: Client) -> Result<ConfigMap, NoAnswer> {
    ask(Api::<ConfigMap>::namespaced(client, NAMESPACE).get(NAME)).await
}

/// What a deadline means: nobody there, or somebody who has no `cluster-info`.
fn late(endpoint: &str, after: Duration) -> impl Fn(NoAnswer) -> Cause + Send + Sync {
    let endpoint = endpoint.to_owned();
    move |error| {
        let endpoint = endpoint.clone();
        Cause::other(match error {
            NoAnswer::Silence(reason) => JoinError::Unreachable { endpoint, after, reason },
            NoAnswer::Certificate(reason) => JoinError::Certificate { endpoint, reason },
            NoAnswer::Status { .. } => JoinError::ClusterInfo { endpoint, after, reason: error.text() },
        })
    }
}

fn signature_key(token: &Token) -> String {
    format!("jws-kubeconfig-{}", token.id())
}

fn text<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a str> {
    map.data.as_ref()?.get(key).map(String::as_str)
}

/// The text that is signed, and CA and server in it. Pure.
fn examine(map: &ConfigMap, endpoint: &str, token: &Token, pins: &[String]) -> Result<(String, String, String), Cause> {
    let content = text(map, KEY).unwrap_or_default();
    let signature = text(map, &signature_key(token)).unwrap_or_default();
    if !verify(token.id(), token.secret(), content, signature) {
        let (endpoint, id) = (endpoint.to_owned(), token.id().to_owned());
        return Err(Cause::other(JoinError::TokenMismatch { endpoint, id }));
    }
    let incomplete = || Cause::other(JoinError::Incomplete { endpoint: endpoint.to_owned() });
    let path = std::path::Path::new("ConfigMap kube-public/cluster-info");
    let config = Kubeconfig::parse(content, path).map_err(Cause::other)?;
    let server = config.current().map(|(cluster, _)| cluster.server.clone()).filter(|server| !server.is_empty());
    // A path to a file means a file of the control plane, which is not here.
    let embedded = config.current().is_some_and(|(cluster, _)| cluster.certificate_authority_data.is_some());
    let ca_pem = if embedded { config.ca_pem(path).map_err(Cause::other)? } else { None };
    let (Some(server), Some(ca_pem)) = (server, ca_pem) else { return Err(incomplete()) };
    if !pins.is_empty() && !matches_any_pin(&ca_pem, pins).map_err(Cause::other)? {
        let found = pin_text(&ca_pem);
        return Err(Cause::other(JoinError::Pin { endpoint: endpoint.to_owned(), found }));
    }
    Ok((content.to_owned(), ca_pem, server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use junio_api::hint::Hint;
    use junio_pki::csr::self_signed_serving;

    fn token(text: &str) -> Token {
        text.parse().expect("a token")
    }

    fn map(signed_by: &Token, ca_pem: &str) -> ConfigMap {
        let content = Kubeconfig::cluster_info("https://10.0.0.1:6443", ca_pem).to_yaml().expect("YAML");
        let signature = junio_pki::token::sign(signed_by.id(), signed_by.secret(), content.expose());
        let data =
            [(KEY.to_owned(), content.expose().clone()), (signature_key(signed_by), signature)].into_iter().collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    fn code(result: Result<(String, String, String), Cause>) -> String {
        result.expect_err("refused").in_phase(PhaseId::Discovery).code().to_string()
    }

    #[test]
    fn only_what_this_token_has_signed_counts() {
        let ca = self_signed_serving(&["kubernetes".to_owned()], &[]).expect("a certificate").pem.clone();
        let ours = token("abcdef.0123456789abcdef");
        let (_, found, server) = examine(&map(&ours, &ca), "10.0.0.1:6443", &ours, &[]).expect("signed");
        assert_eq!((found.as_str(), server.as_str()), (ca.as_str(), "https://10.0.0.1:6443"));
        let other_half = token("abcdef.0123456789abcdee");
        assert_eq!(code(examine(&map(&ours, &ca), "e", &other_half, &[])), "JUNIO-JOIN-TOKEN");
        let mut forged = map(&ours, &ca);
        if let Some(content) = forged.data.as_mut().and_then(|data| data.get_mut(KEY)) {
            *content = content.replace("10.0.0.1", "10.6.6.6");
        }
        assert_eq!(code(examine(&forged, "e", &ours, &[])), "JUNIO-JOIN-TOKEN");
    }

    #[test]
    fn the_ca_must_have_one_of_the_pins() {
        let make = |name: &str| self_signed_serving(&[name.to_owned()], &[]).expect("a certificate").pem.clone();
        let (ca, other) = (make("a"), make("b"));
        let ours = token("abcdef.0123456789abcdef");
        let pins = [ca_pin(&other).expect("a pin"), ca_pin(&ca).expect("a pin").to_uppercase().replace("SHA", "sha")];
        assert!(examine(&map(&ours, &ca), "e", &ours, &pins).is_ok());
        assert_eq!(code(examine(&map(&ours, &ca), "e", &ours, &pins[..1])), "JUNIO-JOIN-CA-PIN");
    }

    #[test]
    fn cluster_info_without_a_ca_is_useless() {
        let ours = token("abcdef.0123456789abcdef");
        let content =
            "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster: {server: \"https://a:6443\"}\n";
        let signature = junio_pki::token::sign(ours.id(), ours.secret(), content);
        let data = [(KEY.to_owned(), content.to_owned()), (signature_key(&ours), signature)].into_iter().collect();
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        assert_eq!(code(examine(&map, "e", &ours, &[])), "JUNIO-JOIN-CLUSTER-INFO");
    }

    #[test]
    fn a_young_cluster_gets_time_to_sign() {
        let made: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let mut map = ConfigMap::default();
        map.metadata.creation_timestamp =
            serde_json::from_value(serde_json::json!("2026-11-21T10:00:00Z")).expect("a time");
        assert_eq!(grace(&map, made + SignedDuration::from_secs(10)), SIGNER_OF_A_YOUNG_CLUSTER);
        assert_eq!(grace(&map, made + SignedDuration::from_hours(1)), SIGNER);
    }
}
