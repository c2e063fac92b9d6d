//! The serving certificate of port 10250: self-signed, made once, used again after a restart; or, with
//! `serverTLSBootstrap`, asked of the cluster and renewed in time.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use junio_pki::parsed::ParsedCertificate;
use junio_pki::store;
use tokio_util::sync::CancellationToken;

use super::client::{ApiClient, CertsError};
use super::store::CertificateStore;
use super::{request, rotate};
use crate::error_chain::chain;
use crate::server::ServingCertificate;

/// A certificate with less life than this is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Certificate and key as PEM, from `kubelet.crt` and `kubelet.key` in `directory`, which are written if they are absent,
/// about to expire, or lack one of the names or addresses.
pub fn self_signed(
    directory: &Path,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<(String, junio_api::Secret<String>), CertsError> {
    let (certificate_path, key_path) =
        (store::certificate_path(directory, "kubelet"), store::key_path(directory, "kubelet"));
    if let (Some(certificate), Some(key)) = (store::read(&certificate_path)?, store::read(&key_path)?) {
        let parsed = ParsedCertificate::from_pem(&certificate, &certificate_path.display().to_string());
        if parsed.is_ok_and(|parsed| covers(&parsed, names, addresses)) {
            return Ok((certificate, junio_api::Secret::new(key)));
        }
    }
    store::ensure_directory(directory, store::MODE_DIRECTORY)?;
    let pair = junio_pki::csr::self_signed_serving(names, addresses)?;
    store::write(&key_path, pair.key.expose().as_bytes(), store::MODE_SECRET)?;
    store::write(&certificate_path, pair.pem.as_bytes(), store::MODE_PUBLIC)?;
    Ok((pair.pem.clone(), pair.key.clone()))
}

fn covers(certificate: &ParsedCertificate, names: &[String], addresses: &[IpAddr]) -> bool {
    certificate.not_after > SystemTime::now() + RENEW_BEFORE && names_all(certificate, names, addresses)
}

/// A certificate that the cluster signs, for these names and addresses of a node.
pub struct SignedServing {
    pub api: ApiClient,
    pub files: CertificateStore,
    pub node_name: String,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// What connections are served with; none are before somebody has approved the first request.
    pub certificate: Arc<ServingCertificate>,
}

impl SignedServing {
    /// Uses the certificate that is there, and asks for new ones until `cancel`.
    pub async fn keep(self, cancel: CancellationToken) {
        let now = SystemTime::now();
        match self.files.current() {
            Ok(Some(current)) if current.not_after > now && self.fits(&current) => {
                if let Err(error) = self.use_current() {
                    tracing::warn!(error = chain(&error), "the serving certificate cannot be used");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "the serving certificate cannot be read"),
        }
        let renew = || self.renew();
        rotate::rotate_forever("serving", &self.files, |current| self.fits(current), renew, &cancel).await;
    }

    async fn renew(&self) -> Result<(), CertsError> {
        let pair = junio_pki::csr::node_serving(&self.node_name, &self.names, &self.addresses)?;
        tracing::info!("asking for a serving certificate; somebody has to approve it (kubectl certificate approve)");
        let chain = request::node_serving(self.api.current(), &pair.pem).await?;
        rotate::check(&chain, &pair.key)?;
        self.files.install(&chain, &pair.key)?;
        self.use_current()
    }

    fn use_current(&self) -> Result<(), CertsError> {
        let Some(text) = self.files.current_pem()? else { return Ok(()) };
        let replaced = self.certificate.replace(text.expose(), text.expose());
        replaced.map_err(|source| CertsError::Unusable { source: Box::new(source) })
    }

    fn fits(&self, certificate: &ParsedCertificate) -> bool {
        names_all(certificate, &self.names, &self.addresses)
    }
}

fn names_all(certificate: &ParsedCertificate, names: &[String], addresses: &[IpAddr]) -> bool {
    names.iter().all(|name| certificate.dns_names.contains(name))
        && addresses.iter().all(|address| certificate.addresses.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_until_it_no_longer_fits() {
        let directory = tempfile::tempdir().expect("a directory");
        let names = ["node-1".to_owned()];
        let first = self_signed(directory.path(), &names, &[]).expect("made").0;
        assert_eq!(self_signed(directory.path(), &names, &[]).expect("kept").0, first);
        let address = ["10.0.0.1".parse().expect("an address")];
        assert_ne!(self_signed(directory.path(), &names, &address).expect("made anew").0, first);
    }
}
