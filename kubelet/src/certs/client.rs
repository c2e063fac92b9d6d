//! The one connection to the API server. A rotated client certificate replaces the `kube::Client` behind it, and whoever
//! holds a watch learns of it through `changed`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use futures::FutureExt as _;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;

/// What can go wrong with the kubelet's credentials.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The kubeconfig, or a file that it names, cannot be read or used.
    #[error("kubeconfig {} cannot be used", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The TLS client cannot be made from the kubeconfig's certificates.
    #[error("no API client from kubeconfig {}", path.display())]
    Client {
        path: PathBuf,
        #[source]
        source: Box<kube::Error>,
    },
    /// A certificate, key or kubeconfig cannot be made, read or written.
    #[error("kubelet certificate")]
    Pki(#[from] junio_pki::PkiError),
    /// The kubeconfig lacks a server or a CA.
    #[error("kubeconfig {} names no server or no CA", path.display())]
    Incomplete { path: PathBuf },
    #[error("{operation} certificate signing request")]
    Request {
        operation: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("watch certificate signing request {name}")]
    Watch {
        name: String,
        #[source]
        source: Box<kube::runtime::wait::Error>,
    },
    #[error("certificate signing request {name} was refused: {reason}")]
    Refused { name: String, reason: String },
    #[error("certificate signing request {name} was neither approved nor refused in time")]
    Undecided { name: String },
    /// The signer returned a certificate for another key.
    #[error("signed certificate does not belong to the key that asked for it")]
    Mismatch,
    /// The signed certificate cannot be served.
    #[error("signed serving certificate")]
    Unusable {
        #[source]
        source: Box<crate::server::ServerError>,
    },
    /// A file of the certificate directory.
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The API server connection. Clones are cheap and share the credentials.
#[derive(Clone)]
pub struct ApiClient {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    client: RwLock<Client>,
    generation: watch::Sender<u64>,
}

impl ApiClient {
    /// Reads the kubeconfig and the certificate files that it names. Never connects; must run inside a tokio runtime.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, CertsError> {
        let client = read(path)?;
        let (generation, _) = watch::channel(0);
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), client: RwLock::new(client), generation }) })
    }

    /// The client to use now; after a rotation the one with the new certificate.
    #[must_use]
    pub fn current(&self) -> Client {
        self.inner.client.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Counts rotations; a watch must be restarted when it changes, or it keeps the old certificate's connection.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    /// Reads the kubeconfig and its certificate files again.
    pub fn reload(&self) -> Result<(), CertsError> {
        let client = read(&self.inner.path)?;
        *self.inner.client.write().unwrap_or_else(std::sync::PoisonError::into_inner) = client;
        self.inner.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// The kubeconfig's path.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.inner.path
    }
}

fn read(path: &Path) -> Result<Client, CertsError> {
    let unusable = |source| CertsError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    // Reading files and merging them is all that this future does, so it is ready at once.
    let mut config = match Config::from_custom_kubeconfig(kubeconfig, &options).now_or_never() {
        Some(result) => result.map_err(unusable)?,
        None => return Err(unusable(kube::config::KubeconfigError::CurrentContextNotSet)),
    };
    // Who asks decides when to ask again: a kubelet that starts before its API server must not wait out a back-off.
    config.default_retry = false;
    Client::try_from(config).map_err(|source| CertsError::Client { path: path.to_owned(), source: Box::new(source) })
}

/// The API server was not reached at all, as opposed to an answer that is an error.
#[must_use]
pub fn is_connection_error(error: &kube::Error) -> bool {
    matches!(error, kube::Error::HyperError(_) | kube::Error::Service(_))
}
