//! Why a run stopped, with the phase it happened in.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};

use crate::patches::PatchesError;
use crate::phase_id::PhaseId;

/// What exit code an error deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Bad options or configuration (2).
    Usage,
    /// A check failed and nothing was changed (3).
    Preflight,
    /// A phase failed (4).
    Phase,
    /// The user interrupted (130).
    Interrupted,
    /// A defect of junioadm (1).
    Bug,
}

/// A failure and where it happened. `Display` does not repeat the cause; walk `source()`.
#[derive(Debug, thiserror::Error)]
#[error("{}", headline(*.phase))]
pub struct PhaseError {
    /// The phase that failed; `None` before the first one.
    pub phase: Option<PhaseId>,
    #[source]
    pub cause: Box<Cause>,
}

fn headline(phase: Option<PhaseId>) -> String {
    phase.map_or_else(|| "cannot start".to_owned(), |phase| format!("phase {phase} failed"))
}

/// A preflight check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// kubeadm's name of the check, the one that `--ignore-preflight-errors` takes.
    pub check: String,
    pub code: Code,
    pub text: String,
    pub next_step: NextStep,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    #[error("{} pre-flight {} failed", .0.len(), if .0.len() == 1 { "check" } else { "checks" })]
    Preflight(Vec<CheckFailure>),
    #[error("interrupted")]
    Interrupted,
    #[error("another run holds the lock {}: {owner}", .path.display())]
    Locked { path: PathBuf, owner: String },
    #[error("{what} did not happen within {}s{}", .after.as_secs(), blocked(.blocked_by.as_deref()))]
    Timeout { what: String, after: Duration, blocked_by: Option<String> },
    #[error("container {container} ended with exit code {exit_code}{}", log_tail(.last_lines))]
    ContainerFailed { container: String, exit_code: i64, last_lines: Vec<String> },
    #[error("the service {service} does not stay up ({state}){}", log_tail(.last_lines))]
    ServiceFailed { service: String, state: String, last_lines: Vec<String>, log_command: String },
    #[error("{what} is missing, an earlier phase makes it")]
    MissingInput { what: String, phase: PhaseId },
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    /// Patches that cannot be read or applied; nothing was changed.
    #[error(transparent)]
    Patches(#[from] PatchesError),
    /// Any of the above in a run of another command than `init`, which the next step then names.
    #[error("{cause}")]
    Of { command: &'static str, cause: Box<Cause> },
    /// An error of one of our crates, with its own code and next step.
    #[error(transparent)]
    Other(#[from] OtherError),
}

/// An error of one of our crates.
pub trait Failure: StdError + Hint + Send + Sync + 'static {}
impl<T: StdError + Hint + Send + Sync + 'static> Failure for T {}

/// Carries any [`Failure`] and speaks for it.
#[derive(Debug)]
pub struct OtherError(Box<dyn Failure>);

impl fmt::Display for OtherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for OtherError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl Cause {
    /// Wraps an error of another crate.
    pub fn other(error: impl Failure) -> Self {
        Self::Other(OtherError(Box::new(error)))
    }

    /// Says that it happened to `command`, for example `junioadm join`; errors that bring their own next step keep it.
    #[must_use]
    pub fn of(self, command: &'static str) -> Self {
        match self {
            Self::Other(_) => self,
            other => Self::Of { command, cause: Box::new(other) },
        }
    }

    /// The cause itself, and the command that it happened to.
    fn plain(&self) -> (&Self, &'static str) {
        match self {
            Self::Of { command, cause } => (cause.plain().0, command),
            other => (other, "junioadm init"),
        }
    }

    /// Says in which phase it happened.
    #[must_use]
    pub fn in_phase(self, phase: PhaseId) -> PhaseError {
        PhaseError { phase: Some(phase), cause: Box::new(self) }
    }
}

/// `result.in_phase(id)?`
pub trait InPhase<T> {
    fn in_phase(self, phase: PhaseId) -> Result<T, PhaseError>;
}

impl<T, E: Into<Cause>> InPhase<T> for Result<T, E> {
    fn in_phase(self, phase: PhaseId) -> Result<T, PhaseError> {
        self.map_err(|error| error.into().in_phase(phase))
    }
}

impl PhaseError {
    /// For the exit code.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self.cause.plain().0 {
            Cause::Preflight(_) | Cause::Locked { .. } => ErrorClass::Preflight,
            Cause::Interrupted => ErrorClass::Interrupted,
            Cause::Config(_) | Cause::Patches(_) => ErrorClass::Usage,
            Cause::Other(other) if !other.0.expected() => ErrorClass::Bug,
            _ => ErrorClass::Phase,
        }
    }

    /// The failed checks, when preflight is what failed.
    #[must_use]
    pub fn failed_checks(&self) -> &[CheckFailure] {
        match self.cause.plain().0 {
            Cause::Preflight(checks) => checks,
            _ => &[],
        }
    }
}

