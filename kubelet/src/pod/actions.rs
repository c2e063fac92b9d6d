//! What to do next for a pod, given what should be and what is. Pure: no clock, no I/O; every rule about restarts,
//! back-off, init order, sidecars and sandboxes is here. Source of the rules: upstream
//! `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`computePodActions`), KEP-753 (sidecars).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

use super::backoff::BackOffs;
use super::facts;
use crate::container_spec::{ContainerRef, container_hash};
use crate::probe::ProbeResults;
use crate::runtime::{
    ContainerId, ContainerKind, ContainerState, RuntimeContainer, RuntimePod, RuntimeSandbox, SandboxId,
};

/// Everything that the decision depends on.
pub struct View<'a> {
    pub pod: &'a Pod,
    pub runtime: &'a RuntimePod,
    /// The status before, for restart counts of containers that the engine has forgotten.
    pub previous: Option<&'a PodStatus>,
    pub back_offs: &'a BackOffs,
    pub probes: &'a dyn Fn(&RuntimeContainer) -> ProbeResults,
    /// App containers that were killed to be started with other resources.
    pub forced: &'a BTreeSet<String>,
    pub now: Timestamp,
}

/// What to do, in this order: kill, sandbox, start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// Kill all containers and all sandboxes first.
    pub kill_pod: bool,
    /// Nothing will ever be started again: the pod has run to its end.
    pub finished: bool,
    /// The sandbox that goes on, if one does.
    pub sandbox: Option<SandboxId>,
    /// Make a sandbox with this attempt number.
    pub create_sandbox: Option<u32>,
    pub kill: Vec<Kill>,
    pub start: Vec<Start>,
    /// Containers that wait before their next start.
    pub backing_off: Vec<BackingOff>,
}

/// A running container that must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    pub id: ContainerId,
    pub name: String,
    pub reason: KillReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    SpecChanged,
    LivenessFailed,
    StartupFailed,
    Resized,
}

impl KillReason {
    /// The event's text.
    #[must_use]
    pub fn message(self, container: &str) -> String {
        match self {
            Self::SpecChanged => format!("Container {container} definition changed, will be restarted"),
            Self::LivenessFailed => format!("Container {container} failed liveness probe, will be restarted"),
            Self::StartupFailed => format!("Container {container} failed startup probe, will be restarted"),
            Self::Resized => format!("Container {container} resize requires restart"),
        }
    }
}

/// A container to create and start. `after` is the exit that this start follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub kind: ContainerKind,
    /// Position in the spec's list of that kind.
    pub index: usize,
    pub name: String,
    /// The restart count.
    pub attempt: u32,
    pub after: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingOff {
    pub name: String,
    pub until: Timestamp,
    pub delay: Duration,
}

/// Key of a container's back-off: another image or other resources start afresh.
#[must_use]
pub fn back_off_key(pod: &Pod, container: &Container) -> String {
    let resources =
        container.resources.as_ref().and_then(|resources| serde_json::to_string(resources).ok()).unwrap_or_default();
    format!("{}_{}_{}_{resources}", facts::uid(pod), container.name, container.image.as_deref().unwrap_or_default())
}

/// Whether a container that ended with `exit_code` is started again.
#[must_use]
pub fn should_restart(pod: &Pod, container: &Container, kind: ContainerKind, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        if listed == (codes.operator == "In") {
            return rule.action.starts_with("Restart");
        }
    }
    match container.restart_policy.as_deref().unwrap_or_else(|| facts::restart_policy(pod)) {
        "Never" => false,
        // An init container that has succeeded is done, whatever the policy; a sidecar never is.
        "Always" => kind == ContainerKind::App || facts::is_sidecar(container) || exit_code != 0,
        _ => exit_code != 0,
    }
}

/// Decides. The result is empty when all is as it should be.
#[must_use]
pub fn compute_actions(view: &View<'_>) -> Actions {
    let newest = view.runtime.sandboxes.first();
    let usable = newest.filter(|sandbox| sandbox.ready && sandbox.host_network == facts::host_network(view.pod));
    match usable {
        Some(sandbox) => with_sandbox(view, sandbox),
        None => without_sandbox(view, newest),
    }
}

