//! Stable error codes and the next step that an error offers.

use std::fmt;

/// A stable error code, printed as `JUNIO-<NAME>`, for example `JUNIO-PORT-IN-USE`. Codes are API: never renamed, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JUNIO-{}", self.0)
    }
}

/// What a user can do about an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NextStep {
    /// Why this happens, one sentence, when the error itself does not say it.
    pub why: Option<String>,
    /// The next command to type.
    pub command: Option<String>,
    /// A page below `docs/`.
    pub docs: Option<&'static str>,
}

impl NextStep {
    pub fn command(command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..Self::default() }
    }

    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }
}

/// Implemented by every error that a user may see.
pub trait Hint {
    /// The stable code.
    fn code(&self) -> Code;

    /// The next step, if there is one.
    fn next_step(&self) -> Option<NextStep> {
        None
    }

    /// True when the error is the user's, the host's or the network's; false is a bug of ours.
    fn expected(&self) -> bool {
        true
    }
}
