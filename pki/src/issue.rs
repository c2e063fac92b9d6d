//! Issuing: from a row of the list and the parameters of a node to a signed certificate.
//!
//! Field by field as kubeadm v1.36.3 (`app/util/pkiutil`): see `facts` on key usage, basicConstraints, key identifiers,
//! the order of names, serials and validity.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::cert_list::{CertSpec, CommonName, SanKind, Usage};
use crate::error::PkiError;
use crate::key::{KeyAlgorithm, PrivateKey, encode};
use crate::parsed::ParsedCertificate;

/// Certificates start to be valid this long before they are made, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
const OID_BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const EMPTY_SEQUENCE: &[u8] = &[0x30, 0x00];

/// Everything that certificates of one node depend on.
#[derive(Debug, Clone)]
pub struct PkiParams {
    pub node_name: String,
    pub advertise_address: IpAddr,
    /// The first address of the service subnet.
    pub service_address: IpAddr,
    /// Host part of `controlPlaneEndpoint`, a DNS name or an address.
    pub endpoint_host: Option<String>,
    /// For example `cluster.local`.
    pub dns_domain: String,
    pub api_server_sans: Vec<String>,
    pub etcd_server_sans: Vec<String>,
    pub etcd_peer_sans: Vec<String>,
    /// False with an external etcd: then none of its certificates are made.
    pub local_etcd: bool,
    pub algorithm: KeyAlgorithm,
    pub certificate_validity: Duration,
    pub ca_validity: Duration,
    /// One start time for all certificates of a run.
    pub start: SystemTime,
}

/// DNS names (sorted, unique) and addresses (in order, unique).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sans {
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Sans {
    fn add(&mut self, name: &str) {
        match name.parse() {
            Ok(address) => self.add_address(address),
            Err(_) => self.dns_names.push(name.to_lowercase()),
        }
    }

    fn add_address(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    fn finish(mut self) -> Self {
        self.dns_names.sort();
        self.dns_names.dedup();
        self
    }

    /// Names of `self` that `certificate` lacks.
    #[must_use]
    pub fn missing_in(&self, certificate: &ParsedCertificate) -> Vec<String> {
        let dns = self
            .dns_names
            .iter()
            .filter(|n| !certificate.dns_names.iter().any(|have| have.eq_ignore_ascii_case(n)))
            .cloned();
        let addresses = self.addresses.iter().filter(|a| !certificate.addresses.contains(a)).map(ToString::to_string);
        dns.chain(addresses).collect()
    }
}

impl PkiParams {
    /// The common name of a certificate.
    #[must_use]
    pub fn common_name(&self, spec: &CertSpec) -> String {
        match spec.common_name {
            CommonName::Fixed(name) => name.to_owned(),
            CommonName::Node => self.node_name.clone(),
        }
    }

    /// The names that a certificate must carry.
    #[must_use]
    pub fn sans(&self, spec: &CertSpec) -> Sans {
        let mut sans = Sans::default();
        match spec.sans {
            SanKind::None => return sans,
            SanKind::CommonName => sans.add(&self.common_name(spec)),
            SanKind::ApiServer => {
                sans.add(&self.node_name);
                for name in ["kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
                    sans.add(name);
                }
                sans.add(&format!("kubernetes.default.svc.{}", self.dns_domain));
                sans.add_address(self.service_address);
                sans.add_address(self.advertise_address);
                self.endpoint_host.iter().chain(&self.api_server_sans).for_each(|name| sans.add(name));
            }
            SanKind::EtcdServer => self.etcd_sans(&mut sans, &self.etcd_server_sans),
            SanKind::EtcdPeer => self.etcd_sans(&mut sans, &self.etcd_peer_sans),
        }
        sans.finish()
    }

    fn etcd_sans(&self, sans: &mut Sans, extra: &[String]) {
        for name in [&self.node_name, "localhost"] {
            sans.add(name);
        }
        sans.add_address(self.advertise_address);
        for name in ["127.0.0.1", "::1"] {
            sans.add(name);
        }
        extra.iter().for_each(|name| sans.add(name));
    }

    /// The leaf that a row of the list stands for.
    #[must_use]
    pub fn leaf(&self, spec: &CertSpec) -> Leaf {
        Leaf {
            name: spec.name.to_owned(),
            common_name: self.common_name(spec),
            organizations: spec.organizations.iter().map(ToString::to_string).collect(),
            usages: spec.usages.to_vec(),
            sans: self.sans(spec),
            validity: self.certificate_validity,
            start: self.start,
        }
    }
}

/// What a CA is asked to sign.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// For errors.
    pub name: String,
    pub common_name: String,
    pub organizations: Vec<String>,
    pub usages: Vec<Usage>,
    pub sans: Sans,
    pub validity: Duration,
    pub start: SystemTime,
}

/// A CA that can sign.
#[derive(Debug)]
pub struct Authority {
    pub certificate: ParsedCertificate,
    pub certificate_pem: String,
    key: PrivateKey,
}

impl Authority {
    /// A CA from its two halves, which the caller has checked to belong together.
    #[must_use]
    pub fn new(certificate: ParsedCertificate, certificate_pem: String, key: PrivateKey) -> Self {
        Self { certificate, certificate_pem, key }
    }

