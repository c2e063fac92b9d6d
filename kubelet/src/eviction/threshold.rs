//! Thresholds as they are configured. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use junio_api::duration::GoDuration;

use super::observation::Observation;
use super::signal::Signal;
use crate::container_spec::{Format, Quantity};

/// An amount, or a share of what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    Exact(Quantity),
    /// 0 to 1.
    Share(f64),
}

impl Amount {
    /// What it is where there is `capacity` in all.
    #[must_use]
    pub fn of(self, capacity: i64) -> Quantity {
        match self {
            Self::Exact(quantity) => quantity,
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bytes of a host")]
            Self::Share(share) => Quantity::from_units((capacity as f64 * share) as i64, Format::BinarySi),
        }
    }
}

/// When a signal is below `value`, something must be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    pub value: Amount,
    /// How long a soft threshold must be crossed; zero is a hard one.
    pub grace: Duration,
    /// How much more than `value` must be free before it counts as resolved.
    pub minimum_reclaim: Option<Amount>,
}

impl Threshold {
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }

    /// `resolving`: it was crossed before, so the minimum reclaim counts.
    #[must_use]
    pub fn is_met(&self, seen: &Observation, resolving: bool) -> bool {
        let mut wanted = self.value.of(seen.capacity);
        if let Some(more) = self.minimum_reclaim.filter(|_| resolving) {
            wanted = wanted.plus(&more.of(seen.capacity));
        }
        wanted > Quantity::from_units(seen.available, Format::DecimalSi)
    }
}

/// A setting that cannot be used; `field` is its name in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ThresholdError {
    pub field: &'static str,
    pub message: String,
}

/// All thresholds: hard ones, soft ones, and the one on the pods' memory if `allocatable` is enforced.
pub fn thresholds(
    hard: &BTreeMap<String, String>,
    soft: &BTreeMap<String, String>,
    soft_grace: &BTreeMap<String, GoDuration>,
    minimum_reclaim: &BTreeMap<String, String>,
    allocatable: bool,
) -> Result<Vec<Threshold>, ThresholdError> {
    let mut list = parse(hard, "evictionHard")?;
    let mut later = parse(soft, "evictionSoft")?;
    for threshold in &mut later {
        let grace = soft_grace.get(threshold.signal.name()).map(|grace| grace.0).filter(|grace| !grace.is_zero());
        threshold.grace = grace.ok_or_else(|| ThresholdError {
            field: "evictionSoftGracePeriod",
            message: format!("{} is in evictionSoft and needs a grace period of more than 0", threshold.signal.name()),
        })?;
    }
    for name in soft_grace.keys() {
        signal(name, "evictionSoftGracePeriod")?;
    }
    list.append(&mut later);
    for (name, text) in minimum_reclaim {
        let signal = signal(name, "evictionMinimumReclaim")?;
        let reclaim = amount(text).map_err(|message| error("evictionMinimumReclaim", name, &message))?;
        for threshold in list.iter_mut().filter(|threshold| threshold.signal == signal) {
            threshold.minimum_reclaim = reclaim;
        }
    }
    if allocatable {
        let memory = list.iter().find(|threshold| threshold.signal == Signal::MemoryAvailable && threshold.is_hard());
        if let Some(memory) = memory.cloned() {
            list.push(Threshold { signal: Signal::AllocatableMemoryAvailable, ..memory });
        }
    }
    Ok(list)
}

fn parse(statements: &BTreeMap<String, String>, field: &'static str) -> Result<Vec<Threshold>, ThresholdError> {
    let mut list = Vec::new();
    for (name, text) in statements {
        // Follows nodefs or imagefs, whichever disk it is; upstream ignores what is set for it.
        if matches!(name.as_str(), "containerfs.available" | "containerfs.inodesFree") {
            tracing::warn!(field, signal = name, "containers are on the image or node file system: ignored");
            continue;
        }
        let signal = signal(name, field)?;
        // No share at all and all of it both mean that the signal does not matter.
        if matches!(text.trim(), "0%" | "100%") {
            continue;
        }
        let value = amount(text).and_then(|value| value.ok_or_else(|| "must be positive".to_owned()));
        let value = value.map_err(|message| error(field, name, &message))?;
        list.push(Threshold { signal, value, grace: Duration::ZERO, minimum_reclaim: None });
    }
    Ok(list)
}

