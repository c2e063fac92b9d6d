//! `/portForward`: TCP connections to a pod's loopback, as SPDY streams on a SPDY connection or inside a WebSocket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use super::error::HttpError;
use super::exec::{STREAM_PROTOCOL, asks_for_spdy, switching};
use super::lookup::{self, PathNames};
use super::state::ServerState;
use super::stream::spdy::{self, Stream};
use super::stream::websocket::normal_close;
use crate::error_chain::chain;
use crate::runtime::SandboxId;

const PROTOCOL: &str = "portforward.k8s.io";
const CHUNK: usize = 32 << 10;
/// A data stream without its error stream (or the other way round) is given up after this.
const PAIR_WAIT: Duration = Duration::from_secs(30);

pub async fn port_forward(
    State(state): State<Arc<ServerState>>,
    Path(names): Path<PathNames>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let pod = lookup::pod(&state, &names)?;
    let engine = lookup::engine_pod(&state, &pod).await?;
    let sandbox = engine
        .sandboxes
        .iter()
        .find(|sandbox| sandbox.ready)
        .map(|sandbox| sandbox.id.clone())
        .ok_or_else(|| HttpError::not_found(format!("pod {} is not running", lookup::pod_name(&pod))))?;

    if let Ok(mut upgrade) = upgrade {
        let protocol = tunnel_protocol(request.headers())
            .ok_or_else(|| HttpError::bad_request("only SPDY/3.1+portforward.k8s.io is served over WebSocket"))?;
        upgrade.set_selected_protocol(protocol);
        return Ok(upgrade.on_upgrade(move |socket| async move {
            let (ours, theirs) = tokio::io::duplex(2 * CHUNK);
            tokio::join!(tunnel(socket, theirs), forward_all(state, sandbox, ours));
        }));
    }
    if !asks_for_spdy(request.headers()) {
        return Err(HttpError::bad_request("unable to upgrade: neither WebSocket nor SPDY/3.1 was asked for"));
    }
    let offered = request.headers().get_all(STREAM_PROTOCOL).iter().any(|value| value == PROTOCOL);
    if !offered {
        return Err(HttpError::new(StatusCode::FORBIDDEN, format!("unable to upgrade: only {PROTOCOL} is served")));
    }
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => forward_all(state, sandbox, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "SPDY upgrade failed"),
        }
    });
    Ok(switching(PROTOCOL))
}

fn tunnel_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let name = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|name| name.strip_prefix("SPDY/3.1+").is_some_and(|rest| rest == PROTOCOL))?;
    HeaderValue::from_str(name).ok()
}

/// SPDY bytes in binary messages, both ways, until either side ends.
async fn tunnel(socket: WebSocket, pipe: DuplexStream) {
    let (mut sink, mut messages) = socket.split();
    let (mut from_spdy, mut to_spdy) = tokio::io::split(pipe);
    let inward = async {
        while let Some(Ok(message)) = messages.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => break,
                _ => continue,
            };
            if to_spdy.write_all(&data).await.is_err() {
                break;
            }
        }
        // The SPDY side sees the end of its input.
        let _ = to_spdy.shutdown().await;
    };
    let outward = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            buffer.reserve(CHUNK);
            match from_spdy.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = sink.send(normal_close()).await;
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}

/// Pairs data and error streams by their request and forwards each pair in its own task.
async fn forward_all<T>(state: Arc<ServerState>, sandbox: SandboxId, io: T)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let mut connection = match spdy::serve(io) {
        Ok(connection) => connection,
        Err(error) => return tracing::warn!(%error, "SPDY connection failed"),
    };
    let mut halves: HashMap<String, (tokio::time::Instant, Stream)> = HashMap::new();
    while let Some(stream) = connection.streams.recv().await {
        halves.retain(|_, (since, _)| since.elapsed() < PAIR_WAIT);
        let Some(request) = stream.header("requestid").map(str::to_owned) else {
            stream.output.finish().await;
            continue;
        };
        let Some((_, other)) = halves.remove(&request) else {
            halves.insert(request, (tokio::time::Instant::now(), stream));
            continue;
        };
        let is_data = |stream: &Stream| stream.header("streamtype") == Some("data");
        let (data, error) = if is_data(&stream) { (stream, other) } else { (other, stream) };
        tokio::spawn(forward(Arc::clone(&state), sandbox.clone(), data, error));
    }
}

async fn forward(state: Arc<ServerState>, sandbox: SandboxId, data: Stream, error: Stream) {
    let port = data.header("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
    let outcome = match port {
        None => Err("the stream names no valid port".to_owned()),
        Some(port) => match state.runtime.dial(&sandbox, port).await {
            Ok(socket) => {
                copy(socket, data).await;
                Ok(())
            }
            Err(failure) => {
                data.output.finish().await;
                Err(format!("error forwarding port {port} to pod: {}", chain(&failure)))
            }
        },
    };
    if let Err(text) = outcome {
        error.output.send(Bytes::from(text)).await;
    }
    error.output.finish().await;
}

/// Both directions until the pod's side has ended; the client's half-close is passed on.
async fn copy(socket: TcpStream, mut client: Stream) {
    let (mut read, mut write) = socket.into_split();
    let output = client.output.clone();
    let inward = async {
        while let Some(data) = client.data.recv().await {
            if write.write_all(&data).await.is_err() {
                return;
            }
        }
        // The pod may have closed already.
        let _ = write.shutdown().await;
    };
    let outward = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            buffer.reserve(CHUNK);
            match read.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if !output.send(buffer.split().freeze()).await {
                        break;
                    }
                }
            }
        }
        output.finish().await;
    };
    tokio::pin!(inward);
    tokio::select! {
        () = outward => {}
        () = async { (&mut inward).await; std::future::pending::<()>().await } => {}
    }
}
