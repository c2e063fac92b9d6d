//! Comparing what lies in a PKI directory with the plan, without changing anything.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cert_list::{CERTIFICATES, CertId, CertSpec, Usage};
use crate::error::{Drift, PkiError};
use crate::issue::PkiParams;
use crate::key::PrivateKey;
use crate::parsed::{ParsedCertificate, rfc3339};
use crate::store;

/// One row of the list as it lies on disk. Either half may be absent.
#[derive(Debug)]
pub struct OnDisk {
    pub certificate_path: PathBuf,
    pub key_path: PathBuf,
    pub certificate: Option<(String, ParsedCertificate)>,
    pub key: Option<PrivateKey>,
}

impl OnDisk {
    /// Reads both halves. A file that exists and cannot be understood is an error.
    pub fn read(spec: &CertSpec, directory: &Path) -> Result<Self, PkiError> {
        let certificate_path = store::certificate_path(directory, spec.stem);
        let key_path = store::key_path(directory, spec.stem);
        let certificate = store::read(&certificate_path)?
            .map(|text| {
                ParsedCertificate::from_pem(&text, &certificate_path.display().to_string()).map(|parsed| (text, parsed))
            })
            .transpose()?;
        let key = store::read(&key_path)?
            .map(|text| PrivateKey::from_pem(&text, &key_path.display().to_string()))
            .transpose()?;
        Ok(Self { certificate_path, key_path, certificate, key })
    }

    /// The parsed certificate.
    #[must_use]
    pub fn parsed(&self) -> Option<&ParsedCertificate> {
        self.certificate.as_ref().map(|(_, parsed)| parsed)
    }
}

/// Everything in `directory` that differs from the plan; missing files are no difference. Empty means: fits.
pub fn verify_directory(params: &PkiParams, directory: &Path) -> Result<Vec<Drift>, PkiError> {
    let on_disk = CERTIFICATES.iter().map(|spec| OnDisk::read(spec, directory)).collect::<Result<Vec<_>, _>>()?;
    let mut drifts = Vec::new();
    for (spec, pair) in CERTIFICATES.iter().zip(&on_disk) {
        if !params.local_etcd && spec.id.belongs_to_local_etcd() {
            continue;
        }
        let authority = spec.signer.map(|id| &on_disk[id as usize]);
        drifts.extend(compare(spec, pair, authority, params)?);
    }
    Ok(drifts)
}

/// The differences of one row. `authority` is the row of its signer.
pub fn compare(
    spec: &CertSpec,
    pair: &OnDisk,
    authority: Option<&OnDisk>,
    params: &PkiParams,
) -> Result<Vec<Drift>, PkiError> {
    let Some(certificate) = pair.parsed() else { return Ok(Vec::new()) };
    let path = || pair.certificate_path.clone();
    let mut drifts = Vec::new();
    drifts.extend(out_of_time(certificate, &pair.certificate_path, params.start));
    match &pair.key {
        Some(key) if key.public_spki() != certificate.spki => drifts.push(Drift::KeyMismatch { path: path() }),
        Some(_) => {}
        None if spec.id.is_authority() => {} // an external CA
        None => drifts.push(Drift::MissingKey { path: path() }),
    }
    if spec.id.is_authority() {
        if !certificate.is_ca {
            return Err(PkiError::NotACa { path: path() });
        }
        if pair.key.is_some() && certificate.subject_repeats_an_attribute() {
            return Err(PkiError::UnsupportedCaSubject { path: path() });
        }
    }
    if let Some(authority) = authority
        && !authority.parsed().is_some_and(|ca| certificate.is_signed_by(ca))
    {
        drifts.push(Drift::NotSignedBy { path: path(), ca: authority.certificate_path.clone() });
    }
    if !spec.id.is_authority() {
        let missing = params.sans(spec).missing_in(certificate);
        if !missing.is_empty() {
            drifts.push(Drift::MissingSans { path: path(), missing });
        }
        for usage in spec.usages.iter().filter(|usage| !certificate.usages.contains(usage)) {
            let missing = match usage {
                Usage::Server => "server authentication",
                Usage::Client => "client authentication",
            };
            drifts.push(Drift::Usage { path: path(), missing: missing.to_owned() });
        }
    }
    Ok(drifts)
}

/// Expired or not yet valid at `now`.
#[must_use]
pub fn out_of_time(certificate: &ParsedCertificate, path: &Path, now: SystemTime) -> Option<Drift> {
    if now > certificate.not_after {
        Some(Drift::Expired { path: path.to_owned(), not_after: rfc3339(certificate.not_after) })
    } else if now < certificate.not_before {
        Some(Drift::NotYetValid { path: path.to_owned(), not_before: rfc3339(certificate.not_before) })
    } else {
        None
    }
}

/// True when `directory` has a CA's certificate without its key.
pub fn is_external(id: CertId, directory: &Path) -> Result<bool, PkiError> {
    let pair = OnDisk::read(id.spec(), directory)?;
    Ok(pair.certificate.is_some() && pair.key.is_none())
}
