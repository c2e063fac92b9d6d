//! The text format, version 0.0.4: a help and a type line, then a line per sample.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// A document that grows family by family.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

/// Samples of one name.
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Exposition {
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, text: &mut self.text }
    }

    #[cfg(test)]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample; `at` is when it was taken, where that matters.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64, at: Option<SystemTime>) {
        self.line("", labels, value, at);
    }

    /// One histogram: cumulative counts by upper bound, and the sum and number of all observations.
    pub fn distribution(&mut self, labels: &[(&str, &str)], buckets: &[(f64, u64)], sum: f64, count: u64) {
        for (bound, below) in buckets {
            let bound = bound.to_string();
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), number(*below), None);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), number(count), None);
        self.line("_sum", labels, sum, None);
        self.line("_count", labels, number(count), None);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64, at: Option<SystemTime>) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        if !labels.is_empty() {
            let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let _ = write!(self.text, "{{{}}}", pairs.join(","));
        }
        let _ = write!(self.text, " {value}");
        if let Some(since) = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            let _ = write!(self.text, " {}", since.as_millis());
        }
        self.text.push('\n');
    }
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.text).into_response()
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Nanoseconds as seconds.
pub fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Counts and sizes; the format has no other numbers.
#[expect(clippy::cast_precision_loss, reason = "the text format has 64-bit floating point numbers only")]
pub fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_times_are_milliseconds() {
        let mut text = Exposition::default();
        text.gauge("a", "Text.").sample(&[("l", "x\"\\\n")], 1.5, Some(UNIX_EPOCH + Duration::from_millis(1250)));
        text.counter("b", "More.").sample(&[], number(3), None);
        assert_eq!(
            text.into_text(),
            "# HELP a Text.\n# TYPE a gauge\na{l=\"x\\\"\\\\\\n\"} 1.5 1250\n# HELP b More.\n# TYPE b counter\nb 3\n"
        );
    }
}
