//! An error with its causes as one line, for events, conditions and clients of the server.

use std::error::Error;

/// `what: why: why that`. The kubelet's own errors never repeat their source, so nothing is said twice.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
