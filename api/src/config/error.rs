//! What can be wrong with a configuration, with its place in the text.

use std::fmt;

use super::documents::Kind;
use super::schema::{Mistake, Wrong};
use crate::hint::{Code, Hint, NextStep};

/// A place in a text; both numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A text that is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ConfigError {
    pub problem: Problem,
    /// Where in the text, when it is known.
    pub place: Option<Place>,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Malformed(String),
    #[error("this document has no {0}")]
    NoType(&'static str),
    #[error("unknown document {kind} of {api_version}")]
    UnknownKind { api_version: String, kind: String },
    #[error("{kind} of {api_version} is an old version; this junioadm reads kubeadm.k8s.io/v1beta4")]
    OldVersion { api_version: String, kind: String },
    #[error("{0} appears twice")]
    Twice(Kind),
    #[error("unknown field {field:?} in {kind}{}", suggestion.as_ref().map(|s| format!(", did you mean {s:?}?")).unwrap_or_default())]
    UnknownField { kind: Kind, field: String, suggestion: Option<String> },
    /// A component's document does not fit the component's type.
    #[error("{kind}: {mistake}")]
    Component { kind: Kind, mistake: Box<Mistake> },
    #[error("no {0} found")]
    Missing(&'static str),
    #[error("{0} stands beside the Cluster; `apply` takes it inside, below spec.kubeadm")]
    Beside(Kind),
}

impl ConfigError {
    pub(super) fn new(problem: Problem, place: Option<Place>) -> Self {
        Self { problem, place }
    }
}

impl Hint for ConfigError {
    fn code(&self) -> Code {
        Code(match self.problem {
            Problem::Malformed(_) => "CONFIG-MALFORMED",
            Problem::NoType(_) | Problem::UnknownKind { .. } | Problem::Missing(_) | Problem::Beside(_) => {
                "CONFIG-KIND"
            }
            Problem::OldVersion { .. } => "CONFIG-OLD-VERSION",
            Problem::Twice(_) => "CONFIG-DUPLICATE",
            Problem::UnknownField { .. } => "CONFIG-UNKNOWN-FIELD",
            Problem::Component { ref mistake, .. } => match mistake.wrong {
                Wrong::Unknown(_) => "CONFIG-UNKNOWN-FIELD",
                _ => "CONFIG-MALFORMED",
            },
        })
    }

    fn next_step(&self) -> Option<NextStep> {
        Some(match &self.problem {
            Problem::OldVersion { .. } => NextStep::command("junioadm config migrate --old-config FILE"),
            Problem::Beside(_)
            | Problem::Missing("Cluster")
            | Problem::UnknownField { kind: Kind::Cluster, .. }
            | Problem::Twice(Kind::Cluster) => NextStep::command("junioadm config print cluster-defaults"),
            _ => NextStep::command("junioadm config print init-defaults"),
        })
    }
}

/// A value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub kind: Kind,
    /// For example `networking.serviceSubnet` or `bootstrapTokens[0].groups[1]`.
    pub path: String,
    /// What is wrong, without the path.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {}", self.kind, self.path, self.message)
    }
}

/// Something odd that does not stop anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub text: String,
    pub place: Option<Place>,
}
