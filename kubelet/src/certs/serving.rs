//! The serving certificate of port 10250: self-signed, made once, used again after a restart.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use junio_pki::parsed::ParsedCertificate;
use junio_pki::store;

use super::client::CertsError;

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
    certificate.not_after > SystemTime::now() + RENEW_BEFORE
        && names.iter().all(|name| certificate.dns_names.contains(name))
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
