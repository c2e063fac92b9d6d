//! A SPDY/3.1 server connection: streams that the client opens, on any byte stream.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::remote::Output;
use super::spdy_frame::{Decoder, Encoder, Frame, FrameError};

const QUEUE: usize = 16;
const MAX_STREAMS: usize = 1024;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 3;
/// How long a client may take to close after our end.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// A connection; its two tasks end with it.
pub struct Connection {
    /// Streams in the order in which the client opened them.
    pub streams: mpsc::Receiver<Stream>,
    /// Cancelled when the client is gone.
    pub gone: CancellationToken,
}

/// A stream that the client opened; the reply was sent.
pub struct Stream {
    pub id: u32,
    headers: Vec<(String, String)>,
    /// Ends with the client's half-close.
    pub data: mpsc::Receiver<Bytes>,
    pub output: Output,
}

impl Stream {
    /// A header by its name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Takes over a byte stream. Fails only when the compressor refuses its dictionary.
pub fn serve<T: AsyncRead + AsyncWrite + Send + 'static>(io: T) -> Result<Connection, FrameError> {
    let encoder = Encoder::new()?;
    let (read, write) = tokio::io::split(io);
    let (frames, to_write) = mpsc::channel(QUEUE);
    let (opened, streams) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    let closed = CancellationToken::new();
    tokio::spawn(write_frames(write, encoder, to_write, closed.clone()));
    let reader = Reader { open: HashMap::new(), last_stream: 0, frames, opened };
    tokio::spawn(reader.run(read, gone.clone(), closed));
    Ok(Connection { streams, gone })
}

async fn write_frames<T: AsyncWrite>(
    mut io: WriteHalf<T>,
    mut encoder: Encoder,
    mut frames: mpsc::Receiver<Frame>,
    closed: CancellationToken,
) {
    let mut buffer = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        let last = matches!(frame, Frame::GoAway { .. });
        let sent = encoder.encode(&frame, &mut buffer).is_ok()
            && io.write_all_buf(&mut buffer).await.is_ok()
            && io.flush().await.is_ok();
        if last || !sent {
            break;
        }
    }
    // The client may be gone already.
    let _ = io.shutdown().await;
    closed.cancel();
}

struct Reader {
    /// Streams whose client side is still open.
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    last_stream: u32,
    frames: mpsc::Sender<Frame>,
    opened: mpsc::Sender<Stream>,
}

impl Reader {
    async fn run<T: AsyncRead>(mut self, mut io: ReadHalf<T>, gone: CancellationToken, closed: CancellationToken) {
        let reading = async {
            let mut decoder = Decoder::default();
            let mut buffer = BytesMut::with_capacity(32 << 10);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(frame)) => {
                        if !self.take(frame).await {
                            return;
                        }
                    }
                    Ok(None) => match io.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                    Err(error) => {
                        tracing::debug!(%error, "SPDY client ended");
                        let _ = self
                            .frames
                            .send(Frame::GoAway { last_stream: self.last_stream, status: PROTOCOL_ERROR })
                            .await;
                        return;
                    }
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
    async fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::SynStream { stream, fin, headers } => self.open_stream(stream, fin, headers).await,
            Frame::Data { stream, fin, data } => {
                let mut end = fin;
                if let Some(sender) = self.open.get(&stream)
                    && !data.is_empty()
                {
                    end |= sender.send(data).await.is_err();
                }
                if end {
                    self.open.remove(&stream);
                }
                true
            }
            Frame::Headers { stream, fin: true, .. } | Frame::RstStream { stream, .. } => {
                self.open.remove(&stream);
                true
            }
            Frame::Ping { id } => self.frames.send(Frame::Ping { id }).await.is_ok(),
            Frame::GoAway { .. } => {
                self.open.clear();
                true
            }
            Frame::Headers { .. } | Frame::SynReply { .. } | Frame::Ignored { .. } => true,
        }
    }

    async fn open_stream(&mut self, id: u32, fin: bool, headers: Vec<(String, String)>) -> bool {
        // Clients use odd, growing numbers.
        if id.is_multiple_of(2) || id <= self.last_stream {
            return self.frames.send(Frame::RstStream { stream: id, status: PROTOCOL_ERROR }).await.is_ok();
        }
        self.last_stream = id;
        if self.open.len() >= MAX_STREAMS {
            return self.frames.send(Frame::RstStream { stream: id, status: REFUSED_STREAM }).await.is_ok();
        }
        let (sender, data) = mpsc::channel(QUEUE);
        if !fin {
            self.open.insert(id, sender);
        }
        let output = Output::Spdy { stream: id, sender: self.frames.clone() };
        self.frames.send(Frame::SynReply { stream: id, headers: Vec::new() }).await.is_ok()
            && self.opened.send(Stream { id, headers, data, output }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_open_carry_data_and_half_close() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut connection = serve(server).expect("serves");
        let mut encoder = Encoder::new().expect("dictionary");
        let mut wire = BytesMut::new();
        for frame in [
            Frame::SynStream { stream: 1, fin: false, headers: vec![("streamtype".into(), "stdin".into())] },
            Frame::Data { stream: 1, fin: false, data: Bytes::from_static(b"hello") },
            Frame::Data { stream: 1, fin: true, data: Bytes::new() },
            Frame::Ping { id: 5 },
        ] {
            encoder.encode(&frame, &mut wire).expect("encodes");
        }
        client.write_all(&wire).await.expect("writes");

        let mut stream = connection.streams.recv().await.expect("a stream");
        assert_eq!(stream.header("StreamType"), Some("stdin"));
        assert_eq!(stream.data.recv().await.expect("data"), "hello");
        assert!(stream.data.recv().await.is_none());
        assert!(stream.output.send(Bytes::from_static(b"bye")).await);
        stream.output.close_connection().await;

        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        loop {
            while let Some(frame) = decoder.decode(&mut buffer).expect("decodes") {
                seen.push(frame);
            }
            if client.read_buf(&mut buffer).await.expect("reads") == 0 {
                break;
            }
        }
        assert!(matches!(seen[0], Frame::SynReply { stream: 1, .. }));
        assert!(seen.contains(&Frame::Ping { id: 5 }));
        assert!(seen.contains(&Frame::Data { stream: 1, fin: false, data: Bytes::from_static(b"bye") }));
        assert!(matches!(seen.last(), Some(Frame::GoAway { .. })));
    }
}