fn without_sandbox(view: &View<'_>, newest: Option<&RuntimeSandbox>) -> Actions {
    let mut actions =
        Actions { kill_pod: newest.is_some() || view.runtime.containers.iter().any(is_running), ..Actions::default() };
    let ran_before = !view.runtime.containers.is_empty();
    let never = facts::app_containers(view.pod).iter().all(|container| {
        container.restart_policy.as_deref().unwrap_or_else(|| facts::restart_policy(view.pod)) == "Never"
    });
    if ran_before && never && started_before(view) {
        actions.kill_pod = true;
        actions.finished = true;
        return actions;
    }
    let mut starts = Vec::new();
    for (index, container) in facts::app_containers(view.pod).iter().enumerate() {
        let last = newest_of(view, ContainerKind::App, &container.name, None);
        match last.map(|last| &last.state) {
            Some(ContainerState::Exited { exit_code, .. })
                if !should_restart(view.pod, container, ContainerKind::App, *exit_code) => {}
            _ => starts.push(start(view, ContainerKind::App, index, &container.name, last)),
        }
    }
    if starts.is_empty() {
        actions.kill_pod = true;
        actions.finished = true;
        return actions;
    }
    actions.create_sandbox = Some(newest.map_or(0, |sandbox| sandbox.attempt + 1));
    if let Some(first) = facts::init_containers(view.pod).first() {
        let last = newest_of(view, ContainerKind::Init, &first.name, None);
        starts = vec![start(view, ContainerKind::Init, 0, &first.name, last)];
    }
    actions.start = starts;
    actions
}

