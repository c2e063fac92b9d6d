//! The standard health check of gRPC (grpc.health.v1.Health/Check) over plain-text HTTP/2, encoded by hand: request and
//! answer have one field each.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;
const MAX_ANSWER: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub(super) enum GrpcError {
    #[error("failed to connect service {address:?}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("error: health rpc failed: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("error: health rpc failed with status {code}: {message}")]
    Status { code: String, message: String },
    #[error("service unhealthy (responded with {0:?})")]
    Unhealthy(&'static str),
    #[error("error: health rpc failed: {0}")]
    Answer(&'static str),
}

/// Succeeds if the service says that it serves. Has no time limit of its own.
pub(super) async fn grpc_check(host: &str, port: u16, service: &str, user_agent: &str) -> Result<(), GrpcError> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let connect = TcpStream::connect((host, port)).await;
    let stream = connect.map_err(|source| GrpcError::Connect { address: address.clone(), source })?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", user_agent)
        .body(Full::new(Bytes::from(encode(service))))
        .map_err(|_| GrpcError::Answer("the request is not valid"))?;
    let result = async {
        let response = sender.send_request(request).await?;
        check_status(response.headers(), true)?;
        let mut body = response.into_body();
        let mut data = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            if let Some(trailers) = frame.trailers_ref() {
                check_status(trailers, false)?;
            } else if let Some(chunk) = frame.data_ref() {
                data.extend_from_slice(chunk);
                if data.len() > MAX_ANSWER {
                    return Err(GrpcError::Answer("the answer is too long"));
                }
            }
        }
        match decode(&data).ok_or(GrpcError::Answer("the answer cannot be read"))? {
            SERVING => Ok(()),
            0 => Err(GrpcError::Unhealthy("UNKNOWN")),
            2 => Err(GrpcError::Unhealthy("NOT_SERVING")),
            3 => Err(GrpcError::Unhealthy("SERVICE_UNKNOWN")),
            _ => Err(GrpcError::Answer("the answer has an unknown status")),
        }
    }
    .await;
    driver.abort();
    result
}

/// An error may come in the headers, without a body, or in the trailers.
fn check_status(headers: &HeaderMap, may_be_absent: bool) -> Result<(), GrpcError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match text("grpc-status") {
        None if may_be_absent => Ok(()),
        Some(code) if code == "0" => Ok(()),
        code => Err(GrpcError::Status {
            code: code.unwrap_or_else(|| "missing".to_owned()),
            message: text("grpc-message").unwrap_or_default(),
        }),
    }
}

/// A gRPC frame with `HealthCheckRequest { service = 1 }`.
fn encode(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// `status = 1` of `HealthCheckResponse`; 0 if it is absent. `None` if this is no uncompressed frame.
fn decode(frame: &[u8]) -> Option<u64> {
    let (header, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(header[1..].try_into().ok()?);
    if header[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 1) => rest = rest.get(8..)?,
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn encodes_and_decodes() {
        assert_eq!(encode(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(encode(&"x".repeat(200))[5..8], [0x0a, 0xc8, 0x01]);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(decode(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(decode(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2]), Some(2));
        assert_eq!(decode(&[1, 0, 0, 0, 2, 8, 1]), None);
        assert_eq!(decode(&[0, 0, 0]), None);
    }

    /// A server that answers one connection with `status`, or with a gRPC error if there is none.
    async fn serve(status: Option<u8>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                assert_eq!(request.headers()["te"], "trailers");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", if status.is_some() { "0" } else { "5" }.parse().expect("a value"));
                let mut frames: Vec<Result<Frame<Bytes>, std::convert::Infallible>> = Vec::new();
                if let Some(status) = status {
                    frames.push(Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))));
                }
                frames.push(Ok(Frame::trailers(trailers)));
                Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(futures::stream::iter(frames))))
            });
            // The client hangs up as soon as it knows enough.
            let _ = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        port
    }

    #[tokio::test]
    async fn asks_a_real_server() {
        grpc_check("127.0.0.1", serve(Some(1)).await, "svc", "a").await.expect("healthy");
        let error = grpc_check("127.0.0.1", serve(Some(2)).await, "", "a").await.expect_err("unhealthy");
        assert_eq!(error.to_string(), "service unhealthy (responded with \"NOT_SERVING\")");
        let error = grpc_check("127.0.0.1", serve(None).await, "", "a").await.expect_err("refused");
        assert!(matches!(error, GrpcError::Status { code, .. } if code == "5"));
    }
}
