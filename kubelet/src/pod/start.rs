//! Starts what a pass decided to start, everything at once that can be: the sandbox and its network come up while images
//! are found, volumes filled and containers created; then all containers start together. A hook of one container does not
//! hold up another one.

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::actions::{Actions, Start, back_off_key, container_of};
use super::context::{WorkerContext, field_path};
use super::facts;
use super::state::PodState;
use super::{image_volumes, kill, sync};
use crate::container_spec::{
    ContainerRef, all_containers, container_config, is_alone, needs_pod_ip, runtime_handler, sandbox_config,
    write_hosts_file,
};
use crate::error_chain::chain;
use crate::events::EventType;
use crate::lifecycle;
use crate::runtime::{ContainerId, ContainerKind, PidMode, RuntimeError, SandboxId};
use crate::status::Waiting;
use crate::volume::PodVolumes;

/// A result that several containers wait for; the error was told already.
type Common<T> = Shared<BoxFuture<'static, Result<T, ()>>>;

/// Starts; false if anything failed. What failed was told by events and waiting reasons.
pub async fn start(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    actions: &Actions,
    cancel: &CancellationToken,
) -> bool {
    if !facts::host_network(pod)
        && let Err(cause) = context.network.status()
    {
        context.events.pod(pod, EventType::Warning, "NetworkNotReady", format!("network is not ready: {cause}"));
        return false;
    }
    if !facts::is_static(pod) {
        tokio::select! {
            () = context.spec.services.ready() => {}
            () = cancel.cancelled() => return false,
        }
    }
    let (cgroups, owner, pods) = (Arc::clone(&context.cgroups), Arc::clone(pod), context.store.list());
    let prepared = tokio::task::spawn_blocking(move || {
        cgroups.update_burstable(pods.iter().map(AsRef::as_ref))?;
        cgroups.ensure_pod(&owner)
    })
    .await;
    if let Ok(Err(error)) = prepared {
        context.events.pod(
            pod,
            EventType::Warning,
            "FailedCreatePodContainer",
            format!("unable to ensure pod container exists: {}", chain(&error)),
        );
        return false;
    }
    // A task of its own: volumes are filled while the sandbox is created.
    let mounted = AbortOnDropHandle::new(tokio::spawn(mount(Arc::clone(context), Arc::clone(pod), state.clone())));
    let volumes = async move { mounted.await.unwrap_or(Err(())) }.boxed().shared();
    let (id, network) = match sandbox(context, pod, state, actions).await {
        Ok(sandbox) => sandbox,
        Err(()) => return false,
    };
    let starts = actions.start.iter().map(|start| one(context, pod, state, start, &id, &volumes, &network, cancel));
    let (results, network) = if is_alone(pod) {
        // Nothing waits for the pause process here, and starting both at once takes longer for each.
        (join_all(starts).await, network.clone().await)
    } else {
        tokio::join!(join_all(starts), network.clone())
    };
    network.is_ok() && results.into_iter().all(|started| started)
}

/// The sandbox that containers can be created in, and the addresses that they have once it runs.
async fn sandbox(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    actions: &Actions,
) -> Result<(SandboxId, Common<Vec<IpAddr>>), ()> {
    if let Some(id) = &actions.sandbox {
        let pid =
            state.lock().runtime.as_ref().and_then(|runtime| runtime.sandboxes.first().and_then(|sandbox| sandbox.pid));
        let (context, pod, state, id) = (Arc::clone(context), Arc::clone(pod), state.clone(), id.clone());
        let sandbox = id.clone();
        let network = async move {
            let ips = sync::ensure_network(&context, &pod, &id, pid)
                .await
                .map_err(|message| sandbox_failed(&context, &pod, &message))?;
            addressed(&context, &pod, &state, ips)
        };
        return Ok((sandbox, network.boxed().shared()));
    }
    let attempt = actions.create_sandbox.unwrap_or(0);
    let (id, ports) =
        create_sandbox(context, pod, attempt).await.map_err(|message| sandbox_failed(context, pod, &message))?;
    let network = run_sandbox(Arc::clone(context), Arc::clone(pod), state.clone(), id.clone(), ports);
    Ok((id, network.boxed().shared()))
}

