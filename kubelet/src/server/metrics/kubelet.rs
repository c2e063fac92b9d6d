//! `/metrics`: the kubelet about itself.

use std::sync::Arc;

use axum::extract::State;

use super::exposition::{Exposition, number};
use crate::server::state::ServerState;
use crate::server::usage::running;

/// Version, name, pods and the process.
pub async fn kubelet(State(state): State<Arc<ServerState>>) -> Exposition {
    let mut text = Exposition::default();
    let (pods, containers) = running(&state);
    text.gauge("kubernetes_build_info", "[ALPHA] A metric with a constant '1' value labeled by version.").sample(
        &[("git_version", junio_api::versions::KUBERNETES), ("platform", "linux/amd64")],
        1.0,
        None,
    );
    text.gauge("kubelet_node_name", "[ALPHA] The node's name. The count is always 1.").sample(
        &[("node", &state.options.node_name)],
        1.0,
        None,
    );
    text.gauge("kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox").sample(
        &[],
        number(pods as u64),
        None,
    );
    text.gauge("kubelet_running_containers", "[ALPHA] Number of containers currently running").sample(
        &[("container_state", "running")],
        number(containers as u64),
        None,
    );
    text.gauge("kubelet_desired_pods", "[ALPHA] The number of pods the kubelet is being instructed to run.").sample(
        &[],
        number(state.store.list().len() as u64),
        None,
    );
    process(&mut text);
    text
}

/// The families that every Prometheus client library has.
fn process(text: &mut Exposition) {
    let Ok(me) = procfs::process::Process::myself() else { return };
    if let Ok(stat) = me.stat() {
        let ticks = number(procfs::ticks_per_second());
        text.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.").sample(
            &[],
            number(stat.utime + stat.stime) / ticks,
            None,
        );
        text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.").sample(
            &[],
            number(stat.rss * procfs::page_size()),
            None,
        );
        text.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.").sample(
            &[],
            number(stat.vsize),
            None,
        );
        if let Ok(boot) = procfs::boot_time_secs() {
            text.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.").sample(
                &[],
                number(boot) + number(stat.starttime) / ticks,
                None,
            );
        }
    }
    if let Ok(open) = me.fd_count() {
        text.gauge("process_open_fds", "Number of open file descriptors.").sample(&[], number(open as u64), None);
    }
}
