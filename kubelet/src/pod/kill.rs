//! Ends containers and sandboxes with their grace: hooks count against it, two seconds always remain for the stop.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::time::Instant;

use super::actions::is_running;
use super::context::{WorkerContext, field_path};
use super::facts;
use crate::container_spec::annotations::PORTS;
use crate::container_spec::find_container;
use crate::error_chain::chain;
use crate::events::EventType;
use crate::lifecycle;
use crate::runtime::{ContainerKind, RuntimeContainer, RuntimePod, SandboxId};

/// What a stop has at least, however long the hook took.
const LEAST: Duration = Duration::from_secs(2);

/// Kills all containers, app and ephemeral ones first and together, then sidecars in reverse order, then all sandboxes.
pub async fn kill_pod(context: &Arc<WorkerContext>, pod: &Arc<Pod>, runtime: &RuntimePod, grace: Duration) {
    let started = Instant::now();
    let (sidecars, apps): (Vec<_>, Vec<_>) = runtime
        .containers
        .iter()
        .filter(|container| is_running(container))
        .partition(|container| is_sidecar(pod, container));
    join_all(apps.into_iter().map(|container| kill_told(context, pod, container, grace))).await;
    let order =
        |container: &&RuntimeContainer| facts::init_containers(pod).iter().position(|init| init.name == container.name);
    let mut sidecars = sidecars;
    sidecars.sort_by_key(|container| std::cmp::Reverse(order(container)));
    for sidecar in sidecars {
        // They share the pod's grace with the containers before them.
        let rest = grace.saturating_sub(started.elapsed());
        kill_told(context, pod, sidecar, rest).await;
    }
    join_all(runtime.sandboxes.iter().map(|sandbox| stop_sandbox(context, pod, &sandbox.id))).await;
}

fn is_sidecar(pod: &Pod, container: &RuntimeContainer) -> bool {
    container.kind == ContainerKind::Init
        && facts::init_containers(pod).iter().any(|init| init.name == container.name && facts::is_sidecar(init))
}

async fn kill_told(context: &Arc<WorkerContext>, pod: &Arc<Pod>, container: &RuntimeContainer, grace: Duration) {
    let message = format!("Stopping container {}", container.name);
    context.events.container(pod, field_path(container.kind, &container.name), EventType::Normal, "Killing", message);
    kill_container(context, pod, container, grace).await;
}

/// Runs the preStop hook, then stops the container. Returns when it is dead or the engine refused.
pub async fn kill_container(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    container: &RuntimeContainer,
    grace: Duration,
) {
    let started = Instant::now();
    if !grace.is_zero() {
        pre_stop(context, pod, container, grace).await;
    }
    let rest = grace.saturating_sub(started.elapsed());
    // Only a hook can have used up what the pod asked for.
    let rest = if started.elapsed() > Duration::from_millis(500) { rest.max(LEAST) } else { rest };
    if let Err(error) = context.runtime.stop_container(&container.id, rest).await {
        tracing::warn!(
            pod = facts::full_name(pod),
            container = container.name,
            error = chain(&error),
            "cannot stop container"
        );
    }
}

/// From the spec, or from the container's own annotations when the spec is gone.
async fn pre_stop(context: &WorkerContext, pod: &Arc<Pod>, container: &RuntimeContainer, grace: Duration) {
    let spec = find_container(pod, &container.name).map(|found| found.container().into_owned());
    let Some(hook) = lifecycle::pre_stop_of(spec.as_ref(), container) else { return };
    // Without the spec, the ports that a hook may name were kept with the container.
    let spec = spec.unwrap_or_else(|| {
        let ports = container.annotations.get(PORTS).and_then(|text| serde_json::from_str(text).ok());
        Container { name: container.name.clone(), ports, ..Container::default() }
    });
    let status = context.store.status_ref(facts::uid(pod));
    let ips: Vec<std::net::IpAddr> =
        status.iter().flat_map(|status| status.pod_ips.iter().flatten()).filter_map(|ip| ip.ip.parse().ok()).collect();
    let run = lifecycle::run_hook(&*context.runtime, &hook, &spec, &container.id, &ips);
    let failure = match tokio::time::timeout(grace, run).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("did not end within {} s", grace.as_secs()),
    };
    let field = field_path(container.kind, &container.name);
    context.events.container(
        pod,
        field,
        EventType::Warning,
        "FailedPreStopHook",
        format!("PreStopHook failed: {failure}"),
    );
}

/// Takes the sandbox off the network and ends it; both are tried whatever happens to the other.
pub async fn stop_sandbox(context: &WorkerContext, pod: &Pod, id: &SandboxId) {
    if let Err(error) = context.network.del(id).await {
        tracing::warn!(
            pod = facts::full_name(pod),
            sandbox = id.0,
            error = chain(&error),
            "cannot take sandbox off the network"
        );
    }
    if let Err(error) = context.runtime.stop_sandbox(id).await {
        let message = chain(&error);
        tracing::warn!(pod = facts::full_name(pod), sandbox = id.0, error = message, "cannot stop sandbox");
        context.events.pod(pod, EventType::Warning, "FailedKillPod", format!("error killing pod: {message}"));
    }
}