async fn create_sandbox(
    context: &WorkerContext,
    pod: &Pod,
    attempt: u32,
) -> Result<(SandboxId, Vec<crate::runtime::PortMapping>), String> {
    let mut config = sandbox_config(&context.spec, pod, attempt).map_err(|error| chain(&error))?;
    config.runtime_handler = runtime_handler(&context.spec, pod).await.map_err(|error| chain(&error))?;
    let id = context.runtime.create_sandbox(&config).await.map_err(|error| chain(&error))?;
    Ok((id, config.port_mappings))
}

async fn run_sandbox(
    context: Arc<WorkerContext>,
    pod: Arc<Pod>,
    state: PodState,
    id: SandboxId,
    ports: Vec<crate::runtime::PortMapping>,
) -> Result<Vec<IpAddr>, ()> {
    let _turn = context.starts.sandbox().await;
    let started =
        context.runtime.start_sandbox(&id).await.map_err(|error| sandbox_failed(&context, &pod, &chain(&error)))?;
    if facts::host_network(&pod) {
        let ips = context.spec.node.ips.clone();
        return addressed(&context, &pod, &state, ips);
    }
    match context.network.add(&facts::pod_ref(&pod), &id, &started.netns, &ports).await {
        Ok(network) => addressed(&context, &pod, &state, network.ips),
        Err(error) => {
            let message = format!(
                "failed to set up sandbox container {:?} network for pod {:?}: {}",
                id.0,
                facts::name(&pod),
                chain(&error)
            );
            sandbox_failed(&context, &pod, &message);
            // A sandbox without a network is of no use to anybody.
            kill::stop_sandbox(&context, &pod, &id).await;
            Err(())
        }
    }
}

fn addressed(context: &WorkerContext, pod: &Pod, state: &PodState, ips: Vec<IpAddr>) -> Result<Vec<IpAddr>, ()> {
    write_hosts_file(&context.spec, pod, &ips).map_err(|error| sandbox_failed(context, pod, &chain(&error)))?;
    state.lock().pod_ips.clone_from(&ips);
    Ok(ips)
}

fn sandbox_failed(context: &WorkerContext, pod: &Pod, message: &str) {
    tracing::warn!(pod = facts::full_name(pod), message, "sandbox failed");
    context.events.pod(
        pod,
        EventType::Warning,
        "FailedCreatePodSandBox",
        format!("Failed to create pod sandbox: {message}"),
    );
}

async fn mount(context: Arc<WorkerContext>, pod: Arc<Pod>, state: PodState) -> Result<PodVolumes, ()> {
    if let Err((volume, waiting)) = image_volumes::mount_images(&context, &pod).await {
        tracing::warn!(pod = facts::full_name(&pod), volume, message = waiting.message, "image volume failed");
        let mut memory = state.lock();
        for container in all_containers(&pod) {
            if image_volumes::mounts(&container.container(), &volume) {
                memory.waiting.insert(container.name().to_owned(), waiting.clone());
            }
        }
        return Err(());
    }
    context.volumes.mount_pod(&pod).await.map_err(|error| {
        let message = chain(&error);
        tracing::warn!(pod = facts::full_name(&pod), message, "volumes failed");
        context.events.pod(&pod, EventType::Warning, "FailedMount", message);
    })
}

#[expect(clippy::too_many_arguments, reason = "the parts of one container's start, used nowhere else")]
async fn one(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    start: &Start,
    sandbox: &SandboxId,
    volumes: &Common<PodVolumes>,
    network: &Common<Vec<IpAddr>>,
    cancel: &CancellationToken,
) -> bool {
    let Some(container) = container_of(pod, start) else { return true };
    let created = tokio::select! {
        created = create(context, pod, state, &container, start, sandbox, volumes, network) => created,
        () = cancel.cancelled() => return false,
    };
    let id = match created {
        Ok(Some(id)) => id,
        Ok(None) => return false,
        Err(waiting) => return refuse(context, pod, state, &container, waiting),
    };
    let waits = start.kind != ContainerKind::App || !is_alone(pod);
    if waits && network.clone().await.is_err() || cancel.is_cancelled() {
        return false;
    }
    if let Some(exit) = start.after {
        state.lock().back_offs.next(&back_off_key(pod, &container.container()), exit, Timestamp::now());
    }
    let started = {
        let _turn = context.starts.container().await;
        context.runtime.start_container(&id).await
    };
    if let Err(error) = started {
        let waiting = Waiting { reason: "RunContainerError".to_owned(), message: chain(&error) };
        return refuse(context, pod, state, &container, waiting);
    }
    {
        let mut memory = state.lock();
        memory.waiting.remove(container.name());
        memory.forced.remove(container.name());
    }
    context.tell(pod, &container, EventType::Normal, "Started", "Container started");
    post_start(context, pod, state, &container, &id, cancel).await
}

