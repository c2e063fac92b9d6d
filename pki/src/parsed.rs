//! Certificates read back: the fields that decisions are made on.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cert_list::Usage;
use crate::error::{CertificateFormatError, PkiError};

/// A certificate, parsed.
#[derive(Debug, Clone)]
pub struct ParsedCertificate {
    /// The DER bytes.
    pub der: Vec<u8>,
    pub common_name: String,
    pub organizations: Vec<String>,
    pub issuer_common_name: String,
    /// DER of subject and issuer: what a verifier compares.
    pub subject_raw: Vec<u8>,
    pub issuer_raw: Vec<u8>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// basicConstraints CA:TRUE.
    pub is_ca: bool,
    pub usages: Vec<Usage>,
}

impl ParsedCertificate {
    /// Reads the first certificate of a PEM text; `what` names the source in errors.
    pub fn from_pem(text: &str, what: &str) -> Result<Self, PkiError> {
        let no_block = || PkiError::ParseCertificate { what: what.to_owned(), source: CertificateFormatError::NoBlock };
        let blocks = pem::parse_many(text).map_err(|_| no_block())?;
        let block = blocks.into_iter().find(|b| b.tag() == "CERTIFICATE").ok_or_else(no_block)?;
        Self::from_der(block.contents().to_vec(), what)
    }

    /// Reads DER.
    pub fn from_der(der: Vec<u8>, what: &str) -> Result<Self, PkiError> {
        let fail =
            |e: String| PkiError::ParseCertificate { what: what.to_owned(), source: CertificateFormatError::Der(e) };
        let (_, x509) = X509Certificate::from_der(&der).map_err(|e| fail(e.to_string()))?;
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().unwrap_or_default().to_owned()
        };
        let mut parsed = Self {
            common_name: x509.subject().iter_common_name().map(text).next().unwrap_or_default(),
            organizations: x509.subject().iter_organization().map(text).collect(),
            issuer_common_name: x509.issuer().iter_common_name().map(text).next().unwrap_or_default(),
            subject_raw: x509.subject().as_raw().to_vec(),
            issuer_raw: x509.issuer().as_raw().to_vec(),
            not_before: system_time(x509.validity().not_before.timestamp()),
            not_after: system_time(x509.validity().not_after.timestamp()),
            spki: x509.public_key().raw.to_vec(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            is_ca: x509.is_ca(),
            usages: Vec::new(),
            der: Vec::new(),
        };
        if let Some(names) = x509.subject_alternative_name().map_err(|e| fail(e.to_string()))? {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(dns) => parsed.dns_names.push((*dns).to_owned()),
                    GeneralName::IPAddress(bytes) => parsed.addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        if let Some(usage) = x509.extended_key_usage().map_err(|e| fail(e.to_string()))? {
            parsed.usages.extend((usage.value.server_auth || usage.value.any).then_some(Usage::Server));
            parsed.usages.extend((usage.value.client_auth || usage.value.any).then_some(Usage::Client));
        }
        parsed.der = der;
        Ok(parsed)
    }

    /// True when `authority`'s name and key are those that signed this certificate.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, ca))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        self.issuer_raw == authority.subject_raw && own.verify_signature(Some(ca.public_key())).is_ok()
    }

    /// True when an attribute kind occurs twice in the subject: rcgen would drop one of them as issuer name.
    #[must_use]
    pub fn subject_repeats_an_attribute(&self) -> bool {
        let Ok((_, own)) = X509Certificate::from_der(&self.der) else { return true };
        let mut kinds: Vec<_> = own.subject().iter_attributes().map(|a| a.attr_type().to_id_string()).collect();
        let count = kinds.len();
        kinds.sort();
        kinds.dedup();
        kinds.len() != count
    }

    /// `sha256:HEX` over the whole certificate.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256_text(&self.der)
    }

    /// `sha256:HEX` over the public key, kubeadm's `--discovery-token-ca-cert-hash`.
    #[must_use]
    pub fn pin(&self) -> String {
        sha256_text(&self.spki)
    }
}

/// `sha256:HEX`.
#[must_use]
pub fn sha256_text(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// RFC 3339 in UTC with seconds.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or_else(|before| -(before.duration().as_secs() as i64), |after| after.as_secs() as i64);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("@{seconds}"), |t| t.to_string())
}

fn system_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
