//! A minimal HTTP client on the engine's Unix socket, for what bollard cannot do: raw upgraded streams (bollard 0.21
//! takes a terminal's bytes 0-2 for a multiplex header) and knowing when an event subscription has begun.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The engine's side of a hijacked connection.
pub(super) type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("connect to {path}")]
    Connect {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("talk to the engine")]
    Http(#[source] hyper::Error),
    #[error("build a request")]
    Request(#[source] http::Error),
    #[error("engine answered {status}: {message}")]
    Status { status: u16, message: String },
}

/// One connection per request, as the engine expects of hijacked ones.
pub(super) struct Socket {
    path: PathBuf,
    prefix: String,
}

impl Socket {
    pub fn new(path: PathBuf, api_version: &str) -> Self {
        Self { path, prefix: format!("/v{api_version}") }
    }

    /// Plain GET; the body streams.
    pub async fn get(&self, path_and_query: &str) -> Result<Incoming, SocketError> {
        let request = self.request(Method::GET, path_and_query, None, false)?;
        Ok(self.send(request).await?.into_body())
    }

    /// POST that takes over the connection.
    pub async fn hijack(&self, path_and_query: &str, body: Option<serde_json::Value>) -> Result<Upgraded, SocketError> {
        let request = self.request(Method::POST, path_and_query, body, true)?;
        let response = self.send(request).await?;
        let upgraded = hyper::upgrade::on(response).await.map_err(SocketError::Http)?;
        Ok(TokioIo::new(upgraded))
    }

    fn request(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<serde_json::Value>,
        upgrade: bool,
    ) -> Result<Request<Full<Bytes>>, SocketError> {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}{path_and_query}", self.prefix))
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json");
        if upgrade {
            builder = builder.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        }
        let bytes = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        builder.body(Full::new(bytes)).map_err(SocketError::Request)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SocketError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| SocketError::Connect { path: self.path.display().to_string(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(SocketError::Http)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "engine connection ended");
            }
        });
        let response = sender.send_request(request).await.map_err(SocketError::Http)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map_err(SocketError::Http)?.to_bytes();
        let message = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
        Err(SocketError::Status { status: status.as_u16(), message })
    }
}
