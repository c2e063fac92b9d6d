//! The one door to YAML.
//!
//! Reading strict configuration goes through here so that unknown fields come with line and column; writing goes through
//! here because Go's YAML 1.1 readers take bare `yes`, `on` or `1_000` for something else.

mod object;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use object::object_from_str;

/// A YAML text that could not be read, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, with line and column when known.
    pub message: String,
    /// What is wrong, without its place.
    pub reason: String,
    /// 1-based.
    pub line: Option<u64>,
    /// 1-based.
    pub column: Option<u64>,
}

/// A value that has no YAML form.
#[derive(Debug, thiserror::Error)]
#[error("value has no YAML form: {0}")]
pub struct EmitError(String);

impl EmitError {
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Reads one YAML document.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|e| parse_error(&e))
}

/// Writes one YAML document, strings quoted so that YAML 1.1 and 1.2 readers agree; it ends with a newline. A string without
/// line breaks stays on the line of its key, however long: scripts of users look for `client-key-data: ` with `grep`.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, EmitError> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(|e| EmitError(e.to_string()))
}

/// YAML 1.1 octals (`defaultMode: 0644` is 420) and a budget that admits large CRD bundles.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { legacy_octal_numbers: true, budget: serde_saphyr::budget! { max_nodes: 5_000_000, max_events: 10_000_000 } }
}

fn parse_error(error: &serde_saphyr::Error) -> ParseError {
    let location = error.location();
    ParseError {
        message: error.without_snippet().to_string(),
        reason: serde_saphyr::MessageFormatter::format_message(
            &serde_saphyr::DefaultMessageFormatter,
            error.without_snippet(),
        )
        .into_owned(),
        line: location.map(|l| l.line()),
        column: location.map(|l| l.column()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_string_stays_on_the_line_of_its_key() {
        let value = serde_json::json!({"client-key-data": "QUJD ".repeat(100), "text": "two\nlines\n"});
        let text = super::to_string(&value).expect("YAML");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(super::from_str::<serde_json::Value>(&text).expect("the same"), value);
    }
}
