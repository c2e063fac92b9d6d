//! What can go wrong, and what differs between a directory and the plan.

use std::path::PathBuf;

use junio_api::hint::{Code, Hint, NextStep};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot generate a {algorithm} key")]
    GenerateKey { algorithm: &'static str, source: rcgen::Error },
    #[error("{what} holds no usable private key")]
    ParseKey { what: String, source: KeyFormatError },
    #[error("{what} holds no usable certificate")]
    ParseCertificate { what: String, source: CertificateFormatError },
    #[error("cannot issue certificate {name}")]
    Issue { name: String, source: rcgen::Error },
    #[error("{path} is not a CA certificate")]
    NotACa { path: PathBuf },
    #[error("the subject of {path} has several values of one kind; certificates signed by it would not verify")]
    UnsupportedCaSubject { path: PathBuf },
    #[error("{} exists without its private key (an external CA), so these files must exist too: {}", ca.display(), list(missing))]
    ExternalCaIncomplete { ca: PathBuf, missing: Vec<PathBuf> },
    #[error("existing certificates differ from the plan: {}", list_drift(drifts))]
    Drift { drifts: Vec<Drift> },
    #[error("{name:?} is no valid subject alternative name")]
    InvalidSan { name: String },
    #[error("{name} is a CA, and a CA is not renewed but rotated")]
    RenewAuthority { name: &'static str },
    #[error("certificate {name} would need several organizations")]
    SeveralOrganizations { name: String },
    #[error("kubeconfig {path} cannot be understood: {reason}")]
    Kubeconfig { path: PathBuf, reason: String },
    #[error("cannot write YAML")]
    Yaml(#[from] junio_api::yaml::EmitError),
    #[error("cannot build a TLS configuration")]
    Tls(#[source] rustls::Error),
    #[error("cannot use the client CA: {0}")]
    ClientCa(String),
    #[error("{path} does not exist, and it is what signs {wanted}")]
    MissingCa { path: PathBuf, wanted: &'static str },
    #[error("validity of {seconds} s from now is beyond what a certificate can hold")]
    Validity { seconds: u64 },
}

/// Why a text is no private key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFormatError {
    #[error("no PEM block of a private key")]
    NoBlock,
    #[error("malformed DER")]
    Der,
    #[error("unsupported key: {0}")]
    Unsupported(String),
}

/// Why a text is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFormatError {
    #[error("no PEM block of a certificate")]
    NoBlock,
    #[error("malformed certificate: {0}")]
    Der(String),
}

/// One existing file that does not fit the plan. Nothing is changed because of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub enum Drift {
    #[error("{} expired at {not_after}", path.display())]
    Expired { path: PathBuf, not_after: String },
    #[error("{} is not valid before {not_before}", path.display())]
    NotYetValid { path: PathBuf, not_before: String },
    #[error("{} is not signed by {}", path.display(), ca.display())]
    NotSignedBy { path: PathBuf, ca: PathBuf },
    #[error("{} and its private key do not belong together", path.display())]
    KeyMismatch { path: PathBuf },
    #[error("{} lacks the names {}", path.display(), missing.join(", "))]
    MissingSans { path: PathBuf, missing: Vec<String> },
    #[error("{} lacks the extended key usage {missing}", path.display())]
    Usage { path: PathBuf, missing: String },
    #[error("{} has no private key beside it", path.display())]
    MissingKey { path: PathBuf },
    #[error("{} points to {found} instead of {expected}", path.display())]
    Server { path: PathBuf, expected: String, found: String },
    #[error("{} trusts another CA than {}", path.display(), ca.display())]
    OtherCa { path: PathBuf, ca: PathBuf },
}

impl Drift {
    /// The file that differs.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Expired { path, .. }
            | Self::NotYetValid { path, .. }
            | Self::NotSignedBy { path, .. }
            | Self::KeyMismatch { path }
            | Self::MissingSans { path, .. }
            | Self::Usage { path, .. }
            | Self::MissingKey { path }
            | Self::Server { path, .. }
            | Self::OtherCa { path, .. } => path,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list_drift(drifts: &[Drift]) -> String {
    drifts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Hint for PkiError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Read { .. } => "PKI-READ",
            Self::Write { .. } => "PKI-WRITE",
            Self::ParseKey { .. } | Self::ParseCertificate { .. } | Self::NotACa { .. } => "PKI-UNUSABLE-FILE",
            Self::UnsupportedCaSubject { .. } => "PKI-CA-SUBJECT",
            Self::ExternalCaIncomplete { .. } => "PKI-EXTERNAL-CA-INCOMPLETE",
            Self::Drift { .. } => "PKI-DRIFT",
            Self::InvalidSan { .. } => "PKI-INVALID-SAN",
            Self::SeveralOrganizations { .. } => "PKI-SEVERAL-ORGANIZATIONS",
            Self::RenewAuthority { .. } => "PKI-RENEW-CA",
            Self::Kubeconfig { .. } => "PKI-KUBECONFIG",
            Self::ClientCa(_) => "PKI-CLIENT-CA",
            Self::MissingCa { .. } => "PKI-MISSING-CA",
            Self::Validity { .. } => "PKI-VALIDITY",
            Self::GenerateKey { .. } | Self::Issue { .. } | Self::Yaml(_) | Self::Tls(_) => "PKI-INTERNAL",
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        match self {
            Self::Drift { drifts } => {
                let first = drifts.first()?;
                let file = first.path().display();
                Some(
                    NextStep::command(format!("rm {file} # and run init again, or restore the file that you want"))
                        .because("existing certificates are never overwritten"),
                )
            }
            Self::ExternalCaIncomplete { .. } => {
                Some(NextStep::command("junioadm certs generate-csr").because(
                    "without the CA's key nothing can be signed here; let the owner of the CA sign the requests",
                ))
            }
            Self::UnsupportedCaSubject { .. } | Self::NotACa { .. } => Some(NextStep {
                why: Some(
                    "use a CA certificate with basicConstraints CA:TRUE and one value per kind of subject attribute"
                        .to_owned(),
                ),
                ..NextStep::default()
            }),
            _ => None,
        }
    }

    fn expected(&self) -> bool {
        !matches!(self, Self::GenerateKey { .. } | Self::Issue { .. } | Self::Yaml(_))
    }
}
