//! Ready-made rustls configurations with the one provider, aws-lc-rs.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{CertificateFormatError, KeyFormatError, PkiError};

/// The provider of every TLS connection.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Makes aws-lc-rs the process default; call it first in `main`. Doing so twice is fine.
pub fn install_default_provider() {
    // The error only says that one is installed already, and there is no other in the tree.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// A server with the given chain and key (PEM), TLS 1.2 and 1.3, h2 and http/1.1. With `client_ca`, certificates that
/// clients offer must be signed by it; clients without one are let in and authenticate otherwise.
pub fn server_config(chain: &str, key: &str, client_ca: Option<&str>) -> Result<Arc<ServerConfig>, PkiError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(PkiError::Tls)?;
    let builder = match client_ca {
        Some(pem) => builder.with_client_cert_verifier(client_verifier(pem)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates(chain)?, private_key(key)?).map_err(PkiError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts client certificates signed by a CA of `ca_pem`, and clients without a certificate.
pub fn client_verifier(ca_pem: &str) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let roots = Arc::new(root_store(ca_pem)?);
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| PkiError::ClientCa(e.to_string()))
}

/// The CAs of a PEM text as trust anchors.
pub fn root_store(ca_pem: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate).map_err(|e| PkiError::ClientCa(e.to_string()))?;
    }
    Ok(roots)
}

/// All certificates of a PEM text; at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let fail = |source| PkiError::ParseCertificate { what: "the certificate chain".to_owned(), source };
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| fail(CertificateFormatError::Der(e.to_string())))?;
    if chain.is_empty() { Err(fail(CertificateFormatError::NoBlock)) } else { Ok(chain) }
}

/// The private key of a PEM text.
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| PkiError::ParseKey { what: "the server key".to_owned(), source: KeyFormatError::NoBlock })
}
