//! Container statuses from the engine's state. Pure.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::pod_status::{StatusInput, Waiting};
use crate::pod::facts;
use crate::runtime::{ContainerId, ContainerKind, ContainerState, RuntimeContainer};

/// The scheme in front of a container ID.
pub const ID_PREFIX: &str = "docker://";

/// The status of one container of the spec.
#[must_use]
pub fn container_status(
    input: &StatusInput<'_>,
    kind: ContainerKind,
    container: &Container,
    default_reason: &str,
) -> ContainerStatus {
    let mut instances: Vec<&RuntimeContainer> = input
        .runtime
        .containers
        .iter()
        .filter(|instance| instance.kind == kind && instance.name == container.name)
        .collect();
    instances.sort_by_key(|instance| std::cmp::Reverse((instance.attempt, instance.created_at)));
    let old = previous(input, kind, &container.name);
    let Some(newest) = instances.first() else {
        return without_instance(input, container, old, default_reason);
    };
    let before = instances.get(1).and_then(|instance| terminated(instance, input.messages));
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_else(|| newest.image.clone()),
        image_id: newest.image_id.clone(),
        container_id: Some(format!("{ID_PREFIX}{}", newest.id.0)),
        restart_count: i32::try_from(newest.attempt).unwrap_or(i32::MAX),
        last_state: Some(ApiState { terminated: before, ..ApiState::default() }),
        started: Some(false),
        ..ContainerStatus::default()
    };
    match &newest.state {
        ContainerState::Running { started_at } => {
            let probes = (input.probes)(newest);
            let sidecar = kind == ContainerKind::Init && facts::is_sidecar(container);
            status.state = Some(ApiState {
                running: Some(ContainerStateRunning { started_at: Some(time(*started_at)) }),
                ..ApiState::default()
            });
            status.started = Some(kind == ContainerKind::Ephemeral || probes.started);
            status.ready = match kind {
                ContainerKind::App => probes.started && probes.ready,
                ContainerKind::Init => sidecar && probes.started && probes.ready,
                ContainerKind::Ephemeral => false,
            };
            let had = old.and_then(|old| old.resources.clone()).filter(|_| input.resizing.contains(&container.name));
            status.resources = had.or_else(|| container.resources.clone());
            status.allocated_resources = container.resources.as_ref().and_then(|resources| resources.requests.clone());
        }
        ContainerState::Exited { exit_code, .. } => {
            status.state = Some(ApiState { terminated: terminated(newest, input.messages), ..ApiState::default() });
            status.ready = kind == ContainerKind::Init && *exit_code == 0 && !facts::is_sidecar(container);
        }
        ContainerState::Created => {
            status.state = Some(waiting(default_reason, None));
            status.container_id = old.and_then(|old| old.container_id.clone());
        }
    }
    if let Some(reason) =
        input.waiting.get(&container.name).filter(|_| !matches!(newest.state, ContainerState::Running { .. }))
    {
        apply_waiting(&mut status, reason);
    }
    status.volume_mounts = mounts(container);
    status
}

/// The container waits although it ran before: what was its state becomes the last one.
fn apply_waiting(status: &mut ContainerStatus, reason: &Waiting) {
    if let Some(terminated) = status.state.take().and_then(|state| state.terminated) {
        status.last_state = Some(ApiState { terminated: Some(terminated), ..ApiState::default() });
    }
    status.ready = false;
    status.state = Some(waiting(&reason.reason, Some(reason.message.clone())));
}

fn without_instance(
    input: &StatusInput<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
    default_reason: &str,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(default_reason, None)),
        last_state: Some(ApiState::default()),
        started: Some(false),
        ..ContainerStatus::default()
    };
    if let Some(old) = old {
        status.restart_count = old.restart_count;
        status.last_state = old.last_state.clone().or(status.last_state);
        let old_state = old.state.as_ref();
        if let Some(terminated) = old_state.and_then(|state| state.terminated.clone()) {
            // Its record at the engine was collected; what was said of it stays true.
            status.state = Some(ApiState { terminated: Some(terminated), ..ApiState::default() });
            status.container_id.clone_from(&old.container_id);
            status.image_id.clone_from(&old.image_id);
            status.ready = old.ready;
        } else if let Some(running) = old_state.and_then(|state| state.running.as_ref()) {
            let lost = ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                container_id: old.container_id.clone(),
                started_at: running.started_at.clone(),
                ..ContainerStateTerminated::default()
            };
            if input.terminal {
                status.state = Some(ApiState { terminated: Some(lost), ..ApiState::default() });
                status.container_id.clone_from(&old.container_id);
                status.image_id.clone_from(&old.image_id);
            } else {
                status.restart_count += 1;
                status.last_state = Some(ApiState { terminated: Some(lost), ..ApiState::default() });
            }
        }
    }
    if let Some(reason) = input.waiting.get(&container.name) {
        apply_waiting(&mut status, reason);
    }
    status.volume_mounts = mounts(container);
    status
}

/// What an exited instance says of its end.
#[must_use]
pub fn terminated(
    instance: &RuntimeContainer,
    messages: &HashMap<ContainerId, String>,
) -> Option<ContainerStateTerminated> {
    let ContainerState::Exited { started_at, finished_at, exit_code, oom_killed, error } = &instance.state else {
        return None;
    };
    let reason = match (exit_code, oom_killed, error.is_empty()) {
        (0, ..) => "Completed",
        (_, true, _) => "OOMKilled",
        (_, _, false) if started_at.is_none() => "ContainerCannotRun",
        _ => "Error",
    };
    let message = messages.get(&instance.id).cloned().or_else(|| (!error.is_empty()).then(|| error.clone()));
    Some(ContainerStateTerminated {
        container_id: Some(format!("{ID_PREFIX}{}", instance.id.0)),
        exit_code: *exit_code,
        finished_at: Some(time(*finished_at)),
        message: message.filter(|message| !message.is_empty()),
        reason: Some(reason.to_owned()),
        signal: None,
        started_at: started_at.map(time),
    })
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.unwrap_or(false).then(|| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    };
    Some(mounts.iter().map(status).collect())
}

fn previous<'a>(input: &StatusInput<'a>, kind: ContainerKind, name: &str) -> Option<&'a ContainerStatus> {
    let previous = input.previous?;
    let list = match kind {
        ContainerKind::Init => &previous.init_container_statuses,
        ContainerKind::App => &previous.container_statuses,
        ContainerKind::Ephemeral => &previous.ephemeral_container_statuses,
    };
    list.iter().flatten().find(|status| status.name == name)
}

#[must_use]
pub fn waiting(reason: &str, message: Option<String>) -> ApiState {
    ApiState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: message.filter(|message| !message.is_empty()),
        }),
        ..ApiState::default()
    }
}

fn time(time: jiff::Timestamp) -> Time {
    Time(facts::to_seconds(time))
}

/// Reasons by container name.
pub type WaitingReasons = BTreeMap<String, Waiting>;
