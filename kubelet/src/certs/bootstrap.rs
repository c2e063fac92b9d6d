//! TLS bootstrap: a node that has no certificate asks for its first one with the credentials of a bootstrap kubeconfig, and
//! writes its own kubeconfig last, so that whoever waits for that file may use it at once.
//!
//! Source: the Kubernetes TLS bootstrapping protocol; upstream's kubelet asks again too when its certificate has expired and
//! a bootstrap kubeconfig is there.

use std::path::Path;
use std::time::{Duration, SystemTime};

use junio_pki::kubeconfig::Kubeconfig;
use junio_pki::parsed::ParsedCertificate;
use sd_notify::NotifyState;

use super::client::{ApiClient, CertsError, is_connection_error};
use super::store::CertificateStore;
use super::{request, rotate};
use crate::error_chain::chain;

/// While nobody answers: the API server may be a pod that is just starting.
const UNREACHED: Duration = Duration::from_millis(200);
/// After a refusal; doubled each time, since every try leaves a request in the cluster.
const REFUSED: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(60);
/// What systemd is asked to wait for a kubelet that waits for its signer. Microseconds; longer than any request is.
const PATIENCE_MICROS: u32 = 20 * 60 * 1_000_000;

/// Returns when `kubeconfig` has a usable certificate, or when there is no bootstrap kubeconfig to get one with.
pub async fn ensure(bootstrap: &Path, kubeconfig: &Path, files: &CertificateStore, node_name: &str) {
    if !bootstrap.exists() || has_certificate(kubeconfig, SystemTime::now()) {
        return;
    }
    tracing::info!(bootstrap = %bootstrap.display(), "asking for a client certificate");
    let _ = sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(PATIENCE_MICROS)]);
    let mut refused = REFUSED;
    while let Err(error) = once(bootstrap, kubeconfig, files, node_name).await {
        tracing::warn!(error = chain(&error), "no client certificate yet");
        let pause = match &error {
            CertsError::Request { source, .. } if is_connection_error(source) => UNREACHED,
            _ => {
                let pause = refused;
                refused = (refused * 2).min(REFUSED_MAX);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
    tracing::info!(kubeconfig = %kubeconfig.display(), "has a client certificate");
}

/// One try.
async fn once(
    bootstrap: &Path,
    kubeconfig: &Path,
    files: &CertificateStore,
    node_name: &str,
) -> Result<(), CertsError> {
    let api = ApiClient::from_kubeconfig(bootstrap)?;
    let pair = junio_pki::csr::node_client(node_name)?;
    let chain = request::node_client(api.current(), &pair.pem).await?;
    rotate::check(&chain, &pair.key)?;
    files.install(&chain, &pair.key)?;
    let absent = || CertsError::Incomplete { path: bootstrap.to_owned() };
    let config = Kubeconfig::load(bootstrap)?.ok_or_else(absent)?;
    let server = config.current().map(|(cluster, _)| cluster.server.clone()).ok_or_else(absent)?;
    let ca = config.ca_pem(bootstrap)?.ok_or_else(absent)?;
    Kubeconfig::for_bootstrapped_kubelet(&server, &ca, &files.current_path()).write(kubeconfig)?;
    Ok(())
}

/// True for a kubeconfig whose certificate, in it or in a file that it names, lives. One with a token or another kind of
/// credentials is its owner's business and counts as usable.
fn has_certificate(kubeconfig: &Path, now: SystemTime) -> bool {
    let Ok(Some(config)) = Kubeconfig::load(kubeconfig) else { return false };
    let named = config.current().and_then(|(_, user)| user?.user.client_certificate.clone());
    let certificate = match named {
        Some(path) => {
            let text = std::fs::read_to_string(&path).ok();
            text.and_then(|text| ParsedCertificate::from_pem(&text, &path).ok())
        }
        None => match config.client_certificate(kubeconfig) {
            Ok(None) => return true,
            Ok(embedded) => embedded,
            Err(_) => None,
        },
    };
    certificate.is_some_and(|certificate| certificate.not_after > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_absent_or_over_is_asked_for_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = directory.path().join("kubelet.conf");
        let files = CertificateStore::client(directory.path().join("pki"));
        let now = SystemTime::now();
        assert!(!has_certificate(&kubeconfig, now), "there is no kubeconfig");
        let pair = junio_pki::csr::self_signed_serving(&["a".to_owned()], &[]).expect("a pair");
        let config = Kubeconfig::for_bootstrapped_kubelet("https://a:6443", &pair.pem, &files.current_path());
        config.write(&kubeconfig).expect("writes");
        assert!(!has_certificate(&kubeconfig, now), "it names a file that is not there");
        files.install(&pair.pem, &pair.key).expect("installs");
        assert!(has_certificate(&kubeconfig, now));
        assert!(!has_certificate(&kubeconfig, now + Duration::from_secs(366 * 24 * 3600)), "a year is over");
        let embedded = Kubeconfig::with_client_certificate("k", "https://a", &pair.pem, "u", &pair.pem, &pair.key);
        embedded.write(&kubeconfig).expect("writes");
        assert!(has_certificate(&kubeconfig, now));
    }

    #[tokio::test]
    async fn without_a_bootstrap_kubeconfig_nobody_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        ensure(&path("bootstrap.conf"), &path("kubelet.conf"), &CertificateStore::client(path("pki")), "n").await;
        assert!(!path("kubelet.conf").exists());
    }
}
