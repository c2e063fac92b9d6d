//! What the configuration says of a node under pressure and of one that shuts down. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::{KubeletConfiguration, ShutdownGrace, or};
use crate::eviction::{self, EvictionSettings, ThresholdError};
use crate::pod::facts::SYSTEM_CRITICAL;

impl KubeletConfiguration {
    /// Hard eviction thresholds; a set one replaces the default set as a whole, unless they are to be merged.
    #[must_use]
    pub fn hard_eviction(&self) -> BTreeMap<String, String> {
        let defaults = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("nodefs.inodesFree", "5%"),
            ("imagefs.available", "15%"),
            ("imagefs.inodesFree", "5%"),
        ];
        let defaults = defaults.into_iter().map(|(signal, value)| (signal.to_owned(), value.to_owned()));
        match &self.eviction_hard {
            None => defaults.collect(),
            Some(own) if self.merge_default_eviction_settings.unwrap_or(false) => {
                defaults.chain(own.iter().map(|(signal, value)| (signal.clone(), value.clone()))).collect()
            }
            Some(own) => own.clone(),
        }
    }

    /// When and how pods are ended for the node's sake.
    pub fn eviction(&self) -> Result<EvictionSettings, ThresholdError> {
        let enforced = self.enforce_node_allocatable.as_ref().is_none_or(|list| list.iter().any(|name| name == "pods"));
        Ok(EvictionSettings {
            thresholds: eviction::thresholds(
                &self.hard_eviction(),
                &self.eviction_soft,
                &self.eviction_soft_grace_period,
                &self.eviction_minimum_reclaim,
                enforced && self.cgroups_per_qos.unwrap_or(true),
            )?,
            transition: or(self.eviction_pressure_transition_period, 300),
            max_pod_grace: Duration::from_secs(u64::from(self.eviction_max_pod_grace_period)),
            local_storage: self.local_storage_capacity_isolation.unwrap_or(true),
        })
    }

    /// Graces by priority, lowest first; empty when a shutdown is none of the kubelet's business.
    #[must_use]
    pub fn shutdown_graces(&self) -> Vec<ShutdownGrace> {
        let mut list = self.shutdown_grace_period_by_pod_priority.clone();
        let (all, critical) = (self.shutdown_grace_period.0, self.shutdown_grace_period_critical_pods.0);
        if list.is_empty() && !all.is_zero() {
            let grace =
                |priority, time: Duration| ShutdownGrace { priority, shutdown_grace_period_seconds: time.as_secs() };
            list = vec![grace(0, all.saturating_sub(critical)), grace(SYSTEM_CRITICAL, critical)];
        }
        list.sort_by_key(|grace| grace.priority);
        list
    }
}

pub(super) fn validate_shutdown(config: &KubeletConfiguration) -> Result<(), (&'static str, String)> {
    let (all, critical) = (config.shutdown_grace_period, config.shutdown_grace_period_critical_pods);
    let by_priority = &config.shutdown_grace_period_by_pod_priority;
    if critical.0 > all.0 {
        let message = format!("{critical} must not be longer than shutdownGracePeriod, which is {all}");
        return Err(("shutdownGracePeriodCriticalPods", message));
    }
    for (field, grace) in [("shutdownGracePeriod", all), ("shutdownGracePeriodCriticalPods", critical)] {
        if !grace.0.is_zero() && grace.0 < Duration::from_secs(1) {
            return Err((field, format!("{grace} is neither 0 nor at least 1s")));
        }
    }
    if !by_priority.is_empty() && !all.0.is_zero() {
        let message = "cannot be set together with shutdownGracePeriod".to_owned();
        return Err(("shutdownGracePeriodByPodPriority", message));
    }
    let mut priorities: Vec<i32> = by_priority.iter().map(|grace| grace.priority).collect();
    priorities.sort_unstable();
    if let Some(twice) = priorities.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(("shutdownGracePeriodByPodPriority", format!("priority {} is there twice", twice[0])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::tests::load_text;

    #[test]
    fn eviction_settings_are_checked_when_they_are_read() {
        let text = |extra: &str| format!("kind: KubeletConfiguration\n{extra}");
        let error = load_text(&text("evictionHard: {memory.free: 1Gi}\n")).expect_err("no such signal").to_string();
        assert!(error.contains("evictionHard is invalid") && error.contains("memory.free"), "{error}");
        let config = load_text(&text("evictionHard: {pid.available: '5%'}\n")).expect("valid");
        assert_eq!(config.hard_eviction().len(), 1, "it replaces the default set");
        let merged = text("evictionHard: {nodefs.available: 1Gi}\nmergeDefaultEvictionSettings: true\n");
        let merged = load_text(&merged).expect("valid").hard_eviction();
        assert_eq!((merged.len(), merged["nodefs.available"].as_str()), (5, "1Gi"));
        let settings = load_text(&text("evictionPressureTransitionPeriod: 0s\n")).expect("valid").eviction();
        let settings = settings.expect("valid");
        assert_eq!(settings.transition, Duration::from_secs(300));
        assert_eq!(settings.thresholds.len(), 6, "with the one on the memory of all pods");
    }

    #[test]
    fn the_graces_of_a_shutdown_are_by_priority() {
        let graces = |text: &str| {
            let config = load_text(&format!("kind: KubeletConfiguration\n{text}"));
            config.map(|config| config.shutdown_graces()).map_err(|error| error.to_string())
        };
        let grace = |priority, shutdown_grace_period_seconds| ShutdownGrace { priority, shutdown_grace_period_seconds };
        assert_eq!(graces(""), Ok(vec![]));
        let both = "shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s\n";
        assert_eq!(graces(both), Ok(vec![grace(0, 20), grace(2_000_000_000, 10)]));
        let listed = "shutdownGracePeriodByPodPriority:\n- {priority: 9, shutdownGracePeriodSeconds: 1}\n\
                      - {priority: -1, shutdownGracePeriodSeconds: 2}\n";
        assert_eq!(graces(listed), Ok(vec![grace(-1, 2), grace(9, 1)]));
        for wrong in [
            "shutdownGracePeriodCriticalPods: 10s\n".to_owned(),
            "shutdownGracePeriod: 500ms\n".to_owned(),
            format!("{listed}shutdownGracePeriod: 30s\n"),
            format!("{listed}- {{priority: 9, shutdownGracePeriodSeconds: 3}}\n"),
        ] {
            let error = graces(&wrong).expect_err(&wrong);
            assert!(error.contains("shutdownGracePeriod"), "{error}");
        }
    }
}
