//! Waiting longer after each failure. Restarts count from the exit, image pulls from the failure; both in memory only.
//! Source of the arithmetic: client-go `flowcontrol.Backoff` as upstream's kubelet uses it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// Delays by key. The clock is an argument, so that every rule can be tested.
#[derive(Debug, Clone)]
pub struct BackOffs {
    first: Duration,
    cap: Duration,
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl BackOffs {
    /// `first` is the delay after the second failure; a cap below it is the first delay too.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first: first.min(cap), cap, entries: HashMap::new() }
    }

    /// When the next try is allowed if `event` (an exit, a failed pull) came last; `None` means now.
    #[must_use]
    pub fn until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<(Timestamp, Duration)> {
        let entry = self.entries.get(key)?;
        if self.expired(entry, event) {
            return None;
        }
        let until = event + entry.delay;
        (until > now).then_some((until, entry.delay))
    }

    /// Notes a try after `event`: the next delay is twice as long, or the first one after a long good run.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !self.expired(entry, event) => (entry.delay * 2).min(self.cap),
            _ => self.first,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// Forgets a key, after a success.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// The container ran longer than twice the cap since its last start.
    fn expired(&self, entry: &Entry, event: Timestamp) -> bool {
        event.duration_since(entry.updated)
            > jiff::SignedDuration::try_from(self.cap * 2).unwrap_or(jiff::SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    fn wait(back_offs: &BackOffs, exit: i64) -> u64 {
        back_offs.until("k", at(exit), at(exit)).map_or(0, |(_, delay)| delay.as_secs())
    }

    #[test]
    fn restarts_wait_0_10_20_40_and_so_on_up_to_the_cap() {
        let mut back_offs = BackOffs::new(Duration::from_secs(10), Duration::from_secs(300));
        let mut waits = Vec::new();
        let mut now = 1000;
        for _ in 0..8 {
            let delay = wait(&back_offs, now);
            waits.push(delay);
            let exit = now;
            now += i64::try_from(delay).expect("small");
            back_offs.next("k", at(exit), at(now));
            now += 1;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn the_wait_counts_from_the_exit() {
        let mut back_offs = BackOffs::new(Duration::from_secs(10), Duration::from_secs(300));
        back_offs.next("k", at(0), at(0));
        assert!(back_offs.until("k", at(5), at(14)).is_some());
        assert!(back_offs.until("k", at(5), at(15)).is_none());
    }

    #[test]
    fn a_run_longer_than_twice_the_cap_starts_afresh() {
        let mut back_offs = BackOffs::new(Duration::from_secs(10), Duration::from_secs(300));
        back_offs.next("k", at(0), at(0));
        back_offs.next("k", at(10), at(20));
        assert_eq!(wait(&back_offs, 30), 20);
        assert_eq!(wait(&back_offs, 20 + 601), 0);
        back_offs.next("k", at(621), at(621));
        assert_eq!(wait(&back_offs, 622), 10);
    }

    #[test]
    fn a_small_cap_is_the_first_delay_too() {
        let mut back_offs = BackOffs::new(Duration::from_secs(10), Duration::from_secs(2));
        back_offs.next("k", at(0), at(0));
        assert_eq!(wait(&back_offs, 1), 2);
    }
}
