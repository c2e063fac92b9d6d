//! What happens during a run, told to whoever shows it. One enum serves bars, plain lines and NDJSON.
//!
//! Events carry no secrets.

use std::time::Duration;

use junio_api::Code;
use serde::{Serialize, Serializer};

use crate::phase_id::PhaseId;

/// One thing that happened. Serialized as an object with `type` in kebab-case; durations are milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    PhaseStarted {
        phase: PhaseId,
    },
    PhaseFinished {
        phase: PhaseId,
        outcome: Outcome,
        #[serde(rename = "elapsedMs", serialize_with = "millis")]
        elapsed: Duration,
    },
    /// A line as kubeadm prints it: `[bracket] text`.
    Line {
        phase: PhaseId,
        bracket: &'static str,
        text: String,
    },
    /// Bytes or items of a long step, for a bar; ends with `done == total`.
    Progress {
        phase: PhaseId,
        what: String,
        done: u64,
        total: u64,
    },
    /// A wait began, or what blocks it changed.
    Waiting {
        phase: PhaseId,
        what: String,
        #[serde(rename = "deadlineMs", serialize_with = "millis")]
        deadline: Duration,
        blocked_by: Option<String>,
    },
    /// The wait for `what` ended well.
    Waited {
        phase: PhaseId,
        what: String,
        #[serde(rename = "elapsedMs", serialize_with = "millis")]
        elapsed: Duration,
    },
    /// Something that does not stop the run. `check` is a preflight check's name.
    Warning {
        phase: Option<PhaseId>,
        check: Option<String>,
        #[serde(serialize_with = "optional_code")]
        code: Option<Code>,
        text: String,
    },
    /// A preflight check that failed; the error at the end holds them all with their repair.
    CheckFailed {
        check: String,
        #[serde(serialize_with = "code_text")]
        code: Code,
        text: String,
    },
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It changed something.
    Done,
    /// Everything was there already and right.
    Reused,
    /// Not wanted, by `--skip-phases` or by configuration.
    Skipped,
}

/// Receives events, from several tasks at once.
pub trait Reporter: Send + Sync {
    fn event(&self, event: &Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: &Event) {}
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn code_text<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(code)
}

fn optional_code<S: Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => serializer.collect_str(code),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_flat_json_objects() {
        let event = Event::PhaseFinished {
            phase: PhaseId::CertsCa,
            outcome: Outcome::Reused,
            elapsed: Duration::from_millis(12),
        };
        assert_eq!(
            serde_json::to_string(&event).expect("plain data"),
            r#"{"type":"phase-finished","phase":"certs/ca","outcome":"reused","elapsedMs":12}"#
        );
    }
}
