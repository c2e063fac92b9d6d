//! The server's certificate, which can be exchanged while connections stay open, and the TLS settings around it.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ServerError;

/// The certificate that new connections are served with. Without one no handshake succeeds.
#[derive(Debug, Default)]
pub struct ServingCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl ServingCertificate {
    /// Reads certificate chain and key from PEM; both may stand in one text.
    pub fn new(certificate: &str, key: &str) -> Result<Self, ServerError> {
        Ok(Self(RwLock::new(Some(Arc::new(certified_key(certificate, key)?)))))
    }

    /// Exchanges the certificate for connections to come.
    pub fn replace(&self, certificate: &str, key: &str) -> Result<(), ServerError> {
        let fresh = Arc::new(certified_key(certificate, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn certified_key(certificate: &str, key: &str) -> Result<CertifiedKey, ServerError> {
    let invalid = |text: &str| ServerError::Tls(rustls::Error::General(text.to_owned()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("serving certificate is no PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| invalid("serving key is no PEM"))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map_err(ServerError::Tls)
}

/// TLS 1.2 and 1.3, HTTP/2 and 1.1, client certificates asked for but not demanded.
pub fn server_config(
    certificate: Arc<ServingCertificate>,
    client_ca: Option<&Path>,
) -> Result<ServerConfig, ServerError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ServerError::Tls)?;
    let builder = match client_ca {
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| ServerError::ClientCa { path: path.to_owned(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(path: &Path) -> Result<RootCertStore, ServerError> {
    let pem = std::fs::read(path).map_err(|source| ServerError::Read { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(ServerError::NoCertificate { path: path.to_owned() });
    }
    Ok(roots)
}