/// `None`: something common to all containers failed, which was told already.
#[expect(clippy::too_many_arguments, reason = "the parts of one container's creation, used nowhere else")]
async fn create(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    container: &ContainerRef<'_>,
    start: &Start,
    sandbox: &SandboxId,
    volumes: &Common<PodVolumes>,
    network: &Common<Vec<IpAddr>>,
) -> Result<Option<ContainerId>, Waiting> {
    let spec = container.container();
    let Ok(volumes) = volumes.clone().await else { return Ok(None) };
    let image = context.images.ensure(pod, &spec, &field_path(start.kind, container.name())).await?;
    let ips = if needs_pod_ip(pod, &spec) {
        let Ok(ips) = network.clone().await else { return Ok(None) };
        ips
    } else {
        Vec::new()
    };
    let config = container_config(&context.spec, pod, *container, start.attempt, &image, &volumes, &ips).await;
    let mut config = config.map_err(|error| Waiting { reason: error.reason().to_owned(), message: chain(&error) })?;
    if let Some(target) = container.target() {
        config.pid_mode = target_process(state, target)?;
    }
    let id = context.runtime.create_container(sandbox, &config).await.map_err(|error| Waiting {
        reason: match error {
            RuntimeError::ImageAbsent { .. } => "ErrImageNeverPull",
            _ => "CreateContainerError",
        }
        .to_owned(),
        message: chain(&error),
    })?;
    context.tell(pod, container, EventType::Normal, "Created", "Container created");
    Ok(Some(id))
}

/// The process namespace that an ephemeral container joins.
fn target_process(state: &PodState, target: &str) -> Result<PidMode, Waiting> {
    let memory = state.lock();
    let running = memory.runtime.iter().flat_map(|runtime| &runtime.containers).find(|container| {
        container.name == target && container.kind != ContainerKind::Ephemeral && super::actions::is_running(container)
    });
    running.map(|container| PidMode::Container(container.id.clone())).ok_or_else(|| Waiting {
        reason: "CreateContainerConfigError".to_owned(),
        message: format!("unable to find target container {target}"),
    })
}

fn refuse(
    context: &WorkerContext,
    pod: &Pod,
    state: &PodState,
    container: &ContainerRef<'_>,
    waiting: Waiting,
) -> bool {
    let told = state.lock().waiting.insert(container.name().to_owned(), waiting.clone()) == Some(waiting.clone());
    if !told {
        tracing::warn!(
            pod = facts::full_name(pod),
            container = container.name(),
            reason = waiting.reason,
            message = waiting.message,
            "container does not start"
        );
        if !waiting.reason.contains("Image") {
            context.tell(pod, container, EventType::Warning, "Failed", format!("Error: {}", waiting.message));
        }
    }
    false
}

async fn post_start(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    container: &ContainerRef<'_>,
    id: &ContainerId,
    cancel: &CancellationToken,
) -> bool {
    let spec = container.container();
    let Some(hook) = spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else { return true };
    // The container is seen running while its hook still runs.
    if let Err(error) = sync::look(context, pod, state).await {
        tracing::debug!(%error, "cannot look at pod during a hook");
    }
    sync::publish(context, pod, state);
    let ips = state.lock().pod_ips.clone();
    let result = tokio::select! {
        result = lifecycle::run_hook(&*context.runtime, hook, &spec, id, &ips) => result,
        () = cancel.cancelled() => return false,
    };
    let Err(error) = result else { return true };
    context.tell(
        pod,
        container,
        EventType::Warning,
        "FailedPostStartHook",
        format!("PostStartHook failed: {}", chain(&error)),
    );
    context.tell(pod, container, EventType::Normal, "Killing", "FailedPostStartHook");
    if let Err(error) = context.runtime.stop_container(id, facts::grace_period(pod)).await {
        tracing::warn!(%error, "cannot stop container whose hook failed");
    }
    state.lock().waiting.insert(
        container.name().to_owned(),
        Waiting { reason: "PostStartHookError".to_owned(), message: chain(&error) },
    );
    false
}
