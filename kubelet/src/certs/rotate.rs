//! Certificates are renewed in time and exchanged without a restart. The client certificate is taken over from the kubeconfig first.

use std::path::Path;
use std::time::{Duration, SystemTime};

use junio_api::Secret;
use junio_pki::kubeconfig::Kubeconfig;
use junio_pki::parsed::ParsedCertificate;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;

use super::client::{ApiClient, CertsError};
use super::request;
use super::store::CertificateStore;
use crate::error_chain::chain;

/// A wall clock may jump, so no sleep is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);

/// Takes the certificate that an installer embedded in the kubeconfig into the store, if the store has none; `true` when
/// it did. `kubelet-finalize` then lets the kubeconfig refer to the store.
pub fn adopt(kubeconfig: &Path, files: &CertificateStore) -> Result<bool, CertsError> {
    if files.current()?.is_some() {
        return Ok(false);
    }
    let Some(config) = Kubeconfig::load(kubeconfig)? else { return Ok(false) };
    let Some((_, Some(named))) = config.current() else { return Ok(false) };
    let (Some(certificate), Some(key)) = (&named.user.client_certificate_data, &named.user.client_key_data) else {
        return Ok(false);
    };
    let (Some(certificate), Some(key)) = (decode(certificate), decode(key)) else { return Ok(false) };
    files.install(&certificate, &Secret::new(key))?;
    Ok(true)
}

fn decode(base64: &str) -> Option<String> {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(base64.trim()).ok()?).ok()
}

/// Renews a certificate each time 70 to 90 % of its life with us is over, or when it does not fit, until `cancel`.
/// Failures are retried and logged; the old certificate stays in use. `what` names the certificate in the log.
pub async fn rotate_forever<F: Future<Output = Result<(), CertsError>>>(
    what: &'static str,
    files: &CertificateStore,
    fits: impl Fn(&ParsedCertificate) -> bool,
    renew: impl Fn() -> F,
    cancel: &CancellationToken,
) {
    let fraction = 0.7 + 0.2 * rand::random::<f64>();
    let mut retry = FIRST_RETRY;
    loop {
        let left = left(files, fraction, &fits).unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), what, "certificate cannot be read");
            Duration::ZERO
        });
        let work = async {
            if !left.is_zero() {
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
                return;
            }
            match renew().await {
                Ok(()) => {
                    tracing::info!(what, "certificate renewed");
                    retry = FIRST_RETRY;
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), what, "certificate not renewed");
                    let pause = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    tokio::time::sleep(pause).await;
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = work => {}
        }
    }
}

/// The client certificate's rotation.
pub async fn rotate_client(api: ApiClient, files: CertificateStore, node_name: String, cancel: CancellationToken) {
    let renew = || renew(&api, &files, &node_name);
    rotate_forever("client", &files, |_| true, renew, &cancel).await;
}

/// One renewal: request, wait, install, let the kubeconfig refer to the new file, reconnect.
pub async fn renew(api: &ApiClient, files: &CertificateStore, node_name: &str) -> Result<(), CertsError> {
    let pair = junio_pki::csr::node_client(node_name)?;
    let chain = request::node_client(api.current(), &pair.pem).await?;
    check(&chain, &pair.key)?;
    files.install(&chain, &pair.key)?;
    if let Some(mut config) = Kubeconfig::load(api.kubeconfig())? {
        config.point_to_client_file(&files.current_path());
        config.write(api.kubeconfig())?;
    }
    api.reload()
}

/// A signed certificate must belong to the key that asked for it.
pub(super) fn check(chain: &str, key: &Secret<String>) -> Result<(), CertsError> {
    let certificate = ParsedCertificate::from_pem(chain, "signed certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| CertsError::Mismatch)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| CertsError::Mismatch)?;
    let matches = key.public_key().is_some_and(|public| public.as_ref() == certificate.spki);
    if matches { Ok(()) } else { Err(CertsError::Mismatch) }
}

/// Time until the certificate in force is to be renewed; zero when there is none that fits.
fn left(
    files: &CertificateStore,
    fraction: f64,
    fits: impl Fn(&ParsedCertificate) -> bool,
) -> Result<Duration, CertsError> {
    let Some(certificate) = files.current()?.filter(fits) else { return Ok(Duration::ZERO) };
    Ok(until_rotation(&certificate, files.installed_at()?, fraction, SystemTime::now()))
}

/// A signer backdates `notBefore` (kube-controller-manager by 5 minutes, whatever the life), so the time before we had the
/// certificate does not count: a short-lived one would be due the moment it comes, and again, without end.
pub(super) fn until_rotation(
    certificate: &ParsedCertificate,
    installed: SystemTime,
    fraction: f64,
    now: SystemTime,
) -> Duration {
    // A file that was copied later, or by a clock that was wrong, tells nothing.
    let known = certificate.not_before < installed && installed <= now.min(certificate.not_after);
    let begin = if known { installed } else { certificate.not_before };
    let life = certificate.not_after.duration_since(begin).unwrap_or_default();
    (begin + life.mul_f64(fraction)).duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installers_certificate_is_taken_over_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (kubeconfig, files) =
            (directory.path().join("kubelet.conf"), CertificateStore::client(directory.path().join("pki")));
        let pair = junio_pki::csr::self_signed_serving(&["system:node:a".to_owned()], &[]).expect("a pair");
        Kubeconfig::with_client_certificate(
            "kubernetes",
            "https://127.0.0.1:6443",
            &pair.pem,
            "u",
            &pair.pem,
            &pair.key,
        )
        .write(&kubeconfig)
        .expect("writes");
        assert!(adopt(&kubeconfig, &files).expect("adopts"));
        assert!(!adopt(&kubeconfig, &files).expect("keeps"));
        check(&std::fs::read_to_string(files.current_path()).expect("readable"), &pair.key).expect("belongs together");
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let pair = |name: &str| junio_pki::csr::self_signed_serving(&[name.to_owned()], &[]).expect("a pair");
        assert!(matches!(check(&pair("a").pem, &pair("b").key), Err(CertsError::Mismatch)));
    }

    /// As kube-controller-manager signs with `cluster-signing-duration=1m`.
    fn signed_for_a_minute(now: SystemTime) -> ParsedCertificate {
        let pair = junio_pki::csr::self_signed_serving(&["a".to_owned()], &[]).expect("a pair");
        let mut certificate = ParsedCertificate::from_pem(&pair.pem, "test").expect("parses");
        certificate.not_before = now - Duration::from_secs(5 * 60);
        certificate.not_after = now + Duration::from_secs(60);
        certificate
    }

    #[test]
    fn rotation_is_due_at_a_fraction_of_the_life() {
        let now = SystemTime::now();
        let certificate = signed_for_a_minute(now);
        let left = |seconds| until_rotation(&certificate, now, 0.7, now + Duration::from_secs(seconds));
        assert_eq!(left(0), Duration::from_secs(42), "the backdated minutes do not count");
        assert_eq!(left(41), Duration::from_secs(1));
        assert_eq!(left(43), Duration::ZERO);
    }

    #[test]
    fn a_file_time_that_cannot_be_true_is_not_used() {
        let now = SystemTime::now();
        let certificate = signed_for_a_minute(now);
        for wrong in [now + Duration::from_secs(30), now - Duration::from_secs(3600)] {
            assert_eq!(until_rotation(&certificate, wrong, 0.9, now), Duration::from_secs(24), "{wrong:?}");
        }
    }
}