impl Hint for PhaseError {
    fn code(&self) -> Code {
        match self.cause.plain().0 {
            // Several signs of one thing are one thing.
            Cause::Preflight(checks) => common(checks, |check| check.code).unwrap_or(Code("PREFLIGHT")),
            Cause::Interrupted => Code("INTERRUPTED"),
            Cause::Locked { .. } => Code("LOCKED"),
            Cause::Timeout { .. } => Code("TIMEOUT"),
            Cause::ContainerFailed { .. } => Code("CONTAINER-FAILED"),
            Cause::ServiceFailed { .. } => Code("SERVICE-FAILED"),
            Cause::MissingInput { .. } => Code("MISSING-INPUT"),
            Cause::Config(_) => Code("CONFIG"),
            Cause::Patches(error) => error.code(),
            Cause::Other(other) => other.0.code(),
            // `plain` has unwrapped it.
            Cause::Of { .. } => Code("INTERNAL"),
        }
    }

    fn next_step(&self) -> Option<NextStep> {
        let (cause, command) = self.cause.plain();
        let preflight = if command == "junioadm init" {
            "junioadm preflight".to_owned()
        } else {
            format!("{command} phase preflight")
        };
        Some(match cause {
            Cause::Preflight(checks) => common(checks, |check| check.next_step.clone()).unwrap_or_else(|| {
                NextStep::command(preflight)
                    .because("nothing was changed on this host; repair what is listed and run it again")
            }),
            Cause::Interrupted if self.phase == Some(PhaseId::CleanupNode) => {
                NextStep::command("junioadm reset").because("a second reset removes what is still there")
            }
            Cause::Interrupted => {
                NextStep::command(command).because("what is done stays and is reused; `junioadm reset` removes it")
            }
            Cause::Locked { .. } => {
                return Some(
                    NextStep::default().because("wait for the other run to end; the lock goes away with its process"),
                );
            }
            Cause::Timeout { .. } => {
                NextStep::command(command).because("a second run continues where this one stopped")
            }
            Cause::ContainerFailed { container, .. } => NextStep::command(format!("docker logs {container}"))
                .because("a control plane container that ends cannot become healthy"),
            Cause::ServiceFailed { log_command, .. } => NextStep::command(log_command),
            Cause::MissingInput { phase, .. } => {
                NextStep::command(format!("{command} phase {}", phase.name().replace('/', " ")))
            }
            Cause::Config(_) => NextStep::command("junioadm config validate --config FILE"),
            Cause::Patches(error) => return error.next_step(),
            Cause::Other(other) => return other.0.next_step(),
            Cause::Of { .. } => return None,
        })
    }

    fn expected(&self) -> bool {
        self.class() != ErrorClass::Bug
    }
}

/// What all failed checks have in common.
fn common<T: PartialEq>(checks: &[CheckFailure], part: impl Fn(&CheckFailure) -> T) -> Option<T> {
    let (first, rest) = checks.split_first()?;
    let first = part(first);
    rest.iter().all(|check| part(check) == first).then_some(first)
}

fn blocked(by: Option<&str>) -> String {
    by.map_or_else(String::new, |by| format!(", blocked by: {by}"))
}

fn log_tail(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its last {} log lines:\n{}", lines.len(), lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, code: &'static str, command: &str) -> CheckFailure {
        let (text, next_step) = (String::new(), NextStep::command(command));
        CheckFailure { check: name.to_owned(), code: Code(code), text, next_step }
    }

    #[test]
    fn several_signs_of_one_thing_have_its_code_and_several_things_have_none() {
        let leftovers =
            || vec![check("Port-1", "LEFTOVERS", "junioadm reset"), check("Dir", "LEFTOVERS", "junioadm reset")];
        let one = Cause::Preflight(leftovers()).in_phase(PhaseId::Preflight);
        assert_eq!(one.code().to_string(), "JUNIO-LEFTOVERS");
        assert_eq!(one.next_step().and_then(|step| step.command).as_deref(), Some("junioadm reset"));
        let mut checks = leftovers();
        checks.push(check("Mem", "LOW-MEMORY", "junioadm init"));
        let several = Cause::Preflight(checks).in_phase(PhaseId::Preflight);
        assert_eq!(several.code().to_string(), "JUNIO-PREFLIGHT");
        assert_eq!(several.next_step().and_then(|step| step.command).as_deref(), Some("junioadm preflight"));
    }

    #[test]
    fn an_interrupted_run_names_the_command_that_goes_on() {
        let next = |phase: PhaseId| Cause::Interrupted.in_phase(phase).next_step().and_then(|step| step.command);
        assert_eq!(next(PhaseId::WaitControlPlane).as_deref(), Some("junioadm init"));
        assert_eq!(next(PhaseId::CleanupNode).as_deref(), Some("junioadm reset"));
    }
}
