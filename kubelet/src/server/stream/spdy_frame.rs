//! SPDY/3.1 framing: bytes to frames and back, no I/O.
//!
//! Source: the SPDY/3 and 3.1 drafts. Only what a server for Kubernetes' remote commands needs: no flow control (clients
//! built on Go's spdystream never send WINDOW_UPDATE, so a server that waited for a window would stall at 64 KiB), no
//! priorities, no server push.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The preset dictionary of SPDY/3 header blocks (draft 3, section 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("spdy3.dictionary");

const VERSION: u16 = 3;
const HEADER: usize = 8;
/// Clients send frames of at most 32 KiB; a bigger one is an attack or a bug.
const MAX_FRAME: usize = 1 << 20;
/// Uncompressed header block.
const MAX_HEADERS: usize = 64 << 10;
const MAX_HEADER_PAIRS: u32 = 64;

const FLAG_FIN: u8 = 0x01;

/// A frame, header blocks already decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        headers: Vec<(String, String)>,
    },
    SynReply {
        stream: u32,
        headers: Vec<(String, String)>,
    },
    Headers {
        stream: u32,
        fin: bool,
        headers: Vec<(String, String)>,
    },
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    RstStream {
        stream: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
    GoAway {
        last_stream: u32,
        status: u32,
    },
    /// SETTINGS, WINDOW_UPDATE and the like, which a server may ignore.
    Ignored {
        kind: u16,
    },
}

/// What a peer sent is not SPDY/3.1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("SPDY version {0}, expected 3")]
    Version(u16),
    #[error("SPDY frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("SPDY frame of type {kind} with {length} bytes is malformed")]
    Malformed { kind: u16, length: usize },
    #[error("SPDY header block cannot be decompressed")]
    Compression,
    #[error("SPDY header block is malformed")]
    HeaderBlock,
}

/// Reads frames; one per connection, because all header blocks share one zlib stream.
pub struct Decoder {
    inflate: Decompress,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { inflate: Decompress::new(true) }
    }
}

impl Decoder {
    /// Takes the next frame off `buffer`; `None` when more bytes are needed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if buffer.len() < HEADER {
            return Ok(None);
        }
        let length = usize::from(buffer[5]) << 16 | usize::from(buffer[6]) << 8 | usize::from(buffer[7]);
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge(length));
        }
        if buffer.len() < HEADER + length {
            buffer.reserve(HEADER + length - buffer.len());
            return Ok(None);
        }
        let mut frame = buffer.split_to(HEADER + length).freeze();
        let word = frame.get_u32();
        let flags = frame.get_u8();
        frame.advance(3);
        let fin = flags & FLAG_FIN != 0;
        if word & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { stream: word, fin, data: frame }));
        }
        let version = (word >> 16 & 0x7fff) as u16;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.control((word & 0xffff) as u16, fin, frame).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, FrameError> {
        let length = body.len();
        let need = |bytes: usize| if length < bytes { Err(FrameError::Malformed { kind, length }) } else { Ok(()) };
        Ok(match kind {
            1 => {
                need(10)?;
                let stream = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Frame::SynStream { stream, fin, headers: self.headers(&body)? }
            }
            2 => {
                need(4)?;
                let stream = body.get_u32() & 0x7fff_ffff;
                Frame::SynReply { stream, headers: self.headers(&body)? }
            }
            3 => {
                need(8)?;
                Frame::RstStream { stream: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            6 => {
                need(4)?;
                Frame::Ping { id: body.get_u32() }
            }
            7 => {
                need(8)?;
                Frame::GoAway { last_stream: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            8 => {
                need(4)?;
                let stream = body.get_u32() & 0x7fff_ffff;
                Frame::Headers { stream, fin, headers: self.headers(&body)? }
            }
            kind => Frame::Ignored { kind },
        })
    }

    fn headers(&mut self, compressed: &[u8]) -> Result<Vec<(String, String)>, FrameError> {
        let block = self.inflate_block(compressed)?;
        parse_headers(&block).ok_or(FrameError::HeaderBlock)
    }

    fn inflate_block(&mut self, compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut output = Vec::new();
        let mut chunk = [0u8; 4096];
        let mut input = compressed;
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self.inflate.decompress(input, &mut chunk, FlushDecompress::Sync);
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the slices handed in")]
            let (consumed, produced) =
                ((self.inflate.total_in() - before_in) as usize, (self.inflate.total_out() - before_out) as usize);
            input = &input[consumed..];
            output.extend_from_slice(&chunk[..produced]);
            if output.len() > MAX_HEADERS {
                return Err(FrameError::HeaderBlock);
            }
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(DICTIONARY).map_err(|_| FrameError::Compression)?;
                }
                Err(_) => return Err(FrameError::Compression),
                // A sync flush ends the block: all input is read and the output did not fill the chunk.
                Ok(Status::Ok | Status::BufError | Status::StreamEnd) => {
                    if input.is_empty() && produced < chunk.len() {
                        return Ok(output);
                    }
                    if consumed == 0 && produced == 0 {
                        return Err(FrameError::Compression);
                    }
                }
            }
        }
    }
}

