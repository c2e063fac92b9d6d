//! What the handlers read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::certs::client::ApiClient;
use crate::pod::store::PodStore;
use crate::probe::ProbeManager;
use crate::runtime::PodRuntime;

use super::authentication::Authenticator;
use super::authorization::Authorizer;
use super::stats::Rates;

/// How requests are authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// SubjectAccessReview.
    Webhook,
    AlwaysAllow,
}

/// The part of the kubelet's configuration that the server needs.
pub struct ServerOptions {
    pub address: SocketAddr,
    pub node_name: String,
    /// `/var/lib/kubelet`, whose file system is the node's.
    pub root_dir: PathBuf,
    /// Where the engine keeps its containers, and so their logs.
    pub engine_dir: PathBuf,
    /// When this kubelet started.
    pub started_at: jiff::Timestamp,
    /// Requests with a client certificate signed by one of these CAs are that user's.
    pub client_ca_file: Option<PathBuf>,
    pub anonymous: bool,
    /// Ask the API server who a bearer token belongs to.
    pub token_webhook: bool,
    pub authorization: AuthorizationMode,
    /// `enableSystemLogHandler`.
    pub system_logs: bool,
    /// `enableDebuggingHandlers`.
    pub debugging_handlers: bool,
    /// What `/configz` shows.
    pub configuration: serde_json::Value,
}

/// Shared by all handlers.
pub struct ServerState {
    pub store: PodStore,
    pub runtime: Arc<dyn PodRuntime>,
    pub probes: Arc<ProbeManager>,
    pub options: ServerOptions,
    pub(super) rates: Rates,
    pub(super) authenticator: Authenticator,
    pub(super) authorizer: Authorizer,
}

impl ServerState {
    /// `api` is asked about tokens and permissions; without it only what needs no asking is let in.
    #[must_use]
    pub fn new(
        store: PodStore,
        runtime: Arc<dyn PodRuntime>,
        probes: Arc<ProbeManager>,
        api: Option<ApiClient>,
        options: ServerOptions,
    ) -> Self {
        let authenticator = Authenticator::new(api.clone().filter(|_| options.token_webhook), options.anonymous);
        let authorizer = Authorizer::new(api, options.authorization, options.node_name.clone());
        Self { store, runtime, probes, options, rates: Rates::default(), authenticator, authorizer }
    }
}
