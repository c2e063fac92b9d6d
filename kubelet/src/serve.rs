//! Starts the two servers: liveness on the loopback, and HTTPS with its certificate, of whatever origin.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::certs::serving::{self, SignedServing};
use crate::certs::{ApiClient, CertificateStore};
use crate::config::{Flags, KubeletConfiguration};
use crate::error::KubeletError;
use crate::error_chain::chain;
use crate::kubelet::Tasks;
use crate::node::healthz::{self as node_healthz, Heartbeat};
use crate::node::status::NodeFacts;
use crate::pod::context::WorkerContext;
use crate::server::{self, AuthorizationMode, ServerOptions, ServerState, ServingCertificate};
use crate::setup::cert_dir;

/// Liveness on the loopback, without TLS.
pub(crate) fn healthz(tasks: &mut Tasks, config: &KubeletConfiguration, heartbeat: &Heartbeat) {
    let port = config.healthz_port.unwrap_or(junio_api::ports::KUBELET_HEALTHZ);
    if port == 0 {
        return;
    }
    let address = config
        .healthz_bind_address
        .as_deref()
        .and_then(|address| address.parse().ok())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let heartbeat = heartbeat.clone();
    tasks.spawn("healthz", async move {
        // The port may still be held by a kubelet that is just ending.
        while let Err(error) = node_healthz::serve(SocketAddr::new(address, port), heartbeat.clone()).await {
            tracing::warn!(%error, %address, port, "cannot serve healthz");
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
}

/// What the HTTPS server is made from.
pub(crate) struct Https<'a> {
    pub flags: &'a Flags,
    pub config: &'a KubeletConfiguration,
    pub facts: &'a NodeFacts,
    pub context: &'a WorkerContext,
    pub api: Option<ApiClient>,
}

/// Where the serving certificate comes from.
enum Origin {
    Given(ServingCertificate),
    /// Signed by the cluster, when somebody has approved it.
    Signed(SignedServing),
    SelfSigned,
}

impl Https<'_> {
    /// Starts it, and what keeps its certificate.
    pub(crate) fn spawn(self, tasks: &mut Tasks, cancel: CancellationToken) -> Result<(), KubeletError> {
        let origin = self.origin()?;
        let state = ServerState::new(
            self.context.store.clone(),
            Arc::clone(&self.context.runtime),
            Arc::clone(&self.context.probes),
            self.api.clone(),
            self.options(),
        );
        let (directory, names, ips) = (cert_dir(self.flags), vec![self.facts.name.clone()], self.facts.ips.clone());
        tasks.spawn("HTTPS server", async move {
            let (certificate, signed) = match origin {
                Origin::Given(certificate) => (Arc::new(certificate), None),
                Origin::Signed(signed) => (Arc::clone(&signed.certificate), Some(signed)),
                Origin::SelfSigned => {
                    // Making a key takes a tenth of a second, for which no pod should wait.
                    match tokio::task::spawn_blocking(move || self_signed(&directory, &names, &ips)).await {
                        Ok(Ok(certificate)) => (Arc::new(certificate), None),
                        Ok(Err(error)) => return tracing::error!(error = chain(&error), "no serving certificate"),
                        Err(error) => return tracing::error!(%error, "no serving certificate"),
                    }
                }
            };
            let keep = async {
                match signed {
                    Some(signed) => signed.keep(cancel.clone()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(serve(Arc::new(state), certificate, cancel.clone()), keep);
        });
        Ok(())
    }

    fn origin(&self) -> Result<Origin, KubeletError> {
        if let (Some(certificate), Some(key)) = (&self.config.tls_cert_file, &self.config.tls_private_key_file) {
            return Ok(Origin::Given(ServingCertificate::new(&read(certificate)?, &read(key)?)?));
        }
        match &self.api {
            Some(api) if self.config.server_tls_bootstrap.unwrap_or(false) => Ok(Origin::Signed(SignedServing {
                api: api.clone(),
                files: CertificateStore::serving(cert_dir(self.flags)),
                node_name: self.facts.name.clone(),
                // Of the node's addresses, as the approver sees them.
                names: vec![self.facts.hostname.clone()],
                addresses: self.facts.ips.clone(),
                certificate: Arc::default(),
            })),
            _ => Ok(Origin::SelfSigned),
        }
    }

    fn options(&self) -> ServerOptions {
        let config = self.config;
        let address = config.address.as_deref().and_then(|address| address.parse().ok());
        ServerOptions {
            address: SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.facts.port),
            node_name: self.facts.name.clone(),
            root_dir: self.flags.root_dir.clone(),
            engine_dir: self.facts.runtime.as_ref().map(|runtime| runtime.root_dir.clone()).unwrap_or_default(),
            started_at: jiff::Timestamp::now(),
            client_ca_file: config.authentication.x509.client_ca_file.clone(),
            anonymous: config.authentication.anonymous.enabled.unwrap_or(false),
            token_webhook: config.authentication.webhook.enabled.unwrap_or(true),
            authorization: match config.authorization.mode.as_deref() {
                Some("AlwaysAllow") => AuthorizationMode::AlwaysAllow,
                _ => AuthorizationMode::Webhook,
            },
            system_logs: config.enable_system_log_handler.as_ref().is_none_or(|enabled| *enabled != false),
            debugging_handlers: config.enable_debugging_handlers.unwrap_or(true),
            configuration: config.effective(),
        }
    }
}

/// Ends only when everything does.
async fn serve(state: Arc<ServerState>, certificate: Arc<ServingCertificate>, cancel: CancellationToken) {
    while let Err(error) = server::serve(Arc::clone(&state), Arc::clone(&certificate), cancel.clone()).await {
        tracing::warn!(error = chain(&error), "HTTPS server does not run");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    std::future::pending::<()>().await;
}

fn self_signed(directory: &Path, names: &[String], ips: &[IpAddr]) -> Result<ServingCertificate, KubeletError> {
    let (certificate, key) = serving::self_signed(directory, names, ips)?;
    Ok(ServingCertificate::new(&certificate, key.expose())?)
}

fn read(path: &Path) -> Result<String, KubeletError> {
    std::fs::read_to_string(path).map_err(|source| KubeletError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })
}
