//! The accept loop: TLS, then HTTP with upgrades; a client certificate's identity travels with each request.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::authentication::Identity;
use super::error::ServerError;
use super::router::router;
use super::state::ServerState;
use super::tls::{ServingCertificate, server_config};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a failed accept (out of file descriptors), how long to let connections end.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until `cancel`. Connections that are open then end with the process.
pub async fn serve(
    state: Arc<ServerState>,
    certificate: Arc<ServingCertificate>,
    cancel: CancellationToken,
) -> Result<(), ServerError> {
    let address = state.options.address;
    let config = server_config(certificate, state.options.client_ca_file.as_deref())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Listen { address: address.to_string(), source })?;
    let app = router(state);
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                tokio::spawn(connection(acceptor.clone(), socket, app.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(acceptor: TlsAcceptor, socket: TcpStream, app: axum::Router) {
    // Small messages of a terminal must not wait for more.
    let _ = socket.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let identity =
        stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(|c| Identity::from_certificate(c));
    let app = app.layer(axum::Extension(identity));
    let service = TowerToHyperService::new(app);
    if let Err(error) =
        Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "connection ended");
    }
}