fn with_sandbox(view: &View<'_>, sandbox: &RuntimeSandbox) -> Actions {
    let mut actions = Actions { sandbox: Some(sandbox.id.clone()), ..Actions::default() };
    let initialized = view
        .runtime
        .containers
        .iter()
        .any(|container| container.kind == ContainerKind::App && container.sandbox == sandbox.id);
    let verdict = init_containers(view, sandbox, initialized, &mut actions);
    if verdict == Init::Failed {
        return Actions { kill_pod: true, finished: true, ..Actions::default() };
    }
    ephemeral_containers(view, sandbox, &mut actions);
    if verdict == Init::Waiting {
        return actions;
    }
    let mut alive = false;
    for (index, container) in facts::app_containers(view.pod).iter().enumerate() {
        alive |= app_container(view, sandbox, index, container, &mut actions);
    }
    if !alive {
        return Actions { kill_pod: true, finished: true, ..Actions::default() };
    }
    actions
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Init {
    Done,
    Waiting,
    Failed,
}

fn init_containers(view: &View<'_>, sandbox: &RuntimeSandbox, initialized: bool, actions: &mut Actions) -> Init {
    for (index, container) in facts::init_containers(view.pod).iter().enumerate() {
        let sidecar = facts::is_sidecar(container);
        if initialized && !sidecar {
            continue;
        }
        let last = newest_of(view, ContainerKind::Init, &container.name, Some(&sandbox.id));
        let ready = match last.map(|last| (&last.state, last)) {
            None | Some((ContainerState::Created, _)) => {
                let last = last.or_else(|| newest_of(view, ContainerKind::Init, &container.name, None));
                actions.start.push(start(view, ContainerKind::Init, index, &container.name, last));
                false
            }
            Some((ContainerState::Running { .. }, last)) => {
                let killed = sidecar && kill_if_wrong(view, container, last, actions);
                sidecar && !killed && (view.probes)(last).started
            }
            Some((ContainerState::Exited { exit_code: 0, .. }, _)) if !sidecar => true,
            Some((ContainerState::Exited { exit_code, .. }, last)) => {
                if !should_restart(view.pod, container, ContainerKind::Init, *exit_code) {
                    return Init::Failed;
                }
                restart(view, ContainerKind::Init, index, container, Some(last), actions);
                false
            }
        };
        if !ready && !initialized {
            return Init::Waiting;
        }
    }
    Init::Done
}

fn ephemeral_containers(view: &View<'_>, sandbox: &RuntimeSandbox, actions: &mut Actions) {
    let containers = view.pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    for (index, container) in containers.enumerate() {
        let last = newest_of(view, ContainerKind::Ephemeral, &container.name, Some(&sandbox.id));
        if last.is_none_or(|last| last.state == ContainerState::Created) {
            actions.start.push(start(view, ContainerKind::Ephemeral, index, &container.name, last));
        }
    }
}

/// False if the container is done for good.
fn app_container(
    view: &View<'_>,
    sandbox: &RuntimeSandbox,
    index: usize,
    container: &Container,
    actions: &mut Actions,
) -> bool {
    let last = newest_of(view, ContainerKind::App, &container.name, None);
    match last.map(|last| (&last.state, last)) {
        None | Some((ContainerState::Created, _)) => {
            actions.start.push(start(view, ContainerKind::App, index, &container.name, last))
        }
        Some((ContainerState::Running { .. }, last)) if last.sandbox == sandbox.id => {
            kill_if_wrong(view, container, last, actions);
        }
        // It lives in a sandbox that was given up.
        Some((ContainerState::Running { .. }, last)) => {
            actions.kill.push(Kill { id: last.id.clone(), name: last.name.clone(), reason: KillReason::SpecChanged });
        }
        Some((ContainerState::Exited { exit_code, .. }, last)) => {
            let changed = last.hash != container_hash(container) || view.forced.contains(&container.name);
            if !changed && !should_restart(view.pod, container, ContainerKind::App, *exit_code) {
                return false;
            }
            restart(view, ContainerKind::App, index, container, Some(last), actions);
        }
    }
    true
}

/// Kills a running container whose spec changed or whose probes failed; its next start is decided when it is dead.
fn kill_if_wrong(view: &View<'_>, container: &Container, last: &RuntimeContainer, actions: &mut Actions) -> bool {
    let probes = (view.probes)(last);
    let reason = if last.hash != container_hash(container) {
        KillReason::SpecChanged
    } else if probes.startup_failed {
        KillReason::StartupFailed
    } else if probes.liveness_failed {
        KillReason::LivenessFailed
    } else {
        return false;
    };
    actions.kill.push(Kill { id: last.id.clone(), name: last.name.clone(), reason });
    true
}

fn restart(
    view: &View<'_>,
    kind: ContainerKind,
    index: usize,
    container: &Container,
    last: Option<&RuntimeContainer>,
    actions: &mut Actions,
) {
    let exit = last.and_then(finished_at).unwrap_or(view.now);
    match view.back_offs.until(&back_off_key(view.pod, container), exit, view.now) {
        Some((until, delay)) => actions.backing_off.push(BackingOff { name: container.name.clone(), until, delay }),
        None => actions.start.push(start(view, kind, index, &container.name, last)),
    }
}

fn start(view: &View<'_>, kind: ContainerKind, index: usize, name: &str, last: Option<&RuntimeContainer>) -> Start {
    let attempt = match last {
        Some(last) if last.state == ContainerState::Created && last.sandbox_is(view) => last.attempt,
        Some(last) => last.attempt + 1,
        None => restarts_before(view.previous, kind, name).map_or(0, |count| count + 1),
    };
    Start { kind, index, name: name.to_owned(), attempt, after: last.and_then(finished_at) }
}

/// The restart count of a container that the engine no longer has, if it ever ran.
fn restarts_before(previous: Option<&PodStatus>, kind: ContainerKind, name: &str) -> Option<u32> {
    let previous = previous?;
    let statuses = match kind {
        ContainerKind::Init => &previous.init_container_statuses,
        ContainerKind::App => &previous.container_statuses,
        ContainerKind::Ephemeral => &previous.ephemeral_container_statuses,
    };
    let status = statuses.iter().flatten().find(|status| status.name == name)?;
    let ran = status.container_id.as_deref().is_some_and(|id| !id.is_empty());
    ran.then(|| u32::try_from(status.restart_count).unwrap_or(0))
}

fn started_before(view: &View<'_>) -> bool {
    view.runtime
        .containers
        .iter()
        .any(|container| container.kind == ContainerKind::App && container.state != ContainerState::Created)
}

/// The newest container of that kind and name, of one sandbox or of all.
fn newest_of<'a>(
    view: &View<'a>,
    kind: ContainerKind,
    name: &str,
    sandbox: Option<&SandboxId>,
) -> Option<&'a RuntimeContainer> {
    view.runtime
        .containers
        .iter()
        .filter(|container| {
            container.kind == kind
                && container.name == name
                && sandbox.is_none_or(|sandbox| container.sandbox == *sandbox)
        })
        .max_by_key(|container| (container.attempt, container.created_at))
}

#[must_use]
pub fn is_running(container: &RuntimeContainer) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

#[must_use]
pub fn finished_at(container: &RuntimeContainer) -> Option<Timestamp> {
    match &container.state {
        ContainerState::Exited { finished_at, .. } => Some(*finished_at),
        _ => None,
    }
}

impl RuntimeContainer {
    fn sandbox_is(&self, view: &View<'_>) -> bool {
        view.runtime.sandboxes.first().is_some_and(|sandbox| sandbox.id == self.sandbox)
    }
}

/// The spec's container that a start means.
#[must_use]
pub fn container_of<'a>(pod: &'a Pod, start: &Start) -> Option<ContainerRef<'a>> {
    let spec = pod.spec.as_ref()?;
    match start.kind {
        ContainerKind::Init => spec.init_containers.as_ref()?.get(start.index).map(ContainerRef::Init),
        ContainerKind::App => spec.containers.get(start.index).map(ContainerRef::App),
        ContainerKind::Ephemeral => spec.ephemeral_containers.as_ref()?.get(start.index).map(ContainerRef::Ephemeral),
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