fn signal(name: &str, field: &'static str) -> Result<Signal, ThresholdError> {
    Signal::parse(name)
        .ok_or_else(|| ThresholdError { field, message: format!("{name:?} is not an eviction signal of Linux nodes") })
}

fn error(field: &'static str, name: &str, message: &str) -> ThresholdError {
    ThresholdError { field, message: format!("{name}: {message}") }
}

/// `None` for zero.
fn amount(text: &str) -> Result<Option<Amount>, String> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| format!("{text:?} is no percentage"))?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("{text:?} is not between 0% and 100%"));
        }
        return Ok((percent > 0.0).then_some(Amount::Share(percent / 100.0)));
    }
    let quantity: Quantity = text.parse().map_err(|error| format!("{error}"))?;
    if quantity < Quantity::ZERO {
        return Err(format!("{text:?} is negative"));
    }
    Ok((!quantity.is_zero()).then_some(Amount::Exact(quantity)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn graces(entries: &[(&str, u64)]) -> BTreeMap<String, GoDuration> {
        entries.iter().map(|(name, seconds)| ((*name).to_owned(), GoDuration(Duration::from_secs(*seconds)))).collect()
    }

    #[test]
    fn hard_soft_reclaim_and_allocatable_come_together() {
        let list = thresholds(
            &map(&[("memory.available", "100Mi"), ("nodefs.available", "10%"), ("imagefs.available", "0%")]),
            &map(&[("memory.available", "300Mi")]),
            &graces(&[("memory.available", 30)]),
            &map(&[("nodefs.available", "1Gi")]),
            true,
        )
        .expect("valid");
        let names: Vec<_> = list.iter().map(|threshold| (threshold.signal.name(), threshold.is_hard())).collect();
        assert_eq!(
            names,
            [
                ("memory.available", true),
                ("nodefs.available", true),
                ("memory.available", false),
                ("allocatableMemory.available", true)
            ]
        );
        assert_eq!(list[1].minimum_reclaim.map(|reclaim| reclaim.of(0).value()), Some(1 << 30));
        assert_eq!(list[1].value.of(1000).value(), 100);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_field() {
        let none = BTreeMap::new();
        let field = |hard: &[(&str, &str)], soft: &[(&str, &str)]| {
            thresholds(&map(hard), &map(soft), &BTreeMap::new(), &none, false).err().map(|error| error.field)
        };
        assert_eq!(field(&[("memory.free", "1")], &[]), Some("evictionHard"));
        assert_eq!(field(&[("memory.available", "-1")], &[]), Some("evictionHard"));
        assert_eq!(field(&[("memory.available", "0")], &[]), Some("evictionHard"));
        assert_eq!(field(&[("memory.available", "101%")], &[]), Some("evictionHard"));
        assert_eq!(field(&[], &[("memory.available", "1Gi")]), Some("evictionSoftGracePeriod"));
        assert_eq!(field(&[("containerfs.available", "1Gi")], &[]), None);
    }

    #[test]
    fn a_threshold_is_met_below_it_and_resolved_above_the_reclaim() {
        let threshold = Threshold {
            signal: Signal::NodeFsAvailable,
            value: Amount::Share(0.1),
            grace: Duration::ZERO,
            minimum_reclaim: Some(Amount::Exact(Quantity::from_units(50, Format::DecimalSi))),
        };
        let at = |available| Observation { available, capacity: 1000 };
        assert!(threshold.is_met(&at(99), false) && !threshold.is_met(&at(100), false));
        assert!(threshold.is_met(&at(149), true) && !threshold.is_met(&at(150), true));
    }
}
