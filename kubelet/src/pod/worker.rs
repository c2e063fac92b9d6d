//! One worker per pod UID. The latest order wins; states are `Sync`, `Terminating`, `Terminated`, and never go back.
//! A pass runs beside the worker, so that a termination can interrupt it and news of the pod's containers still get out.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::allocation::Allocation;
use super::context::WorkerContext;
use super::state::PodState;
use super::sync::{self, Outcome};
use super::{facts, terminate};
use crate::events::EventType;
use crate::status::pod_status::Verdict;

/// While a pass runs, news are told after this pause at the latest. Long enough for a container to be replaced: a pod whose
/// image changes does not become unready on the way (upstream looks at its containers once a second).
const NEWS: Duration = Duration::from_secs(1);
/// Longest wait after a failed pass; the first waits are much shorter.
const FAILED_MAX: Duration = Duration::from_secs(10);
const FAILED_FIRST: Duration = Duration::from_millis(250);

/// What the sync loop wants of a pod.
#[derive(Debug, Clone)]
pub struct Order {
    pub pod: Arc<Pod>,
    /// Set: the pod must end.
    pub end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub grace: Duration,
    /// The pod failed for a reason of its own.
    pub verdict: Option<Verdict>,
}

/// What a worker tells the sync loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// No process and no volume of the pod is left.
    Terminated(String),
}

/// The sync loop's hold on a worker. Dropping it stops the worker and leaves the pod's containers as they are.
pub struct WorkerHandle {
    orders: watch::Sender<Order>,
    wake: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl WorkerHandle {
    /// Starts a worker.
    #[must_use]
    pub fn spawn(context: Arc<WorkerContext>, order: Order, reports: mpsc::UnboundedSender<Report>) -> Self {
        let wake = Arc::new(Notify::new());
        let state = PodState::new(&order.pod, context.crash_loop_cap);
        if order.end.is_none() {
            // before anybody else is admitted
            context.allocations.allocate(&order.pod);
        }
        let (sender, orders) = watch::channel(order);
        let worker = Worker { context, state, orders, wake: Arc::clone(&wake), reports };
        Self { orders: sender, wake, _task: AbortOnDropHandle::new(tokio::spawn(worker.run())) }
    }

    /// A newer pod object.
    pub fn update(&self, pod: Arc<Pod>) {
        self.orders.send_modify(|order| order.pod = pod);
    }

    /// Ends the pod. A grace can become shorter later, never longer; the first verdict stays.
    pub fn end(&self, end: End) {
        self.orders.send_modify(|order| match &mut order.end {
            Some(present) => {
                present.grace = present.grace.min(end.grace);
                if present.verdict.is_none() {
                    present.verdict = end.verdict;
                }
            }
            None => order.end = Some(end),
        });
    }

    /// Something about the pod's containers, probes or objects changed.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    #[must_use]
    pub fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.orders.borrow().pod)
    }
}

