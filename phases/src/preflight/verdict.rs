//! What a check found wrong.

use junio_api::Code;
use junio_api::hint::NextStep;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Warning,
    Error,
}

/// One finding. The names of checks are kubeadm's where kubeadm has the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) check: String,
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) text: String,
    pub(crate) next_step: NextStep,
}

impl Verdict {
    /// Stops the run unless it is ignored. `command` is what the user types next.
    pub(crate) fn error(
        check: impl Into<String>,
        code: &'static str,
        text: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        let next_step = NextStep::command(command);
        Self { check: check.into(), severity: Severity::Error, code: Code(code), text: text.into(), next_step }
    }

    /// Is told and nothing more.
    pub(crate) fn warning(check: impl Into<String>, code: &'static str, text: impl Into<String>) -> Self {
        let next_step = NextStep::default();
        Self { check: check.into(), severity: Severity::Warning, code: Code(code), text: text.into(), next_step }
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.next_step.why = Some(why.into());
        self
    }
}

/// kubeadm's way to make a name of a path.
pub(crate) fn path_name(prefix: &str, path: &std::path::Path) -> String {
    format!("{prefix}-{}", path.display().to_string().replace('/', "-"))
}
