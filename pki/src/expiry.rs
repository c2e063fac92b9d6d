//! When what expires, for `certs check-expiration`. Reads, never writes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::cert_list::{CERTIFICATES, CertId};
use crate::error::PkiError;
use crate::kubeconfig::Kubeconfig;
use crate::kubeconfig_files::KubeconfigId;
use crate::parsed::{ParsedCertificate, rfc3339};
use crate::verify::OnDisk;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiryRow {
    /// `apiserver`, `admin.conf`, `ca`, ...
    pub name: String,
    /// `None`: the file does not exist (or, for kubelet.conf, the kubelet rotates the certificate elsewhere).
    pub expires: Option<String>,
    /// Seconds from now, negative once expired.
    pub residual_seconds: Option<i64>,
    /// The name of the signing CA.
    pub authority: Option<&'static str>,
    /// Its CA's key is not here, so that it cannot be renewed here.
    pub externally_managed: bool,
}

/// The report, sorted by name as kubeadm prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiryReport {
    pub certificates: Vec<ExpiryRow>,
    pub authorities: Vec<ExpiryRow>,
}

/// Looks at the certificates of `pki` and at the kubeconfigs of `kubernetes`.
pub fn report(pki: &Path, kubernetes: &Path, now: SystemTime) -> Result<ExpiryReport, PkiError> {
    let on_disk = CERTIFICATES.iter().map(|spec| OnDisk::read(spec, pki)).collect::<Result<Vec<_>, _>>()?;
    let external = |id: CertId| on_disk[id as usize].certificate.is_some() && on_disk[id as usize].key.is_none();
    let mut report = ExpiryReport { certificates: Vec::new(), authorities: Vec::new() };
    for (spec, pair) in CERTIFICATES.iter().zip(&on_disk) {
        let authority = spec.signer.map(|id| id.spec().name);
        let made = row(spec.name.to_owned(), pair.parsed(), authority, external(spec.signer.unwrap_or(spec.id)), now);
        if spec.id.is_authority() { report.authorities.push(made) } else { report.certificates.push(made) }
    }
    for id in KubeconfigId::INIT {
        let path = kubernetes.join(id.file_name());
        let certificate = match Kubeconfig::load(&path)? {
            Some(config) => config.client_certificate(&path)?,
            None => None,
        };
        if id == KubeconfigId::Kubelet && certificate.is_none() {
            continue; // the kubelet rotates it by itself
        }
        report.certificates.push(row(id.file_name(), certificate.as_ref(), Some("ca"), external(CertId::Ca), now));
    }
    report.certificates.sort_by(|a, b| a.name.cmp(&b.name));
    report.authorities.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(report)
}

fn row(
    name: String,
    certificate: Option<&ParsedCertificate>,
    authority: Option<&'static str>,
    externally_managed: bool,
    now: SystemTime,
) -> ExpiryRow {
    let not_after = certificate.map(|c| c.not_after);
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    let residual = |end: SystemTime| end.duration_since(now).map_or_else(|past| -seconds(past.duration()), seconds);
    ExpiryRow {
        name,
        expires: not_after.map(rfc3339),
        residual_seconds: not_after.map(residual),
        authority,
        externally_managed,
    }
}
