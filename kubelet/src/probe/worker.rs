//! The task that probes one container in one way, over all its instances.
//!
//! Until the first success of an instance, startup and readiness probes are repeated quickly between their regular
//! times, so that a pod is ready when its application is, not up to a period later. Such extra tries can only succeed:
//! their failures count for nothing and are not reported. Their distance grows with the time that the application has
//! taken so far, so that it is never late by more than an eighth of that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::check::{Outcome, check_once};
use super::counts::Counters;
use super::manager::{ProbeEvents, ProbeUpdate};
use super::results::{Found, ProbeKind, Verdict};
use super::threshold::Threshold;
use crate::runtime::{ContainerId, PodRuntime};

const QUICK: Duration = Duration::from_millis(100);
/// An exec costs about 50 ms of processor time.
const QUICK_EXEC: Duration = Duration::from_millis(250);
/// Of the time since the first try: how far apart quick tries are in the long run.
const QUICK_SHARE: u32 = 8;
const TRIES_ON_ERROR: usize = 3;

/// The instance to probe now, as the engine was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Target {
    pub running: Option<Running>,
    pub ip: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub id: ContainerId,
    pub started_at: Timestamp,
    /// Ran before this kubelet did; `Some(true)` if it was then started and ready.
    pub inherited: Option<bool>,
}

pub(super) struct Worker {
    pub runtime: Arc<dyn PodRuntime>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub kind: ProbeKind,
    pub probe: Probe,
    pub target: watch::Receiver<Target>,
    pub found: watch::Sender<Found>,
    /// The startup probe's results, which the other kinds wait for.
    pub startup: Option<watch::Receiver<Found>>,
    pub updates: broadcast::Sender<ProbeUpdate>,
    pub events: ProbeEvents,
    pub counters: Arc<Counters>,
}

impl Worker {
    /// Runs until the pod is forgotten, which drops the sender of the target.
    pub async fn run(self) {
        let mut target = self.target.clone();
        let mut done: Option<ContainerId> = None;
        loop {
            let next = target
                .wait_for(|target| target.running.as_ref().is_some_and(|running| Some(&running.id) != done.as_ref()));
            let Some(running) = next.await.ok().and_then(|target| target.running.clone()) else { return };
            let mut gone = self.target.clone();
            tokio::select! {
                () = self.probe_instance(&running) => {}
                result = gone.wait_for(|target| target.running.as_ref().map(|now| &now.id) != Some(&running.id)) => {
                    if result.is_err() {
                        return;
                    }
                }
            }
            done = Some(running.id);
        }
    }

    /// Probes one instance until its verdict is final; most never are.
    async fn probe_instance(&self, running: &Running) {
        let inherited = running.inherited == Some(true) && self.kind != ProbeKind::Liveness;
        let initial = if inherited { Verdict::Success } else { self.kind.initial() };
        self.publish(&running.id, initial, inherited);
        if inherited && self.kind == ProbeKind::Startup {
            return;
        }
        sleep(self.remaining_delay(running)).await;
        self.wait_for_startup(&running.id).await;
        let period = seconds(self.probe.period_seconds, 10);
        if running.inherited.is_some() {
            // All containers of the node would be probed at once otherwise.
            sleep(period.mul_f64(rand::random::<f64>())).await;
        }
        let mut threshold = Threshold::default();
        let mut schedule = Schedule::new(period, self.quick_delay(inherited));
        loop {
            let regular = schedule.is_regular();
            let started = Instant::now();
            let result = self.execute(&running.id, regular).await;
            if regular || result == Some(true) {
                self.counters.note(result, started.elapsed());
            }
            if let Some(success) = result
                && (success || regular)
            {
                if success {
                    schedule.stop_quick_tries();
                }
                let verdict = threshold.take(
                    success,
                    self.probe.success_threshold.unwrap_or(1),
                    self.probe.failure_threshold.unwrap_or(3),
                );
                if let Some(verdict) = verdict {
                    self.publish(&running.id, verdict, true);
                    if self.is_final(verdict) {
                        return;
                    }
                }
            }
            schedule.wait().await;
        }
    }

