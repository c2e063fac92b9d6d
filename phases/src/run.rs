//! What all phases of one run share, and the frame around each: events, timing, interruption.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::{Cause, PhaseError};
use crate::event::{Event, Outcome, Reporter};
use crate::options::Timing;
use crate::phase_id::PhaseId;

/// One run of `init` or `reset`.
pub(crate) struct Run<'a> {
    reporter: &'a dyn Reporter,
    cancel: CancellationToken,
    started: Instant,
    timeline: Mutex<Vec<Timing>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(reporter: &'a dyn Reporter, cancel: CancellationToken) -> Self {
        Self { reporter, cancel, started: Instant::now(), timeline: Mutex::default() }
    }

    /// Runs one phase. `work` says whether it changed anything.
    pub(crate) async fn phase<T>(
        &self,
        phase: PhaseId,
        work: impl Future<Output = Result<(T, Outcome), Cause>> + Send,
    ) -> Result<T, PhaseError> {
        self.group(phase, async { work.await.map_err(|cause| cause.in_phase(phase)) }).await
    }

    /// Runs a phase in whose course others run; their errors keep their names.
    pub(crate) async fn group<T>(
        &self,
        phase: PhaseId,
        work: impl Future<Output = Result<(T, Outcome), PhaseError>> + Send,
    ) -> Result<T, PhaseError> {
        let started = self.started.elapsed();
        self.reporter.event(&Event::PhaseStarted { phase });
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Cause::Interrupted.in_phase(phase)),
            result = work => result,
        };
        let (output, outcome) = result?;
        self.finished(phase, outcome, started);
        Ok(output)
    }

    /// Tells that a phase began whose end is told by [`Self::finished`].
    pub(crate) fn started(&self, phase: PhaseId) {
        self.reporter.event(&Event::PhaseStarted { phase });
    }

    /// Tells that a phase is left out.
    pub(crate) fn skipped(&self, phase: PhaseId) {
        self.finished(phase, Outcome::Skipped, self.started.elapsed());
    }

    /// Tells how a phase ended that ran as part of another piece of work.
    pub(crate) fn finished(&self, phase: PhaseId, outcome: Outcome, started: Duration) {
        let elapsed = self.started.elapsed().saturating_sub(started);
        self.reporter.event(&Event::PhaseFinished { phase, outcome, elapsed });
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).push(Timing { phase, outcome, started, elapsed });
    }

    pub(crate) fn line(&self, phase: PhaseId, text: impl Into<String>) {
        self.line_as(phase, phase.bracket(), text);
    }

    /// A line under another of kubeadm's bracketed names, such as `kubelet-check`.
    pub(crate) fn line_as(&self, phase: PhaseId, bracket: &'static str, text: impl Into<String>) {
        self.reporter.event(&Event::Line { phase, bracket, text: text.into() });
    }

    pub(crate) fn warn(&self, phase: PhaseId, text: impl Into<String>) {
        self.reporter.event(&Event::Warning { phase: Some(phase), check: None, code: None, text: text.into() });
    }

    pub(crate) fn event(&self, event: &Event) {
        self.reporter.event(event);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn into_timeline(self) -> Vec<Timing> {
        self.timeline.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Done` when anything was made.
pub(crate) fn done_if(changed: bool) -> Outcome {
    if changed { Outcome::Done } else { Outcome::Reused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[tokio::test]
    async fn an_interruption_ends_a_phase_that_waits() {
        let cancel = CancellationToken::new();
        let run = Run::new(&Silent, cancel.clone());
        cancel.cancel();
        let error = run
            .phase(PhaseId::Verify, std::future::pending::<Result<((), Outcome), Cause>>())
            .await
            .expect_err("cancelled");
        assert_eq!(error.class(), crate::ErrorClass::Interrupted);
        assert_eq!(error.phase, Some(PhaseId::Verify));
    }

    #[tokio::test]
    async fn the_timeline_tells_what_each_phase_did() {
        let run = Run::new(&Silent, CancellationToken::new());
        let output = run.phase(PhaseId::CertsCa, async { Ok((7, Outcome::Reused)) }).await.expect("fine");
        run.skipped(PhaseId::UploadCerts);
        assert_eq!(output, 7);
        let outcomes: Vec<_> = run.into_timeline().iter().map(|t| (t.phase, t.outcome)).collect();
        assert_eq!(outcomes, [(PhaseId::CertsCa, Outcome::Reused), (PhaseId::UploadCerts, Outcome::Skipped)]);
    }
}
