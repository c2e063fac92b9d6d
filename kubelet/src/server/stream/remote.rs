//! The meeting point of a client's streams, whatever their protocol, and a container engine's streams.

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channels::ErrorStyle;
use super::spdy_frame::Frame;
use crate::error_chain::chain;
use crate::runtime::{RuntimeError, StreamSession, TerminalSize};

const CHUNK: usize = 32 << 10;

/// A client's side of a remote command.
pub struct Remote {
    /// Ends when the client closes its input.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
    pub stdout: Option<Output>,
    pub stderr: Option<Output>,
    pub error: Output,
    pub error_style: ErrorStyle,
    /// Cancelled when the client is gone.
    pub gone: CancellationToken,
}

/// One writable channel of a client.
#[derive(Clone)]
pub enum Output {
    WebSocket { channel: u8, sender: mpsc::Sender<WebSocketOut> },
    Spdy { stream: u32, sender: mpsc::Sender<Frame> },
}

/// What a WebSocket's writer is told.
pub enum WebSocketOut {
    Message {
        channel: u8,
        data: Bytes,
    },
    /// Send the close frame and end.
    Close,
}

impl Output {
    /// False when the client is gone.
    pub async fn send(&self, data: Bytes) -> bool {
        match self {
            Self::WebSocket { channel, sender } => {
                sender.send(WebSocketOut::Message { channel: *channel, data }).await.is_ok()
            }
            Self::Spdy { stream, sender } => {
                sender.send(Frame::Data { stream: *stream, fin: false, data }).await.is_ok()
            }
        }
    }

    /// Ends this channel only; a WebSocket's server side has no such message.
    pub async fn finish(&self) {
        if let Self::Spdy { stream, sender } = self {
            // A client that is gone needs no end of stream.
            let _ = sender.send(Frame::Data { stream: *stream, fin: true, data: Bytes::new() }).await;
        }
    }

    /// Ends the whole connection after everything that was sent before.
    pub async fn close_connection(&self) {
        match self {
            Self::WebSocket { sender, .. } => {
                let _ = sender.send(WebSocketOut::Close).await;
            }
            Self::Spdy { sender, .. } => {
                let _ = sender.send(Frame::GoAway { last_stream: 0, status: 0 }).await;
            }
        }
    }
}

/// Joins both sides until the command ends or the client leaves; the error channel is always written last.
pub async fn run(session: Result<StreamSession, RuntimeError>, remote: Remote) {
    let Remote { stdin, resize, stdout, stderr, error, error_style, gone } = remote;
    let outcome = match session {
        Ok(session) => {
            let copying = async {
                let input = pump_input(session.stdin, stdin);
                let sizes = pump_sizes(session.resize, resize);
                let output = async {
                    let (_, _, code) = tokio::join!(
                        pump_output(session.stdout, stdout),
                        pump_output(session.stderr, stderr),
                        session.exit
                    );
                    code
                };
                tokio::pin!(output);
                // Input never ends the session: a client may close it long before the output is complete.
                let feeding = async {
                    tokio::join!(input, sizes);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    code = &mut output => Some(code),
                    () = feeding => None,
                    () = gone.cancelled() => None,
                }
            };
            match copying.await {
                Some(outcome) => outcome,
                None => return,
            }
        }
        Err(failure) => Err(failure),
    };
    if let Some(text) = closing_text(&outcome, error_style) {
        error.send(Bytes::from(text)).await;
    }
    error.finish().await;
    error.close_connection().await;
}

async fn pump_input(engine: Option<Box<dyn AsyncWrite + Send + Unpin>>, client: Option<mpsc::Receiver<Bytes>>) {
    let (Some(mut engine), Some(mut client)) = (engine, client) else { return };
    while let Some(data) = client.recv().await {
        if engine.write_all(&data).await.is_err() || engine.flush().await.is_err() {
            // The process closed its input; what the client still sends is dropped.
            client.close();
            return;
        }
    }
    // The engine may have ended already.
    let _ = engine.shutdown().await;
}

async fn pump_sizes(engine: Option<mpsc::Sender<TerminalSize>>, client: Option<mpsc::Receiver<TerminalSize>>) {
    let (Some(engine), Some(mut client)) = (engine, client) else { return };
    while let Some(size) = client.recv().await {
        if engine.send(size).await.is_err() {
            return;
        }
    }
}

async fn pump_output(engine: Option<Box<dyn AsyncRead + Send + Unpin>>, client: Option<Output>) {
    let Some(mut engine) = engine else { return };
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        match engine.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let data = buffer.split().freeze();
                // Without a taker the output is still read, so that the process does not block on it.
                if let Some(client) = &client
                    && !client.send(data).await
                {
                    break;
                }
            }
        }
    }
    if let Some(client) = client {
        client.finish().await;
    }
}

/// What the error channel says at the end; `None` when the protocol has nothing to say.
fn closing_text(outcome: &Result<i32, RuntimeError>, style: ErrorStyle) -> Option<String> {
    let (message, reason, details) = match outcome {
        Ok(0) => {
            return (style == ErrorStyle::Status).then(|| json!({"metadata": {}, "status": "Success"}).to_string());
        }
        Ok(code) => (
            format!("command terminated with non-zero exit code: exit status {code}"),
            "NonZeroExitCode",
            json!({"causes": [{"reason": "ExitCode", "message": code.to_string()}]}),
        ),
        Err(failure) => (chain(failure), "InternalError", json!({})),
    };
    Some(match style {
        ErrorStyle::Text => message,
        ErrorStyle::Status => {
            let mut status =
                json!({"metadata": {}, "status": "Failure", "message": message, "reason": reason, "details": details});
            if outcome.is_err() {
                status["code"] = json!(500);
            }
            status.to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_reach_the_client() {
        let status: serde_json::Value =
            serde_json::from_str(&closing_text(&Ok(7), ErrorStyle::Status).expect("status")).expect("json");
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "7");
        assert_eq!(closing_text(&Ok(0), ErrorStyle::Text), None);
        assert!(closing_text(&Ok(0), ErrorStyle::Status).expect("status").contains("Success"));
    }
}
