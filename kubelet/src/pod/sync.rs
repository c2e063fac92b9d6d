//! One pass over a pod that should run: look, decide, tell, act, look again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::actions::{Actions, Kill, KillReason, View, compute_actions};
use super::context::{WorkerContext, field_path};
use super::state::PodState;
use super::{facts, kill, messages, resize, start};
use crate::events::EventType;
use crate::runtime::{ContainerId, ContainerState, RuntimePod, SandboxId};
use crate::status::{StatusInput, Waiting, pod_status};

/// What a pass found out about the pod's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be; look again at this time at the latest, if any.
    Settled(Option<Timestamp>),
    /// Something was done that needs another pass at once.
    Again,
    /// Something failed: try again soon.
    Failed,
    /// The pod has run to its end.
    Finished,
}

/// Runs one pass. `cancel` ends waits early because the pod is to be terminated.
pub async fn pass(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    cancel: &CancellationToken,
) -> Outcome {
    let mut runtime = match look(context, pod, state).await {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(pod = facts::full_name(pod), %error, "cannot look at pod");
            return Outcome::Failed;
        }
    };
    let mut actions = decide(context, pod, state, &runtime);
    note_back_offs(context, pod, state, &actions);
    publish(context, pod, state);
    if actions.kill_pod {
        if !runtime.sandboxes.is_empty() && !actions.finished {
            context.events.pod(
                pod,
                EventType::Normal,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            );
        }
        kill::kill_pod(context, pod, &runtime, facts::grace_period(pod)).await;
        if let Err(error) = look(context, pod, state).await {
            tracing::warn!(pod = facts::full_name(pod), %error, "cannot look at killed pod");
            return Outcome::Failed;
        }
        if actions.finished {
            return Outcome::Finished;
        }
    }
    if !actions.kill.is_empty() {
        kill_wrong(context, pod, &runtime, &actions.kill).await;
        // What was killed starts again in the same pass, before anybody is told that it does not run.
        runtime = match look(context, pod, state).await {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::warn!(pod = facts::full_name(pod), %error, "cannot look at pod with killed containers");
                return Outcome::Failed;
            }
        };
        actions = decide(context, pod, state, &runtime);
        if actions.kill_pod || !actions.kill.is_empty() || actions.start.is_empty() {
            return Outcome::Again;
        }
    }
    let plan = resize_plan(context, pod, state);
    if !plan.restart.is_empty() {
        kill_wrong(context, pod, &runtime, &plan.restart).await;
        state.lock().forced.extend(plan.restart.into_iter().map(|kill| kill.name));
        return Outcome::Again;
    }
    if !plan.update.is_empty() {
        let result = resize::actuate(context, pod, state, &plan.update).await;
        let failed = result.is_err();
        if let Err(message) = &result {
            tracing::warn!(pod = facts::full_name(pod), message, "cannot resize");
            context.events.pod(pod, EventType::Warning, "ResizeError", message.clone());
        }
        state.lock().resize_error = result.err();
        if failed {
            publish(context, pod, state);
            return Outcome::Failed;
        }
        return Outcome::Again;
    }
    let settled = Outcome::Settled(actions.backing_off.iter().map(|wait| wait.until).min());
    if actions.create_sandbox.is_none() && actions.start.is_empty() {
        return match refresh_volumes(context, pod).await {
            Ok(()) => settled,
            Err(()) => Outcome::Failed,
        };
    }
    let done = start::start(context, pod, state, &actions, cancel).await;
    if let Err(error) = look(context, pod, state).await {
        tracing::warn!(pod = facts::full_name(pod), %error, "cannot look at started pod");
        return Outcome::Failed;
    }
    publish(context, pod, state);
    if done { settled } else { Outcome::Failed }
}

/// Asks the engine, and takes over what it says: addresses and last words included. Probes learn of it before anybody
/// reads their results, because a container that nothing probes counts as ready.
pub async fn look(
    context: &WorkerContext,
    pod: &Arc<Pod>,
    state: &PodState,
) -> Result<Arc<RuntimePod>, crate::runtime::RuntimeError> {
    let uid = facts::uid(pod);
    let runtime = Arc::new(context.runtime.pod(uid).await?);
    let unread: Vec<_> = {
        let memory = state.lock();
        let exited =
            |container: &&crate::runtime::RuntimeContainer| matches!(container.state, ContainerState::Exited { .. });
        runtime
            .containers
            .iter()
            .filter(exited)
            .filter(|container| !memory.messages.contains_key(&container.id))
            .cloned()
            .collect()
    };
    let containers = crate::container_spec::all_containers(pod).count();
    let mut read: HashMap<ContainerId, String> = HashMap::new();
    for container in unread {
        let message = messages::termination_message(&*context.runtime, &container, containers).await;
        read.insert(container.id, message);
    }
    let ips = addresses(context, pod, &runtime).await;
    let mut memory = state.lock();
    memory.messages.retain(|id, _| runtime.containers.iter().any(|container| container.id == *id));
    memory.messages.extend(read);
    memory.settled.retain(|id, _| runtime.containers.iter().any(|container| container.id == *id));
    memory.waiting.retain(|name, _| {
        !runtime
            .containers
            .iter()
            .any(|container| container.name == *name && matches!(container.state, ContainerState::Running { .. }))
    });
    if let Some(ips) = ips {
        memory.pod_ips = ips;
    }
    memory.runtime = Some(Arc::clone(&runtime));
    let (known, terminating) = (memory.pod_ips.clone(), memory.terminating);
    drop(memory);
    context.probes.sync_pod(pod, &runtime, &known, terminating);
    context.store.set_runtime(uid, Arc::clone(&runtime));
    Ok(runtime)
}