fn parse_headers(block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut block = block;
    let text = |block: &mut &[u8]| -> Option<String> {
        let length = block.try_get_u32().ok()? as usize;
        let (text, rest) = block.split_at_checked(length)?;
        *block = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let pairs = block.try_get_u32().ok()?;
    if pairs > MAX_HEADER_PAIRS {
        return None;
    }
    (0..pairs).map(|_| Some((text(&mut block)?, text(&mut block)?))).collect()
}

/// Writes frames; one per connection, because all header blocks share one zlib stream.
pub struct Encoder {
    deflate: Compress,
}

impl Encoder {
    /// Fails only when the compressor refuses the preset dictionary.
    pub fn new() -> Result<Self, FrameError> {
        let mut deflate = Compress::new(Compression::new(6), true);
        deflate.set_dictionary(DICTIONARY).map_err(|_| FrameError::Compression)?;
        Ok(Self { deflate })
    }

    /// Appends `frame` to `out`.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        match frame {
            Frame::Data { stream, fin, data } => {
                out.put_u32(stream & 0x7fff_ffff);
                put_flags_and_length(out, *fin, data.len());
                out.put_slice(data);
            }
            Frame::SynStream { stream, fin, headers } => {
                let block = self.compress(headers)?;
                put_control(out, 1, *fin, 10 + block.len());
                out.put_u32(*stream);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(&block);
            }
            Frame::SynReply { stream, headers } => {
                let block = self.compress(headers)?;
                put_control(out, 2, false, 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(&block);
            }
            Frame::Headers { stream, fin, headers } => {
                let block = self.compress(headers)?;
                put_control(out, 8, *fin, 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(&block);
            }
            Frame::RstStream { stream, status } => {
                put_control(out, 3, false, 8);
                out.put_u32(*stream);
                out.put_u32(*status);
            }
            Frame::Ping { id } => {
                put_control(out, 6, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway { last_stream, status } => {
                put_control(out, 7, false, 8);
                out.put_u32(*last_stream);
                out.put_u32(*status);
            }
            Frame::Ignored { .. } => {}
        }
        Ok(())
    }

    fn compress(&mut self, headers: &[(String, String)]) -> Result<Vec<u8>, FrameError> {
        let mut block = BytesMut::new();
        let length = |n: usize| u32::try_from(n).map_err(|_| FrameError::HeaderBlock);
        block.put_u32(length(headers.len())?);
        for (name, value) in headers {
            for text in [name, value] {
                block.put_u32(length(text.len())?);
                block.put_slice(text.as_bytes());
            }
        }
        let mut input = &block[..];
        let mut output = Vec::with_capacity(block.len() + 64);
        loop {
            let before = self.deflate.total_in();
            output.reserve(256);
            let room = output.capacity() - output.len();
            let written = output.len();
            self.deflate.compress_vec(input, &mut output, FlushCompress::Sync).map_err(|_| FrameError::Compression)?;
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the slice handed in")]
            let consumed = (self.deflate.total_in() - before) as usize;
            input = &input[consumed..];
            if input.is_empty() && output.len() - written < room {
                return Ok(output);
            }
        }
    }
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_flags_and_length(out, fin, length);
}

/// Callers keep frames below 2^24 bytes.
fn put_flags_and_length(out: &mut BytesMut, fin: bool, length: usize) {
    out.put_u8(if fin { FLAG_FIN } else { 0 });
    out.put_uint(length as u64 & 0x00ff_ffff, 3);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(frames: &[Frame]) {
        let (mut encoder, mut decoder) = (Encoder::new().expect("dictionary"), Decoder::default());
        let mut wire = BytesMut::new();
        for frame in frames {
            encoder.encode(frame, &mut wire).expect("encodes");
        }
        // One byte at a time: a frame must never be taken before it is whole.
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for byte in wire {
            buffer.put_u8(byte);
            while let Some(frame) = decoder.decode(&mut buffer).expect("decodes") {
                seen.push(frame);
            }
        }
        assert_eq!(seen, frames);
    }

    #[test]
    fn frames_round_trip_with_shared_compression() {
        let headers =
            |n: u32| vec![("streamtype".to_owned(), "stdin".to_owned()), ("requestid".to_owned(), n.to_string())];
        let mut frames: Vec<Frame> =
            (0..40).map(|n| Frame::SynStream { stream: 2 * n + 1, fin: n % 2 == 0, headers: headers(n) }).collect();
        frames.push(Frame::SynReply { stream: 1, headers: vec![] });
        frames.push(Frame::Headers { stream: 3, fin: true, headers: vec![("a".into(), "x".repeat(20_000))] });
        frames.push(Frame::Data { stream: 1, fin: true, data: Bytes::from(vec![7; 70_000]) });
        frames.push(Frame::Ping { id: 9 });
        frames.push(Frame::RstStream { stream: 5, status: 1 });
        frames.push(Frame::GoAway { last_stream: 5, status: 0 });
        round_trip(&frames);
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let cases: [(&[u8], FrameError); 4] = [
            (&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], FrameError::Version(2)),
            (&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff], FrameError::TooLarge(0x00ff_ffff)),
            (&[0x80, 3, 0, 6, 0, 0, 0, 1, 0], FrameError::Malformed { kind: 6, length: 1 }),
            (&[0x80, 3, 0, 2, 0, 0, 0, 8, 0, 0, 0, 1, 1, 2, 3, 4], FrameError::Compression),
        ];
        for (bytes, error) in cases {
            assert_eq!(Decoder::default().decode(&mut BytesMut::from(bytes)), Err(error));
        }
    }
}
