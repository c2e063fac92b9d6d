//! `/metrics/probes`: how often containers are probed, and with what result.

use std::sync::Arc;

use axum::extract::State;

use super::exposition::{Exposition, number};
use crate::probe::{BUCKETS, ProbeCount};
use crate::server::state::ServerState;

/// A series per container, kind and result; those of a pod that is gone are gone with it.
pub async fn probes(State(state): State<Arc<ServerState>>) -> Exposition {
    expose(&state.probes.counts())
}

fn expose(counts: &[ProbeCount]) -> Exposition {
    let mut text = Exposition::default();
    let mut durations =
        text.histogram("prober_probe_duration_seconds", "[ALPHA] Duration in seconds for a probe response.");
    for count in counts.iter().filter(|count| count.successful + count.unknown > 0) {
        let buckets: Vec<(f64, u64)> = BUCKETS.into_iter().zip(count.buckets).collect();
        durations.distribution(
            &[
                ("container", &count.container),
                ("namespace", &count.namespace),
                ("pod", &count.pod),
                ("probe_type", count.kind.title()),
            ],
            &buckets,
            count.sum,
            count.successful + count.unknown,
        );
    }
    let mut results = text.counter(
        "prober_probe_total",
        "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
    );
    for count in counts {
        let by_result = [("failed", count.failed), ("successful", count.successful), ("unknown", count.unknown)];
        for (result, value) in by_result.into_iter().filter(|(_, value)| *value > 0) {
            results.sample(
                &[
                    ("container", &count.container),
                    ("namespace", &count.namespace),
                    ("pod", &count.pod),
                    ("pod_uid", &count.uid),
                    ("probe_type", count.kind.title()),
                    ("result", result),
                ],
                number(value),
                None,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeKind;

    #[test]
    fn results_and_durations_have_upstreams_names() {
        let count = ProbeCount {
            kind: ProbeKind::Liveness,
            container: "c".into(),
            pod: "p".into(),
            namespace: "n".into(),
            uid: "u".into(),
            successful: 2,
            failed: 1,
            unknown: 0,
            buckets: [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2],
            sum: 0.02,
        };
        let text = expose(&[count]).into_text();
        for line in [
            "prober_probe_total{container=\"c\",namespace=\"n\",pod=\"p\",pod_uid=\"u\",probe_type=\"Liveness\",result=\"successful\"} 2",
            "prober_probe_total{container=\"c\",namespace=\"n\",pod=\"p\",pod_uid=\"u\",probe_type=\"Liveness\",result=\"failed\"} 1",
            "prober_probe_duration_seconds_bucket{container=\"c\",namespace=\"n\",pod=\"p\",probe_type=\"Liveness\",le=\"0.01\"} 1",
            "prober_probe_duration_seconds_bucket{container=\"c\",namespace=\"n\",pod=\"p\",probe_type=\"Liveness\",le=\"+Inf\"} 2",
            "prober_probe_duration_seconds_sum{container=\"c\",namespace=\"n\",pod=\"p\",probe_type=\"Liveness\"} 0.02",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("unknown"), "what never was has no series");
    }
}
