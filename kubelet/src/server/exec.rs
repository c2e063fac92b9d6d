//! `/exec` and `/attach`, over WebSocket or SPDY.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, RawQuery, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::error::HttpError;
use super::lookup::{self, PathNames};
use super::query::Query;
use super::state::ServerState;
use super::stream::channels::{ErrorStyle, Wanted, WebSocketProtocol, choose_spdy};
use super::stream::remote::{self, Remote};
use super::stream::{spdy, websocket};
use crate::runtime::{AttachRequest, ContainerId, ExecRequest, RuntimeError, StreamSession, TerminalSize};

/// All streams of a SPDY client must be there by then.
const STREAMS_WAIT: Duration = Duration::from_secs(30);

/// What to connect a client to.
enum Command {
    Exec(ExecRequest),
    Attach(AttachRequest),
}

impl Command {
    async fn start(&self, state: &ServerState, id: &ContainerId) -> Result<StreamSession, RuntimeError> {
        match self {
            Self::Exec(request) => state.runtime.exec(id, request).await,
            Self::Attach(request) => state.runtime.attach(id, request).await,
        }
    }
}

pub async fn exec(
    State(state): State<Arc<ServerState>>,
    Path(names): Path<PathNames>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let query = Query::parse(query.as_deref());
    let wanted = wanted(&query)?;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(HttpError::bad_request("you must specify at least 1 command"));
    }
    let id = target(&state, &names).await?;
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    connect(state, id, Command::Exec(ExecRequest { command, tty, stdin, stdout, stderr }), wanted, upgrade, request)
}

pub async fn attach(
    State(state): State<Arc<ServerState>>,
    Path(names): Path<PathNames>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let wanted = wanted(&Query::parse(query.as_deref()))?;
    let id = target(&state, &names).await?;
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    connect(state, id, Command::Attach(AttachRequest { tty, stdin, stdout, stderr }), wanted, upgrade, request)
}

/// `input`, `output`, `error`, `tty`: only `1` counts, and a terminal has no stderr of its own.
fn wanted(query: &Query) -> Result<Wanted, HttpError> {
    let tty = query.flag("tty");
    let wanted =
        Wanted { stdin: query.flag("input"), stdout: query.flag("output"), stderr: query.flag("error") && !tty, tty };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return Err(HttpError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(wanted)
}

async fn target(state: &ServerState, names: &PathNames) -> Result<ContainerId, HttpError> {
    let pod = lookup::pod(state, names)?;
    let engine = lookup::engine_pod(state, &pod).await?;
    let name = names.get("container").map(String::as_str).unwrap_or_default();
    Ok(lookup::running(&engine, &pod, name)?.id.clone())
}

fn connect(
    state: Arc<ServerState>,
    id: ContainerId,
    command: Command,
    wanted: Wanted,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    if let Ok(mut upgrade) = upgrade {
        let offered = offered(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL);
        let protocol = WebSocketProtocol::choose(offered.iter().map(String::as_str))
            .ok_or_else(|| HttpError::bad_request(format!("none of the protocols {offered:?} is served")))?;
        if !protocol.name.is_empty() {
            upgrade.set_selected_protocol(HeaderValue::from_static(protocol.name));
        }
        return Ok(upgrade.on_upgrade(move |socket| async move {
            let client = websocket::serve(socket, protocol, wanted);
            remote::run(command.start(&state, &id).await, client).await;
        }));
    }
    let (name, style) = spdy_protocol(request.headers())?;
    let response = switching(name);
    tokio::spawn(async move {
        let io = match hyper::upgrade::on(request).await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(%error, "SPDY upgrade failed"),
        };
        let connection = match spdy::serve(io) {
            Ok(connection) => connection,
            Err(error) => return tracing::warn!(%error, "SPDY connection failed"),
        };
        match tokio::time::timeout(STREAMS_WAIT, collect(connection, wanted, name, style)).await {
            Ok(Some(client)) => remote::run(command.start(&state, &id).await, client).await,
            Ok(None) => tracing::debug!("SPDY client left before its streams were open"),
            Err(_) => tracing::debug!("SPDY client did not open its streams in time"),
        }
    });
    Ok(response)
}

/// All values of a header that is a comma-separated list and may repeat.
fn offered(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}

pub(super) const STREAM_PROTOCOL: header::HeaderName = header::HeaderName::from_static("x-stream-protocol-version");

/// True when a request asks for SPDY/3.1.
pub(super) fn asks_for_spdy(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, token: &str| {
        offered(headers, &name).iter().any(|value| value.eq_ignore_ascii_case(token))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "spdy/3.1")
}

fn spdy_protocol(headers: &HeaderMap) -> Result<(&'static str, ErrorStyle), HttpError> {
    if !asks_for_spdy(headers) {
        return Err(HttpError::bad_request("unable to upgrade: neither WebSocket nor SPDY/3.1 was asked for"));
    }
    let offered = offered(headers, &STREAM_PROTOCOL);
    if offered.is_empty() {
        return Err(HttpError::bad_request("header X-Stream-Protocol-Version is missing"));
    }
    choose_spdy(offered.iter().map(String::as_str)).ok_or_else(|| {
        HttpError::new(StatusCode::FORBIDDEN, format!("unable to upgrade: none of the protocols {offered:?} is served"))
    })
}

/// The 101 that turns the connection into SPDY.
pub(super) fn switching(protocol: &'static str) -> Response {
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("SPDY/3.1")),
        (STREAM_PROTOCOL, HeaderValue::from_static(protocol)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Waits for the error stream, the wanted ones and, with a terminal, the sizes.
async fn collect(
    mut connection: spdy::Connection,
    wanted: Wanted,
    protocol: &str,
    style: ErrorStyle,
) -> Option<Remote> {
    let sizes = wanted.tty && matches!(protocol, "v3.channel.k8s.io" | "v4.channel.k8s.io");
    let expected = 1 + [wanted.stdin, wanted.stdout, wanted.stderr, sizes].into_iter().filter(|wanted| *wanted).count();
    let (mut stdin, mut stdout, mut stderr, mut error, mut resize) = (None, None, None, None, None);
    for _ in 0..expected {
        let stream = connection.streams.recv().await?;
        match stream.header("streamtype") {
            Some("stdin") => stdin = Some(stream.data),
            Some("stdout") => stdout = Some(stream.output),
            Some("stderr") => stderr = Some(stream.output),
            Some("error") => error = Some(stream.output),
            Some("resize") => resize = Some(sizes_of(stream.data)),
            _ => return None,
        }
    }
    Some(Remote { stdin, resize, stdout, stderr, error: error?, error_style: style, gone: connection.gone })
}

fn sizes_of(mut data: mpsc::Receiver<bytes::Bytes>) -> mpsc::Receiver<TerminalSize> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut text = BytesMut::new();
        while let Some(chunk) = data.recv().await {
            text.extend_from_slice(&chunk);
            for size in websocket::take_sizes(&mut text) {
                if sender.send(size).await.is_err() {
                    return;
                }
            }
        }
    });
    receiver
}
