//! Exec and attach over WebSocket: one message is one channel byte and its data.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channels::{self, Wanted, WebSocketProtocol};
use super::remote::{Output, Remote, WebSocketOut};
use crate::runtime::TerminalSize;

const QUEUE: usize = 16;
/// How long a client may take to answer the close frame.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Takes over an upgraded connection. Its two tasks end with the connection.
pub fn serve(socket: WebSocket, protocol: WebSocketProtocol, wanted: Wanted) -> Remote {
    let (sink, stream) = socket.split();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (stdin_sender, stdin) = mpsc::channel(QUEUE);
    let (resize_sender, resize) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    let closed = CancellationToken::new();

    let first = if wanted.stdout {
        channels::STDOUT
    } else if wanted.stderr && !wanted.tty {
        channels::STDERR
    } else {
        channels::ERROR
    };
    tokio::spawn(write(sink, receiver, protocol, first, closed.clone()));
    let reader = Reader {
        protocol,
        stdin: wanted.stdin.then_some(stdin_sender),
        resize: wanted.tty.then_some(resize_sender),
        size_text: BytesMut::new(),
    };
    tokio::spawn(reader.run(stream, gone.clone(), closed));

    let output = |channel| Output::WebSocket { channel, sender: sender.clone() };
    Remote {
        stdin: wanted.stdin.then_some(stdin),
        resize: wanted.tty.then_some(resize),
        stdout: wanted.stdout.then(|| output(channels::STDOUT)),
        stderr: (wanted.stderr && !wanted.tty).then(|| output(channels::STDERR)),
        error: output(channels::ERROR),
        error_style: protocol.error,
        gone,
    }
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut receiver: mpsc::Receiver<WebSocketOut>,
    protocol: WebSocketProtocol,
    first: u8,
    closed: CancellationToken,
) {
    // The empty first message tells the client that its channels are ready.
    let mut alive = sink.send(message(protocol, first, &[])).await.is_ok();
    while alive {
        match receiver.recv().await {
            Some(WebSocketOut::Message { channel, data }) => {
                alive = sink.send(message(protocol, channel, &data)).await.is_ok()
            }
            Some(WebSocketOut::Close) | None => break,
        }
    }
    // A client that is gone needs no close frame.
    let _ = sink.send(normal_close()).await;
    closed.cancel();
}

/// The end of a connection that went well; clients take a close frame without a code for a failure.
pub(in crate::server) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::from_static("") }))
}

fn message(protocol: WebSocketProtocol, channel: u8, data: &[u8]) -> Message {
    if protocol.base64 {
        return Message::Text(format!("{channel}{}", STANDARD.encode(data)).into());
    }
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

struct Reader {
    protocol: WebSocketProtocol,
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    /// Sizes are a stream of JSON values, which messages may cut anywhere.
    size_text: BytesMut,
}

impl Reader {
    async fn run(mut self, mut stream: SplitStream<WebSocket>, gone: CancellationToken, closed: CancellationToken) {
        let reading = async {
            while let Some(Ok(message)) = stream.next().await {
                let data = match message {
                    Message::Binary(data) => data,
                    Message::Text(text) => Bytes::from(text),
                    Message::Close(_) => break,
                    Message::Ping(_) | Message::Pong(_) => continue,
                };
                if !self.take(data).await {
                    break;
                }
            }
        };
        let patience = async {
            closed.cancelled().await;
            tokio::time::sleep(CLOSE_WAIT).await;
        };
        tokio::select! {
            () = reading => {}
            () = patience => {}
        }
        gone.cancel();
    }

    /// False ends the connection.
    async fn take(&mut self, message: Bytes) -> bool {
        let Some((&first, rest)) = message.split_first() else { return true };
        if self.protocol.half_close && first == channels::CLOSE {
            if rest == [channels::STDIN] {
                self.stdin = None;
            }
            return rest.len() == 1 && rest[0] <= channels::RESIZE;
        }
        let (channel, data) = if self.protocol.base64 {
            let Ok(data) = STANDARD.decode(rest) else { return false };
            (first.wrapping_sub(b'0'), Bytes::from(data))
        } else {
            (first, message.slice(1..))
        };
        match channel {
            channels::STDIN if !data.is_empty() => {
                if let Some(stdin) = &self.stdin
                    && stdin.send(data).await.is_err()
                {
                    // The process reads no more; the output goes on.
                    self.stdin = None;
                }
            }
            channels::RESIZE => self.resized(&data).await,
            _ => {}
        }
        true
    }

    async fn resized(&mut self, data: &[u8]) {
        let Some(resize) = &self.resize else { return };
        self.size_text.put_slice(data);
        for size in take_sizes(&mut self.size_text) {
            // Sizes that nobody takes are of no use.
            let _ = resize.send(size).await;
        }
    }
}

/// Takes all complete terminal sizes (`{"Width":80,"Height":24}`) off the front of `text`; text that can never become one
/// is dropped.
pub(in crate::server) fn take_sizes(text: &mut BytesMut) -> Vec<TerminalSize> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let mut sizes = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Size>();
    let mut broken = false;
    loop {
        match values.next() {
            Some(Ok(Size { width, height })) => sizes.push(TerminalSize { width, height }),
            Some(Err(error)) => {
                broken = !error.is_eof();
                break;
            }
            None => break,
        }
    }
    let taken = if broken { text.len() } else { values.byte_offset() };
    let _ = text.split_to(taken);
    if text.len() > 4096 {
        text.clear();
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_be_cut_anywhere() {
        let mut text = BytesMut::from(&br#"{"Width":80,"Height":24}{"Wid"#[..]);
        assert_eq!(take_sizes(&mut text), [TerminalSize { width: 80, height: 24 }]);
        text.put_slice(br#"th":1,"Height":2}"#);
        assert_eq!(take_sizes(&mut text), [TerminalSize { width: 1, height: 2 }]);
        text.put_slice(b"garbage");
        assert!(take_sizes(&mut text).is_empty());
        assert!(text.is_empty());
    }
}
