//! Certificate signing requests, and the kubelet's self-signed serving certificate.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use junio_api::{Secret, names};
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use crate::error::PkiError;
use crate::issue::{Leaf, Sans, base, certificate_pem, distinguished_name, san_types};
use crate::key::{KeyAlgorithm, PrivateKey, encode};

/// Validity of a self-signed serving certificate, as upstream's kubelet has it.
const SERVING_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate or a request, with the private key that belongs to it; both PEM.
#[derive(Debug, Clone)]
pub struct PemPair {
    /// `CERTIFICATE` or `CERTIFICATE REQUEST`.
    pub pem: String,
    pub key: Secret<String>,
}

/// The request of a kubelet for its client certificate: EC P-256, `CN=system:node:NAME, O=system:nodes`, no names.
pub fn node_client(node_name: &str) -> Result<PemPair, PkiError> {
    let common_name = format!("{}{node_name}", names::NODE_USER_PREFIX);
    request(
        "kubelet client",
        &common_name,
        &[names::NODES_GROUP.to_owned()],
        &Sans::default(),
        &PrivateKey::generate(KeyAlgorithm::EcdsaP256)?,
    )
}

/// The request of a kubelet for a serving certificate, `CN=system:node:NAME, O=system:nodes` with names and addresses.
pub fn node_serving(node_name: &str, dns_names: &[String], addresses: &[IpAddr]) -> Result<PemPair, PkiError> {
    let common_name = format!("{}{node_name}", names::NODE_USER_PREFIX);
    let sans = Sans { dns_names: dns_names.to_vec(), addresses: addresses.to_vec() };
    request(
        "kubelet serving",
        &common_name,
        &[names::NODES_GROUP.to_owned()],
        &sans,
        &PrivateKey::generate(KeyAlgorithm::EcdsaP256)?,
    )
}

/// The request for any leaf of the list, for a CA whose key is elsewhere.
pub fn for_leaf(leaf: &Leaf, key: &PrivateKey) -> Result<PemPair, PkiError> {
    request(&leaf.name, &leaf.common_name, &leaf.organizations, &leaf.sans, key)
}

fn request(
    name: &str,
    common_name: &str,
    organizations: &[String],
    sans: &Sans,
    key: &PrivateKey,
) -> Result<PemPair, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name, common_name, organizations)?;
    params.subject_alt_names = san_types(sans)?;
    let request =
        params.serialize_request(key.pair()).map_err(|source| PkiError::Issue { name: name.to_owned(), source })?;
    let pem = encode(&pem::Pem::new("CERTIFICATE REQUEST", request.der().to_vec()));
    Ok(PemPair { pem, key: key.pem().clone() })
}

/// A serving certificate that nobody vouches for, as upstream's kubelet makes it: `CN=NAME@SECONDS`, one year, EC P-256.
/// The first of `dns_names` is the name.
pub fn self_signed_serving(dns_names: &[String], addresses: &[IpAddr]) -> Result<PemPair, PkiError> {
    let start = SystemTime::now();
    let seconds = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let common_name = format!("{}@{seconds}", dns_names.first().map_or("localhost", String::as_str));
    let sans = Sans { dns_names: dns_names.to_vec(), addresses: addresses.to_vec() };
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let mut params = base("kubelet serving", &common_name, &[], &sans, SERVING_VALIDITY, start)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    constraints.set_criticality(true);
    params.custom_extensions.push(constraints);
    let issued = params
        .self_signed(key.pair())
        .map_err(|source| PkiError::Issue { name: "kubelet serving".to_owned(), source })?;
    Ok(PemPair { pem: certificate_pem(&issued), key: key.pem().clone() })
}

/// The common name that a request (PEM) asks for.
#[must_use]
pub fn common_name(request: &str) -> Option<String> {
    use x509_parser::prelude::{FromDer, X509CertificationRequest};
    let block = pem::parse(request).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(block.contents()).ok()?;
    let subject = &parsed.certification_request_info.subject;
    subject.iter_common_name().find_map(|name| name.as_str().ok().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parsed::ParsedCertificate;
    use rcgen::CertificateSigningRequestParams;

    #[test]
    fn a_node_request_names_the_node_and_its_group() {
        let made = node_client("worker-1").expect("a request");
        assert!(made.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
        assert!(made.key.expose().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
        let parsed = CertificateSigningRequestParams::from_pem(&made.pem).expect("verifies its own signature");
        let subject = &parsed.params.distinguished_name;
        assert_eq!(subject.get(&rcgen::DnType::CommonName), Some(&"system:node:worker-1".into()));
        assert_eq!(common_name(&made.pem).as_deref(), Some("system:node:worker-1"));
        assert_eq!(subject.get(&rcgen::DnType::OrganizationName), Some(&"system:nodes".into()));
    }

    #[test]
    fn a_self_signed_certificate_carries_its_names() {
        let made = self_signed_serving(&["n1".to_owned()], &[IpAddr::from([10, 0, 0, 1])]).expect("a certificate");
        let parsed = ParsedCertificate::from_pem(&made.pem, "test").expect("parses");
        assert!(parsed.is_signed_by(&parsed) && !parsed.is_ca);
        assert_eq!((parsed.dns_names, parsed.addresses), (vec!["n1".to_owned()], vec![IpAddr::from([10, 0, 0, 1])]));
    }
}
