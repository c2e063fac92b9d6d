//! How a lab tells what it does. The binary prints; this crate never does.

use crate::exec::OutputStream;

/// Told about the course of `up` and `down`. Calls come in order; none may block for long.
pub trait Progress: Send + Sync {
    /// A step begins, for example `building the image of a bookworm lab host (about 40 s, once)`.
    fn step(&self, text: &str);

    /// A piece of output of a command that runs on a host, unchanged, for example of `junioadm init`.
    fn output(&self, host: &str, stream: OutputStream, bytes: &[u8]);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn step(&self, _text: &str) {}

    fn output(&self, _host: &str, _stream: OutputStream, _bytes: &[u8]) {}
}
