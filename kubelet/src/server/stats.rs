//! `/stats/summary`: the same figures as one JSON object. Source of the shape: `k8s.io/kubelet/pkg/apis/stats/v1alpha1`.
//! Figures of pods' volumes and writable layers are not gathered and left out, which the format allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::ServerState;
use super::usage::{Interface, PodUsage, Usage, gather, primary};
use crate::node::machine;
use crate::runtime::ContainerStats;

/// A rate needs two looks; those that are closer together give none.
const SHORTEST: f64 = 0.5;

/// CPU counters of the last look, from which rates are made.
#[derive(Default)]
pub struct Rates {
    last: Mutex<HashMap<String, Look>>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at: SystemTime,
    nanos: u64,
    rate: Option<u64>,
}

impl Rates {
    /// Nanoseconds of CPU per second since the last look at `id`.
    fn of(&self, id: &str, at: SystemTime, nanos: u64) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = last.get(id).copied() else {
            last.insert(id.to_owned(), Look { at, nanos, rate: None });
            return None;
        };
        let elapsed = at.duration_since(before.at).ok()?;
        if elapsed.as_secs_f64() < SHORTEST {
            return before.rate;
        }
        let used = u128::from(nanos.saturating_sub(before.nanos));
        let rate = u64::try_from(used * 1_000_000_000 / elapsed.as_nanos()).ok();
        last.insert(id.to_owned(), Look { at, nanos, rate });
        rate
    }

    /// What was not looked at this time is gone.
    fn keep(&self, at: SystemTime, seen: &Usage) {
        let known: Vec<String> = seen
            .pods
            .iter()
            .flat_map(|pod| pod.containers.iter().map(|one| one.container.id.0.clone()).chain([pod.pod.uid.clone()]))
            .collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|id, look| id == NODE || look.at == at || known.contains(id));
    }
}

const NODE: &str = "/";

/// Node and pods.
pub async fn summary(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let (usage, _) = gather(&state).await;
    let root = state.options.root_dir.clone();
    let disk = tokio::task::spawn_blocking(move || machine::disk(&root)).await.ok().flatten();
    let time = Timestamp::try_from(usage.at).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    let group = |id: &str, stats: &ContainerStats| group(&state.rates, id, usage.at, &time, stats);
    let pods: Vec<Value> = usage.pods.iter().map(|pod| pod_stats(pod, &time, &group)).collect();
    let (cpu, memory) = group(NODE, &usage.node);
    let mut node = json!({
        "nodeName": state.options.node_name, "startTime": state.options.started_at.to_string(),
        "cpu": cpu, "memory": memory, "network": network(&usage.network, &time), "systemContainers": [],
    });
    if let Some(disk) = disk {
        node["fs"] = json!({
            "time": time, "capacityBytes": disk.total, "availableBytes": disk.available,
            "usedBytes": disk.total.saturating_sub(disk.available),
            "inodes": disk.inodes, "inodesFree": disk.inodes_free,
            "inodesUsed": disk.inodes.saturating_sub(disk.inodes_free),
        });
    }
    state.rates.keep(usage.at, &usage);
    Json(json!({"node": node, "pods": pods}))
}

fn pod_stats(pod: &PodUsage, time: &str, group: &dyn Fn(&str, &ContainerStats) -> (Value, Value)) -> Value {
    let containers: Vec<Value> = pod
        .containers
        .iter()
        .map(|one| {
            let (cpu, memory) = group(&one.container.id.0, &one.stats);
            json!({"name": one.container.name, "startTime": one.started_at.to_string(), "cpu": cpu, "memory": memory})
        })
        .collect();
    let mut stats = json!({
        "podRef": {"name": pod.pod.name, "namespace": pod.pod.namespace, "uid": pod.pod.uid},
        "startTime": pod.started_at.to_string(), "containers": containers,
    });
    if let Some(total) = &pod.total {
        let (cpu, memory) = group(&pod.pod.uid, total);
        stats["cpu"] = cpu;
        stats["memory"] = memory;
    }
    if !pod.network.is_empty() {
        stats["network"] = network(&pod.network, time);
    }
    stats
}

fn group(rates: &Rates, id: &str, at: SystemTime, time: &str, stats: &ContainerStats) -> (Value, Value) {
    let mut cpu = json!({"time": time, "usageCoreNanoSeconds": stats.cpu_usage_nanos});
    if let Some(rate) = rates.of(id, at, stats.cpu_usage_nanos) {
        cpu["usageNanoCores"] = rate.into();
    }
    let memory = json!({
        "time": time, "usageBytes": stats.memory_usage_bytes,
        "workingSetBytes": stats.memory_working_set_bytes, "rssBytes": stats.memory_rss_bytes,
    });
    (cpu, memory)
}

fn network(interfaces: &[Interface], time: &str) -> Value {
    let one = |interface: &Interface| {
        json!({
            "name": interface.name, "rxBytes": interface.rx_bytes, "rxErrors": interface.rx_errors,
            "txBytes": interface.tx_bytes, "txErrors": interface.tx_errors,
        })
    };
    let mut network = primary(interfaces).map_or_else(|| json!({}), one);
    network["time"] = time.into();
    network["interfaces"] = interfaces.iter().map(one).collect();
    network
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_needs_two_looks_that_are_far_enough_apart() {
        let rates = Rates::default();
        let start = SystemTime::UNIX_EPOCH;
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(rates.of("a", start, 100), None);
        assert_eq!(rates.of("a", at(100), 100), None, "too soon");
        assert_eq!(rates.of("a", at(2000), 1_000_000_100), Some(500_000_000));
        assert_eq!(rates.of("a", at(2100), 1_000_000_200), Some(500_000_000), "the last one is given again");
    }
}
