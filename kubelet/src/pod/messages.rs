//! The last words of containers: their termination message file, or the end of their log.

use futures::StreamExt as _;

use crate::container_spec::annotations::{TERMINATION_MESSAGE_FILE, TERMINATION_MESSAGE_POLICY};
use crate::runtime::{ContainerState, LogOptions, PodRuntime, RuntimeContainer};

/// Bytes of one message.
const MAX_BYTES: usize = 4096;
/// Bytes of all messages of a pod together.
const MAX_POD_BYTES: usize = 12 * 1024;
const FALLBACK_LINES: u64 = 80;
const FALLBACK_BYTES: usize = 2048;

/// The message of an exited container of a pod with `containers` containers; empty if it left none.
pub async fn termination_message(runtime: &dyn PodRuntime, container: &RuntimeContainer, containers: usize) -> String {
    let limit = MAX_BYTES.min(MAX_POD_BYTES / containers.max(1));
    let file = container.annotations.get(TERMINATION_MESSAGE_FILE);
    let mut text = file.map(|path| read_start(path, limit)).unwrap_or_default();
    let failed =
        matches!(container.state, ContainerState::Exited { exit_code, started_at: Some(_), .. } if exit_code != 0);
    let fallback =
        container.annotations.get(TERMINATION_MESSAGE_POLICY).is_some_and(|policy| policy == "FallbackToLogsOnError");
    if text.is_empty() && failed && fallback {
        text = log_end(runtime, container).await;
        text = last(&text, FALLBACK_BYTES.min(limit)).to_owned();
    }
    text
}

fn read_start(path: &str, limit: usize) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(limit as u64).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn log_end(runtime: &dyn PodRuntime, container: &RuntimeContainer) -> String {
    let options = LogOptions { tail_lines: Some(FALLBACK_LINES), ..LogOptions::default() };
    let Ok(mut lines) = runtime.logs(&container.id, &options).await else { return String::new() };
    let mut bytes = Vec::new();
    while let Some(Ok(line)) = lines.next().await {
        bytes.extend_from_slice(&line.text);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// At most `limit` bytes of the end, cut at a character.
fn last(text: &str, limit: usize) -> &str {
    let start = (text.len().saturating_sub(limit)..=text.len()).find(|index| text.is_char_boundary(*index));
    &text[start.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_cut_at_a_character() {
        assert_eq!(last("abc", 2), "bc");
        assert_eq!(last("aé", 1), "");
        assert_eq!(last("aé", 2), "é");
        assert_eq!(last("a", 9), "a");
    }
}