    /// A container that failed to live is about to be killed; one that has started has started for good.
    fn is_final(&self, verdict: Verdict) -> bool {
        match self.kind {
            ProbeKind::Startup => true,
            ProbeKind::Liveness => verdict == Verdict::Failure,
            ProbeKind::Readiness => false,
        }
    }

    /// One execution; errors of the probe itself are tried again at once, then ignored.
    async fn execute(&self, id: &ContainerId, report: bool) -> Option<bool> {
        let mut problem = String::new();
        for _ in 0..TRIES_ON_ERROR {
            let ip = self.target.borrow().ip;
            let title = self.kind.title();
            match check_once(self.runtime.as_ref(), &self.probe, &self.container, id, ip).await {
                Outcome::Success => return Some(true),
                Outcome::Warning(text) => {
                    self.event("ProbeWarning", format!("{title} probe warning: {text}"));
                    return Some(true);
                }
                Outcome::Failure(text) => {
                    if report {
                        self.event("Unhealthy", format!("{title} probe failed: {text}"));
                    }
                    return Some(false);
                }
                Outcome::Unknown(text) => problem = text,
            }
        }
        if report {
            self.event(
                "Unhealthy",
                format!("{} probe errored and resulted in unknown state: {problem}", self.kind.title()),
            );
        }
        None
    }

    fn event(&self, reason: &'static str, message: String) {
        (self.events)(&self.pod, &self.container.name, reason, message);
    }

    fn publish(&self, id: &ContainerId, verdict: Verdict, tell: bool) {
        let new = Found { id: Some(id.clone()), verdict };
        let changed = self.found.send_if_modified(|found| {
            let changed = *found != new;
            *found = new;
            changed
        });
        if changed && tell {
            // Nobody listening is fine: the results can be read at any time.
            let _ = self.updates.send(ProbeUpdate { uid: self.pod.metadata.uid.clone().unwrap_or_default() });
        }
    }

    fn remaining_delay(&self, running: &Running) -> Duration {
        let age = Duration::try_from(Timestamp::now().duration_since(running.started_at)).unwrap_or_default();
        seconds(self.probe.initial_delay_seconds, 0).saturating_sub(age)
    }

    async fn wait_for_startup(&self, id: &ContainerId) {
        let Some(mut startup) = self.startup.clone() else { return };
        let started =
            startup.wait_for(|found| found.id.as_ref() == Some(id) && found.verdict == Verdict::Success).await.is_ok();
        if !started {
            // The startup worker was stopped first, because the pod ends: this container will never have started.
            std::future::pending::<()>().await;
        }
    }

    fn quick_delay(&self, inherited: bool) -> Option<Duration> {
        let quick = self.kind != ProbeKind::Liveness && !inherited;
        quick.then_some(if self.probe.exec.is_some() { QUICK_EXEC } else { QUICK })
    }
}

/// Regular times one period apart, with quick tries in between.
struct Schedule {
    period: Duration,
    begun: Instant,
    next_regular: Instant,
    /// The shortest distance of quick tries.
    quick: Option<Duration>,
    regular: bool,
}

impl Schedule {
    fn new(period: Duration, quick: Option<Duration>) -> Self {
        let begun = Instant::now();
        Self { period, begun, next_regular: begun + period, quick, regular: true }
    }

    fn is_regular(&self) -> bool {
        self.regular
    }

    fn stop_quick_tries(&mut self) {
        self.quick = None;
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        // A probe that took longer than its period is not made up for.
        while self.next_regular < now {
            self.next_regular += self.period;
        }
        let quick = self.quick.map(|shortest| now + shortest.max((now - self.begun) / QUICK_SHARE));
        match quick {
            Some(quick) if quick < self.next_regular => {
                self.regular = false;
                sleep_until(quick).await;
            }
            _ => {
                self.regular = true;
                sleep_until(self.next_regular).await;
                self.next_regular += self.period;
            }
        }
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default))
}
