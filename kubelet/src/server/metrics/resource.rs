//! `/metrics/resource`: what `kubectl top` and the autoscalers live on, by way of metrics-server.

use std::sync::Arc;

use axum::extract::State;

use super::exposition::{Exposition, number, seconds};
use crate::server::state::ServerState;
use crate::server::usage::{Usage, gather};

/// CPU and memory of node, pods and containers.
pub async fn resource(State(state): State<Arc<ServerState>>) -> Exposition {
    let (usage, complete) = gather(&state).await;
    render(&usage, complete)
}

fn render(usage: &Usage, complete: bool) -> Exposition {
    let mut text = Exposition::default();
    let at = Some(usage.at);
    let mut family = text.counter(
        "container_cpu_usage_seconds_total",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    );
    each_container(usage, |labels, container| family.sample(labels, seconds(container.stats.cpu_usage_nanos), at));
    let mut family =
        text.gauge("container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes");
    each_container(usage, |labels, container| {
        family.sample(labels, number(container.stats.memory_working_set_bytes), at);
    });
    let mut family =
        text.gauge("container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds");
    each_container(usage, |labels, container| {
        family.sample(labels, container.started_at.as_duration().as_secs_f64(), None);
    });
    text.counter("node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds")
        .sample(&[], seconds(usage.node.cpu_usage_nanos), at);
    text.gauge("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes").sample(
        &[],
        number(usage.node.memory_working_set_bytes),
        at,
    );
    let mut family =
        text.counter("pod_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds");
    for pod in &usage.pods {
        if let Some(total) = pod.total {
            let labels = [("namespace", pod.pod.namespace.as_str()), ("pod", &pod.pod.name)];
            family.sample(&labels, seconds(total.cpu_usage_nanos), at);
        }
    }
    let mut family = text.gauge("pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes");
    for pod in &usage.pods {
        if let Some(total) = pod.total {
            let labels = [("namespace", pod.pod.namespace.as_str()), ("pod", &pod.pod.name)];
            family.sample(&labels, number(total.memory_working_set_bytes), at);
        }
    }
    text.gauge(
        "resource_scrape_error",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    )
    .sample(&[], if complete { 0.0 } else { 1.0 }, None);
    text
}

fn each_container(usage: &Usage, mut sample: impl FnMut(&[(&str, &str)], &crate::server::usage::ContainerUsage)) {
    for pod in &usage.pods {
        for container in &pod.containers {
            let labels = [
                ("container", container.container.name.as_str()),
                ("namespace", &pod.pod.namespace),
                ("pod", &pod.pod.name),
            ];
            sample(&labels, container);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ContainerStats;
    use crate::runtime::PodRef;
    use crate::server::usage::PodUsage;

    #[test]
    fn a_pod_has_the_figures_of_its_group() {
        let total =
            ContainerStats { cpu_usage_nanos: 1_500_000_000, memory_working_set_bytes: 4096, ..Default::default() };
        let pod = PodRef { uid: "u".to_owned(), namespace: "n".to_owned(), name: "p".to_owned() };
        let usage = Usage {
            at: std::time::UNIX_EPOCH,
            node: ContainerStats::default(),
            network: Vec::new(),
            pods: vec![PodUsage {
                pod,
                started_at: jiff::Timestamp::UNIX_EPOCH,
                total: Some(total),
                network: Vec::new(),
                containers: Vec::new(),
            }],
        };
        let text = render(&usage, true).into_text();
        assert!(text.contains("pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 1.5 0\n"), "{text}");
        assert!(text.contains("pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 4096 0\n"), "{text}");
        assert!(text.ends_with("resource_scrape_error 0\n"), "{text}");
    }
}
