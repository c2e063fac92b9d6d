//! `/metrics/cadvisor`: the families that dashboards and alerts of the usual Prometheus setups are built on.

use std::sync::Arc;

use axum::extract::State;

use super::exposition::{Exposition, number, seconds};
use crate::runtime::ContainerStats;
use crate::server::state::ServerState;
use crate::server::usage::{Interface, Usage, gather};

type Figure<T> = (&'static str, &'static str, bool, fn(&T) -> f64);

const OF_GROUPS: [Figure<ContainerStats>; 4] = [
    ("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", true, |stats| {
        seconds(stats.cpu_usage_nanos)
    }),
    (
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        false,
        |stats| number(stats.memory_usage_bytes),
    ),
    ("container_memory_working_set_bytes", "Current working set in bytes.", false, |stats| {
        number(stats.memory_working_set_bytes)
    }),
    ("container_memory_rss", "Size of RSS in bytes.", false, |stats| number(stats.memory_rss_bytes)),
];

const OF_INTERFACES: [Figure<Interface>; 4] = [
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", true, |i| number(i.rx_bytes)),
    ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", true, |i| {
        number(i.rx_errors)
    }),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", true, |i| number(i.tx_bytes)),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        true,
        |i| number(i.tx_errors),
    ),
];

/// Containers, pods (with an empty `container`) and the node (with the id `/`).
pub async fn cadvisor(State(state): State<Arc<ServerState>>) -> Exposition {
    let (usage, _) = gather(&state).await;
    render(&usage)
}

fn render(usage: &Usage) -> Exposition {
    let mut text = Exposition::default();
    let at = Some(usage.at);
    for (name, help, counter, value) in OF_GROUPS {
        let mut family = if counter { text.counter(name, help) } else { text.gauge(name, help) };
        family.sample(&labels("", "/", "", "", ""), value(&usage.node), at);
        for pod in &usage.pods {
            let (namespace, pod_name) = (pod.pod.namespace.as_str(), pod.pod.name.as_str());
            if let Some(total) = &pod.total {
                family.sample(&labels("", &pod.pod.uid, "", namespace, pod_name), value(total), at);
            }
            for one in &pod.containers {
                let container = &one.container;
                let labels = labels(&container.name, &container.id.0, &container.image, namespace, pod_name);
                family.sample(&labels, value(&one.stats), at);
            }
        }
    }
    let mut family =
        text.gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.");
    for pod in &usage.pods {
        for one in &pod.containers {
            let container = &one.container;
            let labels = labels(&container.name, &container.id.0, &container.image, &pod.pod.namespace, &pod.pod.name);
            family.sample(&labels, one.started_at.as_duration().as_secs_f64(), at);
        }
    }
    for (name, help, _, value) in OF_INTERFACES {
        let mut family = text.counter(name, help);
        let pods = usage.pods.iter().flat_map(|pod| {
            pod.network.iter().map(|interface| (pod.pod.uid.as_str(), interface, &*pod.pod.namespace, &*pod.pod.name))
        });
        let node = usage.network.iter().map(|interface| ("/", interface, "", ""));
        for (id, interface, namespace, pod) in node.chain(pods) {
            let labels = [("id", id), ("interface", &interface.name), ("namespace", namespace), ("pod", pod)];
            family.sample(&labels, value(interface), at);
        }
    }
    text
}

fn labels<'a>(
    container: &'a str,
    id: &'a str,
    image: &'a str,
    namespace: &'a str,
    pod: &'a str,
) -> [(&'static str, &'a str); 5] {
    [("container", container), ("id", id), ("image", image), ("namespace", namespace), ("pod", pod)]
}