/// The pod's addresses; `None` leaves what is known, for a sandbox that is just being made.
async fn addresses(context: &WorkerContext, pod: &Pod, runtime: &RuntimePod) -> Option<Vec<IpAddr>> {
    if facts::host_network(pod) {
        return Some(context.spec.node.ips.clone());
    }
    let sandbox = runtime.sandboxes.first().filter(|sandbox| sandbox.ready)?;
    context.network.cached(&sandbox.id).map(|network| network.ips)
}

/// A running sandbox that lost its network, or never got it because the kubelet died in between, gets it now.
pub async fn ensure_network(
    context: &WorkerContext,
    pod: &Pod,
    id: &SandboxId,
    pid: Option<i32>,
) -> Result<Vec<IpAddr>, String> {
    if facts::host_network(pod) {
        return Ok(context.spec.node.ips.clone());
    }
    if let Some(network) = context.network.cached(id) {
        return Ok(network.ips);
    }
    let pid = pid.ok_or("sandbox has no process")?;
    let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let ports = crate::container_spec::port_mappings(pod);
    let network = context.network.add(&facts::pod_ref(pod), id, &netns, &ports).await;
    network.map(|network| network.ips).map_err(|error| crate::error_chain::chain(&error))
}

fn decide(context: &WorkerContext, pod: &Pod, state: &PodState, runtime: &RuntimePod) -> Actions {
    let memory = state.lock();
    let previous = context.store.status_ref(facts::uid(pod));
    let probes = |container: &crate::runtime::RuntimeContainer| {
        context.probes.results(facts::uid(pod), &container.name, &container.id)
    };
    compute_actions(&View {
        pod,
        runtime,
        previous: previous.as_deref().or(memory.first_status.as_ref()),
        back_offs: &memory.back_offs,
        probes: &probes,
        forced: &memory.forced,
        now: Timestamp::now(),
    })
}

fn note_back_offs(context: &WorkerContext, pod: &Pod, state: &PodState, actions: &Actions) {
    for wait in &actions.backing_off {
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            junio_api::duration::GoDuration(wait.delay),
            wait.name,
            WorkerContext::label(pod)
        );
        let waiting = Waiting { reason: "CrashLoopBackOff".to_owned(), message };
        let new = state.lock().waiting.insert(wait.name.clone(), waiting.clone()) != Some(waiting);
        if let Some(container) = crate::container_spec::find_container(pod, &wait.name).filter(|_| new) {
            let message =
                format!("Back-off restarting failed container {} in pod {}", wait.name, WorkerContext::label(pod));
            context.tell(pod, &container, EventType::Warning, "BackOff", message);
        }
    }
}

fn resize_plan(context: &WorkerContext, pod: &Pod, state: &PodState) -> resize::Plan {
    let memory = state.lock();
    match &memory.runtime {
        Some(runtime) => resize::plan(&context.spec, pod, runtime, &memory.settled),
        None => resize::Plan::default(),
    }
}

/// Computes the status and publishes it.
pub fn publish(context: &WorkerContext, pod: &Pod, state: &PodState) {
    let uid = facts::uid(pod);
    let previous = context.store.status_ref(uid);
    let probes =
        |container: &crate::runtime::RuntimeContainer| context.probes.results(uid, &container.name, &container.id);
    let resizing = resize_plan(context, pod, state).unfinished();
    let status = {
        let memory = state.lock();
        let Some(runtime) = &memory.runtime else { return };
        pod_status(&StatusInput {
            pod,
            runtime,
            previous: previous.as_deref().or(memory.first_status.as_ref()),
            waiting: &memory.waiting,
            messages: &memory.messages,
            probes: &probes,
            terminal: memory.terminal,
            verdict: memory.verdict.as_ref(),
            resizing: &resizing,
            pending: memory.pending.as_ref(),
            resize_error: memory.resize_error.as_deref(),
            pod_ips: &memory.pod_ips,
            host_ips: &context.spec.node.ips,
            start_time: memory.start_time,
            now: facts::now_in_seconds(),
        })
    };
    context.status.set(uid, status);
}

async fn kill_wrong(context: &Arc<WorkerContext>, pod: &Arc<Pod>, runtime: &RuntimePod, kills: &[Kill]) {
    let kills = kills.iter().filter_map(|wrong| {
        let container = runtime.containers.iter().find(|container| container.id == wrong.id)?;
        context.events.container(
            pod,
            field_path(container.kind, &container.name),
            EventType::Normal,
            "Killing",
            wrong.reason.message(&container.name),
        );
        let grace = probe_grace(pod, wrong).unwrap_or_else(|| facts::grace_period(pod));
        Some(kill::kill_container(context, pod, container, grace))
    });
    join_all(kills).await;
}

/// `terminationGracePeriodSeconds` of the probe that failed.
fn probe_grace(pod: &Pod, wrong: &Kill) -> Option<Duration> {
    let container = crate::container_spec::find_container(pod, &wrong.name)?.container().into_owned();
    let probe = match wrong.reason {
        KillReason::LivenessFailed => container.liveness_probe?,
        KillReason::StartupFailed => container.startup_probe?,
        KillReason::SpecChanged | KillReason::Resized => return None,
    };
    probe.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

/// Brings the content of volumes up to date.
async fn refresh_volumes(context: &WorkerContext, pod: &Arc<Pod>) -> Result<(), ()> {
    context.volumes.mount_pod(pod).await.map(drop).map_err(|error| {
        context.events.pod(pod, EventType::Warning, "FailedMount", crate::error_chain::chain(&error));
    })
}
