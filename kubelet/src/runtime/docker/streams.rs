//! The engine's hijacked connections as separate streams. Without a terminal output comes in frames of
//! `[stream, 0, 0, 0, length as big-endian u32]` (Docker Engine API, "Attach to a container"); with one it is raw.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::task::AbortOnDropHandle;

use super::socket::Upgraded;

/// Bytes that wait between the engine and a slow reader.
const BUFFER: usize = 64 * 1024;
const CHUNK: usize = 32 * 1024;
const HEADER: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

/// Takes framed or raw output apart.
pub(super) struct Output<R> {
    reader: R,
    framed: bool,
    channel: Channel,
    left: usize,
    chunk: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Output<R> {
    pub fn new(reader: R, tty: bool) -> Self {
        Self { reader, framed: !tty, channel: Channel::Stdout, left: 0, chunk: vec![0; CHUNK] }
    }

    /// The next piece, never empty; `None` at the end. A connection cut inside a frame is `UnexpectedEof`.
    pub async fn next(&mut self) -> io::Result<Option<(Channel, &[u8])>> {
        let mut limit = CHUNK;
        if self.framed {
            while self.left == 0 {
                let Some(header) = self.header().await? else { return Ok(None) };
                self.channel = if header[0] == 2 { Channel::Stderr } else { Channel::Stdout };
                self.left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            }
            limit = limit.min(self.left);
        }
        let count = self.reader.read(&mut self.chunk[..limit]).await?;
        if count == 0 {
            return if self.framed { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        }
        self.left = self.left.saturating_sub(count);
        Ok(Some((self.channel, &self.chunk[..count])))
    }

    async fn header(&mut self) -> io::Result<Option<[u8; HEADER]>> {
        let mut header = [0; HEADER];
        let mut filled = 0;
        while filled < HEADER {
            match self.reader.read(&mut header[filled..]).await? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(Some(header))
    }
}

/// The separate streams of one connection.
pub(super) struct Streams {
    pub stdin: WriteHalf<Upgraded>,
    pub stdout: DuplexStream,
    pub stderr: DuplexStream,
    /// Ends when all output was handed over; dropping it closes the connection's reading side.
    pub pump: AbortOnDropHandle<io::Result<()>>,
}

pub(super) fn split(connection: Upgraded, tty: bool) -> Streams {
    let (reader, stdin) = tokio::io::split(connection);
    let (stdout, stdout_sink) = tokio::io::duplex(BUFFER);
    let (stderr, stderr_sink) = tokio::io::duplex(BUFFER);
    let pump = AbortOnDropHandle::new(tokio::spawn(pump(reader, tty, stdout_sink, stderr_sink)));
    Streams { stdin, stdout, stderr, pump }
}

/// Output that nobody reads is thrown away: the process must not block on it.
async fn pump(reader: ReadHalf<Upgraded>, tty: bool, stdout: DuplexStream, stderr: DuplexStream) -> io::Result<()> {
    let mut output = Output::new(reader, tty);
    let (mut stdout, mut stderr) = (Some(stdout), Some(stderr));
    while let Some((channel, bytes)) = output.next().await? {
        match channel {
            Channel::Stdout => give(&mut stdout, bytes).await,
            Channel::Stderr => give(&mut stderr, bytes).await,
        }
    }
    Ok(())
}

async fn give(sink: &mut Option<impl AsyncWrite + Unpin>, bytes: &[u8]) {
    if let Some(writer) = sink
        && writer.write_all(bytes).await.is_err()
    {
        *sink = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8], tty: bool) -> io::Result<Vec<(Channel, Vec<u8>)>> {
        let mut output = Output::new(bytes, tty);
        let mut found = Vec::new();
        while let Some((channel, piece)) = output.next().await? {
            found.push((channel, piece.to_vec()));
        }
        Ok(found)
    }

    #[tokio::test]
    async fn frames_are_taken_apart_and_empty_ones_skipped() {
        let bytes = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01!";
        let found = read_all(bytes, false).await.expect("whole frames");
        assert_eq!(found, [(Channel::Stdout, b"hi".to_vec()), (Channel::Stderr, b"!".to_vec())]);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error() {
        assert!(read_all(b"\x01\0\0\0\0\0\0\x05hi", false).await.is_err());
        assert!(read_all(b"\x01\0\0", false).await.is_err());
    }

    #[tokio::test]
    async fn a_terminal_is_never_interpreted() {
        let bytes = b"\x01\0\0\0\0\0\0\x02hi";
        let found = read_all(bytes, true).await.expect("raw bytes");
        assert_eq!(found, [(Channel::Stdout, bytes.to_vec())]);
    }
}
