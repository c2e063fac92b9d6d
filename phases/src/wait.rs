//! Waits that have a name, a deadline and a reason, and that end early when their end cannot come any more.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::Cause;
use crate::event::Event;
use crate::phase_id::PhaseId;
use crate::run::Run;

/// One look at what is waited for.
pub(crate) enum Look<T> {
    Ready(T),
    /// Not yet, and why.
    Blocked(String),
}

/// A named wait of a phase.
pub(crate) struct Wait<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) phase: PhaseId,
    pub(crate) what: String,
    pub(crate) deadline: Duration,
    /// Between two looks. Short: each look is a loopback request of a millisecond or less.
    pub(crate) interval: Duration,
}

/// How often a changed reason is told.
const TELL: Duration = Duration::from_millis(500);

impl Wait<'_> {
    /// Looks until it is ready, an error says that it never will be, or the deadline passes.
    pub(crate) async fn until<T, F>(&self, mut look: impl FnMut() -> F) -> Result<T, Cause>
    where
        F: Future<Output = Result<Look<T>, Cause>>,
    {
        let started = Instant::now();
        let mut told: Option<String> = None;
        let mut told_at = started;
        let mut blocked_by = None;
        self.tell(None);
        while started.elapsed() < self.deadline {
            match look().await? {
                Look::Ready(value) => {
                    self.run.event(&Event::Waited {
                        phase: self.phase,
                        what: self.what.clone(),
                        elapsed: started.elapsed(),
                    });
                    return Ok(value);
                }
                Look::Blocked(reason) => {
                    if told.as_ref() != Some(&reason) && told_at.elapsed() > TELL {
                        self.tell(Some(reason.clone()));
                        told = Some(reason.clone());
                        told_at = Instant::now();
                    }
                    blocked_by = Some(reason);
                }
            }
            tokio::time::sleep(self.interval).await;
        }
        Err(Cause::Timeout { what: self.what.clone(), after: self.deadline, blocked_by })
    }

    fn tell(&self, blocked_by: Option<String>) {
        self.run.event(&Event::Waiting {
            phase: self.phase,
            what: self.what.clone(),
            deadline: self.deadline,
            blocked_by,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use tokio_util::sync::CancellationToken;

    fn wait<'a>(run: &'a Run<'a>, deadline: Duration) -> Wait<'a> {
        Wait { run, phase: PhaseId::Verify, what: "the thing".to_owned(), deadline, interval: Duration::from_millis(1) }
    }

    #[tokio::test]
    async fn a_timeout_names_what_blocked_it() {
        let run = Run::new(&Silent, CancellationToken::new());
        let error = wait(&run, Duration::from_millis(20))
            .until(|| async { Ok(Look::<()>::Blocked("no network".to_owned())) })
            .await;
        assert_eq!(
            error.expect_err("never ready").to_string(),
            "the thing did not happen within 0s, blocked by: no network"
        );
    }

    #[tokio::test]
    async fn a_fatal_state_ends_the_wait_early() {
        let run = Run::new(&Silent, CancellationToken::new());
        let started = Instant::now();
        let error = wait(&run, Duration::from_secs(60))
            .until(|| async { Err::<Look<()>, _>(Cause::Config("bad flag".to_owned())) })
            .await;
        assert!(error.is_err() && started.elapsed() < Duration::from_secs(1));
    }
}