    /// Makes a self-signed CA.
    pub fn create(spec: &CertSpec, params: &PkiParams, key: PrivateKey) -> Result<Self, PkiError> {
        let common_name = params.common_name(spec);
        let mut request = base(spec.name, &common_name, &[], &params.sans(spec), params.ca_validity, params.start)?;
        request.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        request.key_usages.push(KeyUsagePurpose::KeyCertSign);
        request.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(key.pair().der_bytes()));
        let issued =
            request.self_signed(key.pair()).map_err(|source| PkiError::Issue { name: spec.name.to_owned(), source })?;
        let certificate = ParsedCertificate::from_der(issued.der().to_vec(), spec.name)?;
        Ok(Self { certificate_pem: certificate_pem(&issued), certificate, key })
    }

    /// Signs a certificate for the public half of `key`; returns it as PEM and parsed.
    pub fn issue(&self, leaf: &Leaf, key: &PrivateKey) -> Result<(String, ParsedCertificate), PkiError> {
        self.issue_for(leaf, key.pair())
    }

    fn issue_for(&self, leaf: &Leaf, public: &impl PublicKeyData) -> Result<(String, ParsedCertificate), PkiError> {
        let fail = |source| PkiError::Issue { name: leaf.name.clone(), source };
        let mut request =
            base(&leaf.name, &leaf.common_name, &leaf.organizations, &leaf.sans, leaf.validity, leaf.start)?;
        // Not `IsCa::ExplicitNoCa`, which would add a subject key identifier that kubeadm's leaves do not have.
        request.is_ca = IsCa::NoCa;
        let mut constraints = CustomExtension::from_oid_content(OID_BASIC_CONSTRAINTS, EMPTY_SEQUENCE.to_vec());
        constraints.set_criticality(true);
        request.custom_extensions.push(constraints);
        request.use_authority_key_identifier_extension = true;
        request.extended_key_usages = leaf
            .usages
            .iter()
            .map(|usage| match usage {
                Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
                Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            })
            .collect();
        let issuer =
            Issuer::from_ca_cert_der(&self.certificate.der.as_slice().into(), self.key.pair()).map_err(fail)?;
        let issued = request.signed_by(public, &issuer).map_err(fail)?;
        let parsed = ParsedCertificate::from_der(issued.der().to_vec(), &leaf.name)?;
        if parsed.issuer_raw != self.certificate.subject_raw {
            return Err(PkiError::UnsupportedCaSubject { path: self.certificate.common_name.clone().into() });
        }
        Ok((certificate_pem(&issued), parsed))
    }
}

/// First 20 bytes of SHA-256 over the public key bits (RFC 7093 method 1), as Go's crypto/x509 does.
fn key_identifier(public_key: &[u8]) -> Vec<u8> {
    Sha256::digest(public_key)[..20].to_vec()
}

pub(crate) fn certificate_pem(certificate: &Certificate) -> String {
    encode(&pem::Pem::new("CERTIFICATE", certificate.der().to_vec()))
}

/// What CA and leaf have in common.
pub(crate) fn base(
    name: &str,
    common_name: &str,
    organizations: &[String],
    sans: &Sans,
    validity: Duration,
    start: SystemTime,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name, common_name, organizations)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.subject_alt_names = san_types(sans)?;
    params.serial_number = Some(serial_number());
    let beyond = || PkiError::Validity { seconds: validity.as_secs() };
    let start = OffsetDateTime::from(start).replace_nanosecond(0).map_err(|_| beyond())?;
    params.not_before =
        start.checked_sub(time::Duration::try_from(BACKDATE).map_err(|_| beyond())?).ok_or_else(beyond)?;
    params.not_after =
        start.checked_add(time::Duration::try_from(validity).map_err(|_| beyond())?).ok_or_else(beyond)?;
    Ok(params)
}

/// Common name and at most one organization, which is all that the list and kubeconfigs need.
pub(crate) fn distinguished_name(
    name: &str,
    common_name: &str,
    organizations: &[String],
) -> Result<DistinguishedName, PkiError> {
    let mut subject = DistinguishedName::new();
    match organizations {
        [] => {}
        [one] => subject.push(DnType::OrganizationName, one.clone()),
        // rcgen keeps one value per kind; silently dropping a group would grant other rights than asked for.
        _ => return Err(PkiError::SeveralOrganizations { name: name.to_owned() }),
    }
    subject.push(DnType::CommonName, common_name);
    Ok(subject)
}

pub(crate) fn san_types(sans: &Sans) -> Result<Vec<SanType>, PkiError> {
    let dns = sans.dns_names.iter().map(|name| {
        let text = name.as_str().try_into().map_err(|_| PkiError::InvalidSan { name: name.clone() })?;
        Ok(SanType::DnsName(text))
    });
    let addresses = sans.addresses.iter().map(|a| Ok(SanType::IpAddress(*a)));
    dns.chain(addresses).collect()
}

/// Random, positive, below 2^63.
fn serial_number() -> SerialNumber {
    SerialNumber::from(rand::rng().random_range(1..=i64::MAX as u64))
}