struct Worker {
    context: Arc<WorkerContext>,
    state: PodState,
    orders: watch::Receiver<Order>,
    wake: Arc<Notify>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Worker {
    async fn run(mut self) {
        let end = self.keep_in_sync().await;
        let pod = Arc::clone(&self.orders.borrow().pod);
        tracing::debug!(pod = facts::full_name(&pod), ?end, "terminating");
        terminate::terminate(&self.context, &self.state, &mut self.orders, end).await;
        self.context.allocations.release(facts::uid(&pod));
        let _ = self.reports.send(Report::Terminated(facts::uid(&pod).to_owned()));
        self.stay_terminated().await;
    }

    /// Passes until the pod must end or has run to its end.
    async fn keep_in_sync(&mut self) -> End {
        loop {
            let order = self.orders.borrow_and_update().clone();
            if let Some(end) = order.end {
                return end;
            }
            let deadline = self.deadline(&order.pod);
            if deadline.is_some_and(|deadline| deadline <= Timestamp::now()) {
                let verdict = Verdict {
                    reason: "DeadlineExceeded".to_owned(),
                    message: "Pod was active on the node longer than the specified deadline".to_owned(),
                    disruption: false,
                };
                return End { grace: facts::grace_period(&order.pod), verdict: Some(verdict) };
            }
            if facts::is_terminal_phase(facts::stored_phase(&order.pod)) && !facts::is_static(&order.pod) {
                return End { grace: facts::grace_period(&order.pod), verdict: None };
            }
            let mut freed = self.context.allocations.freed();
            let pod = self.allocate(&order.pod);
            let outcome = self.pass(&pod).await;
            let wait = match outcome {
                Outcome::Finished => return End { grace: facts::grace_period(&order.pod), verdict: None },
                Outcome::Again => Duration::ZERO,
                Outcome::Settled(until) => {
                    self.state.lock().failures = 0;
                    let period = self.context.sync_period.mul_f64(1.0 + 0.5 * rand::random::<f64>());
                    until.map_or(period, |until| remaining(until).min(period))
                }
                Outcome::Failed => self.failure_wait(),
            };
            let wait = deadline.map_or(wait, |deadline| remaining(deadline).min(wait));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
                // room for a resize that had to wait
                _ = freed.changed(), if self.state.lock().pending.is_some() => {}
                changed = self.orders.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    /// The pod with what it is granted now.
    fn allocate(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        let Allocation { pod: granted, pending } = self.context.allocations.allocate(pod);
        let mut memory = self.state.lock();
        let before = std::mem::replace(&mut memory.pending, pending.clone());
        drop(memory);
        if let Some(pending) = pending.filter(|pending| before.as_ref() != Some(pending)) {
            let reason = if pending.reason == "Infeasible" { "ResizeInfeasible" } else { "ResizeDeferred" };
            self.context.events.pod(pod, EventType::Warning, reason, pending.message);
        }
        granted
    }

    /// Runs one pass beside this task.
    async fn pass(&mut self, pod: &Arc<Pod>) -> Outcome {
        let cancel = CancellationToken::new();
        let (context, owned, state, token) =
            (Arc::clone(&self.context), Arc::clone(pod), self.state.clone(), cancel.clone());
        let mut pass =
            AbortOnDropHandle::new(tokio::spawn(async move { sync::pass(&context, &owned, &state, &token).await }));
        let mut news: Option<Instant> = None;
        let mut woken = false;
        loop {
            tokio::select! {
                outcome = &mut pass => {
                    if woken {
                        self.wake.notify_one();
                    }
                    return outcome.unwrap_or(Outcome::Failed);
                }
                () = self.wake.notified() => {
                    woken = true;
                    news.get_or_insert(Instant::now() + NEWS);
                }
                () = tokio::time::sleep_until(news.unwrap_or_else(Instant::now)), if news.is_some() => {
                    news = None;
                    if sync::look(&self.context, pod, &self.state).await.is_ok() {
                        sync::publish(&self.context, pod, &self.state);
                    }
                }
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if self.orders.borrow().end.is_some() {
                        cancel.cancel();
                    }
                    woken = true;
                }
            }
        }
    }

    fn failure_wait(&self) -> Duration {
        let mut memory = self.state.lock();
        memory.failures += 1;
        let doubled = FAILED_FIRST * 2u32.saturating_pow(memory.failures.min(10) - 1);
        doubled.min(FAILED_MAX).mul_f64(1.0 + 0.5 * rand::random::<f64>())
    }

    /// When `activeDeadlineSeconds` is over.
    fn deadline(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
        Some(self.state.lock().start_time + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Nothing is left to do but to tell the API server that a deleted pod is gone.
    async fn stay_terminated(&mut self) {
        loop {
            let pod = Arc::clone(&self.orders.borrow_and_update().pod);
            if facts::is_deleting(&pod) && !facts::is_static(&pod) {
                self.context.status.delete(facts::uid(&pod));
            }
            sync::publish(&self.context, &pod, &self.state);
            if self.orders.changed().await.is_err() {
                return;
            }
        }
    }
}

fn remaining(until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}
