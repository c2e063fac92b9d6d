//! Which thresholds are crossed, for how long, and what that makes of the node. Pure: time is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::observation::Observations;
use super::signal::{Pressure, Resource};
use super::threshold::Threshold;

/// Memory of what was seen. Thresholds are named by their place in the list.
#[derive(Debug, Clone)]
pub struct Tracker {
    thresholds: Vec<Threshold>,
    /// How long a condition stays after its threshold was crossed last.
    transition: Duration,
    first_seen: BTreeMap<usize, Instant>,
    /// Crossed long enough, and not resolved yet.
    due: BTreeSet<usize>,
    last_seen: BTreeMap<Resource, Instant>,
}

impl Tracker {
    #[must_use]
    pub fn new(thresholds: Vec<Threshold>, transition: Duration) -> Self {
        Self { thresholds, transition, first_seen: BTreeMap::new(), due: BTreeSet::new(), last_seen: BTreeMap::new() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.thresholds.is_empty()
    }

    /// Takes in what is seen now: the node's conditions, and the thresholds to act upon, the most urgent first.
    pub fn observe(&mut self, seen: &Observations, now: Instant) -> (Pressure, Vec<Threshold>) {
        let crossed: BTreeSet<usize> =
            (0..self.thresholds.len()).filter(|index| self.is_met(*index, seen, self.due.contains(index))).collect();
        self.first_seen.retain(|index, _| crossed.contains(index));
        for index in &crossed {
            self.first_seen.entry(*index).or_insert(now);
            self.last_seen.insert(self.thresholds[*index].signal.resource(), now);
        }
        self.due = self
            .first_seen
            .iter()
            .filter(|(index, since)| now.duration_since(**since) >= self.thresholds[**index].grace)
            .map(|(index, _)| *index)
            .collect();
        let mut pressure = Pressure::default();
        for (resource, last) in &self.last_seen {
            if now.duration_since(*last) < self.transition || *last == now {
                pressure.add(*resource);
            }
        }
        let mut due: Vec<Threshold> = self.due.iter().map(|index| self.thresholds[*index].clone()).collect();
        // Nothing hurts a node like the want of memory.
        due.sort_by_key(|threshold| threshold.signal.resource() != Resource::Memory);
        (pressure, due)
    }

    /// True when no threshold is crossed, minimum reclaims counted.
    #[must_use]
    pub fn is_relieved(&self, seen: &Observations) -> bool {
        (0..self.thresholds.len()).all(|index| !self.is_met(index, seen, true))
    }

    /// A signal that cannot be read says nothing.
    fn is_met(&self, index: usize, seen: &Observations, resolving: bool) -> bool {
        let threshold = &self.thresholds[index];
        seen.get(&threshold.signal).is_some_and(|seen| threshold.is_met(seen, resolving))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::{Format, Quantity};
    use crate::eviction::{Amount, Observation, Signal};

    fn threshold(signal: Signal, below: i64, grace: u64) -> Threshold {
        Threshold {
            signal,
            value: Amount::Exact(Quantity::from_units(below, Format::DecimalSi)),
            grace: Duration::from_secs(grace),
            minimum_reclaim: None,
        }
    }

    fn seen(figures: &[(Signal, i64)]) -> Observations {
        figures
            .iter()
            .map(|(signal, available)| (*signal, Observation { available: *available, capacity: 1000 }))
            .collect()
    }

    fn pressed(resources: &[Resource]) -> Pressure {
        let mut pressure = Pressure::default();
        resources.iter().for_each(|resource| pressure.add(*resource));
        pressure
    }

    #[test]
    fn a_soft_threshold_is_a_condition_at_once_and_due_after_its_grace() {
        let mut tracker = Tracker::new(vec![threshold(Signal::MemoryAvailable, 100, 30)], Duration::from_secs(300));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let low = seen(&[(Signal::MemoryAvailable, 99)]);
        let (pressure, due) = tracker.observe(&low, start);
        assert!(pressure.memory && due.is_empty());
        assert!(tracker.observe(&low, at(29)).1.is_empty());
        assert_eq!(tracker.observe(&low, at(30)).1.len(), 1);
        // once it is not crossed, the grace begins anew
        assert!(tracker.observe(&seen(&[(Signal::MemoryAvailable, 100)]), at(40)).1.is_empty());
        assert!(tracker.observe(&low, at(50)).1.is_empty());
    }

    #[test]
    fn a_condition_stays_for_the_transition_period() {
        let mut tracker = Tracker::new(vec![threshold(Signal::NodeFsInodesFree, 100, 0)], Duration::from_secs(300));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(tracker.observe(&seen(&[(Signal::NodeFsInodesFree, 1)]), start).0.disk);
        let fine = seen(&[(Signal::NodeFsInodesFree, 500)]);
        let (pressure, due) = tracker.observe(&fine, at(299));
        assert!(pressure.disk && due.is_empty());
        assert!(!tracker.observe(&fine, at(300)).0.disk);
    }

    #[test]
    fn memory_is_first_and_a_reclaim_must_be_reached() {
        let mut disk = threshold(Signal::NodeFsAvailable, 100, 0);
        disk.minimum_reclaim = Some(Amount::Exact(Quantity::from_units(50, Format::DecimalSi)));
        let list = vec![disk, threshold(Signal::MemoryAvailable, 100, 0)];
        let mut tracker = Tracker::new(list, Duration::ZERO);
        let now = Instant::now();
        let low = seen(&[(Signal::NodeFsAvailable, 10), (Signal::MemoryAvailable, 10)]);
        let (pressure, due) = tracker.observe(&low, now);
        assert_eq!(
            due.iter().map(|due| due.signal).collect::<Vec<_>>(),
            [Signal::MemoryAvailable, Signal::NodeFsAvailable]
        );
        assert_eq!(pressure, pressed(&[Resource::Memory, Resource::EphemeralStorage]));
        let later = now + Duration::from_secs(1);
        let some = seen(&[(Signal::NodeFsAvailable, 120), (Signal::MemoryAvailable, 120)]);
        assert!(!tracker.is_relieved(&some));
        let (pressure, due) = tracker.observe(&some, later);
        assert_eq!(due.iter().map(|due| due.signal).collect::<Vec<_>>(), [Signal::NodeFsAvailable]);
        assert_eq!(pressure, pressed(&[Resource::EphemeralStorage]));
        assert!(tracker.is_relieved(&seen(&[(Signal::NodeFsAvailable, 150), (Signal::MemoryAvailable, 120)])));
    }

    #[test]
    fn what_cannot_be_read_is_not_crossed() {
        let mut tracker = Tracker::new(vec![threshold(Signal::PidAvailable, 100, 0)], Duration::ZERO);
        assert_eq!(tracker.observe(&Observations::new(), Instant::now()), (Pressure::default(), Vec::new()));
    }
}
