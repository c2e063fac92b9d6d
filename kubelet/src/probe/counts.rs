//! How often a container was probed, with what result, and how long it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::results::ProbeKind;

/// Upper bounds of the buckets, in seconds: those that Prometheus clients use by default.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counters of one worker. They live as long as it does.
#[derive(Debug, Default)]
pub(super) struct Counters {
    successful: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
    micros: AtomicU64,
}

/// A worker's figures at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeCount {
    pub kind: ProbeKind,
    pub container: String,
    pub pod: String,
    pub namespace: String,
    pub uid: String,
    pub successful: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Of successful and unknown ones, cumulative, by [`BUCKETS`].
    pub buckets: [u64; BUCKETS.len()],
    /// Seconds.
    pub sum: f64,
}

impl Counters {
    /// `None`: the probe could not be made. Only how long it took to fail is of no interest.
    pub(super) fn note(&self, success: Option<bool>, took: Duration) {
        let counter = match success {
            Some(true) => &self.successful,
            Some(false) => &self.failed,
            None => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if success != Some(false) {
            self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
                if took.as_secs_f64() <= *bound {
                    bucket.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Successful, failed, unknown, buckets, seconds.
    pub(super) fn read(&self) -> (u64, u64, u64, [u64; BUCKETS.len()], f64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let buckets = std::array::from_fn(|index| of(&self.buckets[index]));
        let sum = Duration::from_micros(of(&self.micros)).as_secs_f64();
        (of(&self.successful), of(&self.failed), of(&self.unknown), buckets, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_failures_have_no_duration() {
        let counters = Counters::default();
        counters.note(Some(true), Duration::from_millis(30));
        counters.note(Some(false), Duration::from_secs(3));
        counters.note(None, Duration::from_secs(60));
        let (successful, failed, unknown, buckets, sum) = counters.read();
        assert_eq!((successful, failed, unknown), (1, 1, 1));
        assert_eq!(buckets, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert!((sum - 60.03).abs() < 1e-9, "{sum}");
    }
}
