//! What node, pods and containers use right now, read from control groups and `/proc`. No engine is asked: the pods' last
//! known state names the processes, and their files have the figures.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;

use super::state::ServerState;
use crate::node::machine::{self, Memory};
use crate::runtime::{ContainerState, ContainerStats, PodRef, RuntimeContainer};

/// One look at everything.
pub(super) struct Usage {
    pub at: SystemTime,
    pub node: ContainerStats,
    pub network: Vec<Interface>,
    pub pods: Vec<PodUsage>,
}

pub(super) struct PodUsage {
    pub pod: PodRef,
    pub started_at: Timestamp,
    /// Of the pod's control group: its containers, and the pause process.
    pub total: Option<ContainerStats>,
    /// Empty for pods on the host's network.
    pub network: Vec<Interface>,
    pub containers: Vec<ContainerUsage>,
}

pub(super) struct ContainerUsage {
    pub container: RuntimeContainer,
    pub started_at: Timestamp,
    pub stats: ContainerStats,
}

/// Counters of one network interface since it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_errors: u64,
    pub tx_bytes: u64,
    pub tx_errors: u64,
}

/// Looks. Pods that end meanwhile are left out; `false` says that a figure of a running one could not be read.
pub(super) async fn gather(state: &ServerState) -> (Usage, bool) {
    let mut complete = true;
    let mut pods = Vec::new();
    for pod in state.store.list() {
        let Some(runtime) = pod.metadata.uid.as_deref().and_then(|uid| state.store.runtime_pod(uid)) else { continue };
        let Some(sandbox) = runtime.sandboxes.iter().find(|sandbox| sandbox.ready) else { continue };
        let mut containers = Vec::new();
        for container in &runtime.containers {
            let ContainerState::Running { started_at } = container.state else { continue };
            match state.runtime.stats(&container.id).await {
                Ok(Some(stats)) => {
                    containers.push(ContainerUsage { container: container.clone(), started_at, stats });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, container = container.name, "cannot read usage");
                    complete = false;
                }
            }
        }
        let network = match sandbox.pid {
            Some(pid) if !sandbox.host_network => interfaces(Path::new(&format!("/proc/{pid}/net/dev"))),
            _ => Vec::new(),
        };
        let total = state.runtime.pod_stats(&sandbox.id).await.unwrap_or_default();
        let pod = runtime.pod.clone();
        pods.push(PodUsage { pod, started_at: sandbox.created_at, total, network, containers });
    }
    pods.sort_by(|a, b| (&a.pod.namespace, &a.pod.name).cmp(&(&b.pod.namespace, &b.pod.name)));
    let node = node().unwrap_or_else(|| {
        complete = false;
        ContainerStats::default()
    });
    (Usage { at: SystemTime::now(), node, network: interfaces(Path::new("/proc/net/dev")), pods }, complete)
}

/// The whole machine, as `/proc` has it.
fn node() -> Option<ContainerStats> {
    let processors = std::fs::read_to_string("/proc/stat").ok()?;
    node_usage(machine::memory()?, &processors)
}

fn node_usage(memory: Memory, processors: &str) -> Option<ContainerStats> {
    // user, nice, system, idle, iowait, irq, softirq, steal, in hundredths of a second.
    let ticks: Vec<u64> =
        processors.lines().next()?.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let busy: u64 = ticks.iter().enumerate().filter(|(nth, _)| ![3, 4].contains(nth) && *nth < 8).map(|(_, t)| t).sum();
    Some(ContainerStats {
        cpu_usage_nanos: busy * 10_000_000,
        memory_usage_bytes: memory.usage,
        memory_working_set_bytes: memory.working_set,
        memory_rss_bytes: memory.anonymous,
    })
}

fn interfaces(path: &Path) -> Vec<Interface> {
    std::fs::read_to_string(path).map(|text| parse_interfaces(&text)).unwrap_or_default()
}

/// `/proc/net/dev`: two lines of titles, then a name and sixteen counters. The loopback is nobody's traffic.
fn parse_interfaces(text: &str) -> Vec<Interface> {
    text.lines()
        .skip(2)
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let at = |index: usize| counters.get(index).copied();
            Some(Interface {
                name: name.trim().to_owned(),
                rx_bytes: at(0)?,
                rx_errors: at(2)?,
                tx_bytes: at(8)?,
                tx_errors: at(10)?,
            })
        })
        .filter(|interface| interface.name != "lo")
        .collect()
}

/// The pods' interface, or the host's first.
pub(super) fn primary(interfaces: &[Interface]) -> Option<&Interface> {
    interfaces.iter().find(|interface| interface.name == "eth0").or_else(|| interfaces.first())
}

/// How many containers run.
pub(super) fn running(state: &Arc<ServerState>) -> (usize, usize) {
    let pods: Vec<_> = state
        .store
        .list()
        .iter()
        .filter_map(|pod| state.store.runtime_pod(pod.metadata.uid.as_deref()?))
        .filter(|pod| pod.sandboxes.iter().any(|sandbox| sandbox.ready))
        .collect();
    let running = |container: &&RuntimeContainer| matches!(container.state, ContainerState::Running { .. });
    (pods.len(), pods.iter().map(|pod| pod.containers.iter().filter(running).count()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_interfaces_without_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n  \
            eth0: 5000      40    2    0    0     0          0         0     7000      50    3    0    0     0       0          0\n";
        let eth0 = Interface { name: "eth0".to_owned(), rx_bytes: 5000, rx_errors: 2, tx_bytes: 7000, tx_errors: 3 };
        assert_eq!(parse_interfaces(text), [eth0]);
    }

    #[test]
    fn the_node_is_what_proc_says() {
        let memory = Memory { total: 1000, usage: 600, working_set: 500, anonymous: 50 };
        let node = node_usage(memory, "cpu  10 1 5 1000 50 2 2 0 7 0\ncpu0 1 1 1\n").expect("figures");
        assert_eq!(node.cpu_usage_nanos, 20 * 10_000_000, "idle, waiting and guests do not count");
        assert_eq!((node.memory_usage_bytes, node.memory_working_set_bytes), (600, 500));
    }
}
