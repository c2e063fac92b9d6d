//! Shows an error once: what, where in the configuration, the chain of causes without repeats, the code, the next step and
//! the debug log.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use junio_api::config::{Place, locate};
use junio_api::hint::Hint;
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::settings::Source;

/// The error for a person.
pub fn text(error: &CommandError, log: Option<&Path>) -> String {
    let mut text = format!("error: {}\n", sentence(error));
    let code = error.code();
    match error {
        CommandError::Config { source_text, error } => text += &excerpt(source_text, error.place),
        CommandError::Invalid { source_text, problems } => {
            for problem in problems {
                let _ = writeln!(text, "  {problem}");
                if let Some(source) = source_text {
                    text += &excerpt(source, locate(&source.text, problem.kind, &problem.path));
                }
            }
        }
        CommandError::Phase(error) if error.failed_checks().len() > 1 => {
            for check in error.failed_checks() {
                let _ = writeln!(text, "\t[ERROR {}]: {}", check.check, check.text);
                // What all of them share is said once, below.
                let shared = check.code == code;
                if let (Some(command), false) = (&check.next_step.command, shared) {
                    let _ = writeln!(text, "\t    repair: {command} ({})", check.code);
                }
            }
        }
        CommandError::Phase(error) => {
            for check in error.failed_checks() {
                let _ = writeln!(text, "\t[ERROR {}]: {}", check.check, check.text);
            }
        }
        _ => {}
    }
    let _ = writeln!(text, "  code: {code} (`junioadm explain {code}` tells more)");
    if let Some(step) = error.next_step() {
        if let Some(why) = step.why {
            let _ = writeln!(text, "  why:  {why}");
        }
        if let Some(command) = step.command {
            let _ = writeln!(text, "  next: {command}");
        }
        if let Some(docs) = step.docs {
            let _ = writeln!(text, "  docs: docs/{docs}");
        }
    }
    if !error.expected() {
        text += "  this is a defect of junioadm; please report it with the log\n";
    }
    if let Some(log) = log {
        let _ = writeln!(text, "  log:  {}", log.display());
    }
    text
}

/// The error as one JSON object, the last line of a run with `--output json`.
pub fn to_json(error: &CommandError, log: Option<&Path>) -> Value {
    let step = error.next_step().unwrap_or_default();
    let problems: Vec<Value> = match error {
        CommandError::Invalid { source_text, problems } => problems
            .iter()
            .map(|problem| {
                let place = source_text.as_ref().and_then(|source| locate(&source.text, problem.kind, &problem.path));
                let field = format!("{}.{}", problem.kind, problem.path);
                json!({ "field": field, "message": problem.message, "line": place.map(|p| p.line), "column": place.map(|p| p.column) })
            })
            .collect(),
        CommandError::Config { error, .. } => {
            vec![json!({ "message": error.to_string(), "line": error.place.map(|p| p.line), "column": error.place.map(|p| p.column) })]
        }
        CommandError::Phase(error) => error
            .failed_checks()
            .iter()
            .map(|check| json!({ "check": check.check, "code": check.code.to_string(), "message": check.text, "next": check.next_step.command }))
            .collect(),
        _ => Vec::new(),
    };
    json!({
        "type": "error",
        "code": error.code().to_string(),
        "message": sentence(error),
        "problems": problems,
        "why": step.why,
        "next": step.command,
        "expected": error.expected(),
        "exitCode": error.exit() as u8,
        "log": log.map(|log| log.display().to_string()),
    })
}

/// The error and its causes in one line; a cause that the text before it already says is left out.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !said.is_empty() && !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// `--> FILE:LINE:COLUMN`, and the line itself with a mark below the column.
fn excerpt(source: &Source, place: Option<Place>) -> String {
    let Some(Place { line, column }) = place else { return format!("  --> {}\n", source.name) };
    let mut text = format!("  --> {}:{line}:{column}\n", source.name);
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    if let Some(content) = source.text.lines().nth(index) {
        let (number, gutter) = (line.to_string(), " ".repeat(line.to_string().len()));
        let before: String = content
            .chars()
            .take(usize::try_from(column).unwrap_or(1).saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let _ = writeln!(text, "  {gutter} |\n  {number} | {}\n  {gutter} | {before}^", without_secret(content));
    }
    text
}

/// A line of configuration that may hold a secret shows only its key.
fn without_secret(line: &str) -> String {
    let Some((key, value)) = line.split_once(':') else { return line.to_owned() };
    let name = key.trim().trim_start_matches("- ").trim_matches('"').to_lowercase();
    let secret = ["token", "tlsbootstraptoken", "certificatekey"].contains(&name.as_str())
        || ["token", "secret", "password", "certificatekey"]
            .iter()
            .any(|word| value.to_lowercase().contains(&format!("{word}:")))
        || value.to_lowercase().contains("token\":");
    if secret && !value.trim().is_empty() { format!("{key}: [REDACTED]") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_secrets_show_only_their_key() {
        assert_eq!(without_secret("- token: abcdef.x"), "- token: [REDACTED]");
        assert_eq!(without_secret("certificateKey: 00ff"), "certificateKey: [REDACTED]");
        assert_eq!(without_secret("bootstrapTokens: [{token: a.b}]"), "bootstrapTokens: [REDACTED]");
        assert_eq!(without_secret("{\"discovery\": {\"token\": \"a\"}}"), "{\"discovery\": [REDACTED]");
        assert_eq!(without_secret("networking: {podSubnet: x}"), "networking: {podSubnet: x}");
        assert_eq!(without_secret("bootstrapTokens:"), "bootstrapTokens:");
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read x")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("read x")]
        struct Inner(#[source] std::io::Error);
        let error = Outer(Inner(std::io::Error::other("no such file")));
        assert_eq!(sentence(&error), "cannot read x: no such file");
    }

    #[test]
    fn an_excerpt_points_at_the_column() {
        let source = Source { name: "a.yaml".into(), text: "a: 1\n  bad: 2\n".into() };
        let shown = excerpt(&source, Some(Place { line: 2, column: 3 }));
        assert_eq!(shown, "  --> a.yaml:2:3\n    |\n  2 |   bad: 2\n    |   ^\n");
    }
}
