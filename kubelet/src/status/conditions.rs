//! The conditions that a kubelet owns on a pod. Pure. Source of reasons and texts: upstream `pkg/kubelet/status/generate.go`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use crate::pod::allocation::Pending;
use crate::pod::facts;

/// Types that a kubelet writes; all others are left alone.
pub const OWNED: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Owned, too, and there only while they are true.
pub const PASSING: [&str; 2] = [PENDING, IN_PROGRESS];

const PENDING: &str = "PodResizePending";
const IN_PROGRESS: &str = "PodResizeInProgress";

/// The owned conditions, without times. `sandbox_ready`: the sandbox runs and has its network.
#[must_use]
pub fn conditions(
    pod: &Pod,
    init: &[ContainerStatus],
    app: &[ContainerStatus],
    phase: &str,
    sandbox_ready: bool,
) -> Vec<PodCondition> {
    let initialized = initialized(pod, init, app, phase);
    let containers_ready = containers_ready(pod, init, app, phase);
    let ready = ready(pod, &containers_ready);
    vec![
        condition(pod, "PodReadyToStartContainers", sandbox_ready, None, None),
        initialized,
        ready,
        containers_ready,
        condition(pod, "PodScheduled", true, None, None),
    ]
}

/// The conditions of a resize; there are none when all containers have what the spec says (KEP-1287).
#[must_use]
pub fn resize(pod: &Pod, pending: Option<&Pending>, in_progress: bool, error: Option<&str>) -> Vec<PodCondition> {
    let mut list = Vec::new();
    if let Some(pending) = pending {
        let message = Some(pending.message.clone());
        list.push(condition(pod, PENDING, true, Some(pending.reason), message));
    }
    if in_progress {
        let reason = error.map(|_| "Error");
        list.push(condition(pod, IN_PROGRESS, true, reason, error.map(str::to_owned)));
    }
    list
}

/// The node ended the pod for its own sake (KEP-3329). Not owned: whoever else disrupts a pod sets it, too, and it stays.
#[must_use]
pub fn disrupted(pod: &Pod, message: &str) -> PodCondition {
    condition(pod, "DisruptionTarget", true, Some("TerminationByKubelet"), Some(message.to_owned()))
}

fn condition(pod: &Pod, type_: &str, status: bool, reason: Option<&str>, message: Option<String>) -> PodCondition {
    PodCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.filter(|message| !message.is_empty()),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn initialized(pod: &Pod, init: &[ContainerStatus], app: &[ContainerStatus], phase: &str) -> PodCondition {
    const TYPE: &str = "Initialized";
    if facts::init_containers(pod).is_empty() {
        return condition(pod, TYPE, true, None, None);
    }
    let mut incomplete = Vec::new();
    for container in facts::init_containers(pod) {
        let status = init.iter().find(|status| status.name == container.name);
        let done = status.is_some_and(|status| {
            if facts::is_sidecar(container) {
                status.started == Some(true) || exited_well(status)
            } else {
                status.ready || exited_well(status)
            }
        });
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if phase == "Succeeded" {
        return condition(pod, TYPE, true, Some("PodCompleted"), None);
    }
    let app_started = app.iter().any(|status| {
        let ran =
            |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some() || state.terminated.is_some();
        status.state.as_ref().is_some_and(ran) || status.last_state.as_ref().is_some_and(ran)
    });
    if incomplete.is_empty() || app_started {
        return condition(pod, TYPE, true, None, None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    condition(pod, TYPE, false, Some("ContainersNotInitialized"), Some(message))
}

fn containers_ready(pod: &Pod, init: &[ContainerStatus], app: &[ContainerStatus], phase: &str) -> PodCondition {
    const TYPE: &str = "ContainersReady";
    match phase {
        "Succeeded" => return condition(pod, TYPE, false, Some("PodCompleted"), None),
        "Failed" => return condition(pod, TYPE, false, Some("PodFailed"), None),
        _ => {}
    }
    let sidecars = facts::init_containers(pod)
        .iter()
        .filter(|container| facts::is_sidecar(container))
        .map(|container| (container, init));
    let apps = facts::app_containers(pod).iter().map(|container| (container, app));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for (container, statuses) in sidecars.chain(apps) {
        match statuses.iter().find(|status| status.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if unknown.is_empty() && unready.is_empty() {
        return condition(pod, TYPE, true, None, None);
    }
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: [{}]", unknown.join(" ")));
    }
    if !unready.is_empty() {
        parts.push(format!("containers with unready status: [{}]", unready.join(" ")));
    }
    condition(pod, TYPE, false, Some("ContainersNotReady"), Some(parts.join(", ")))
}

fn ready(pod: &Pod, containers_ready: &PodCondition) -> PodCondition {
    const TYPE: &str = "Ready";
    if containers_ready.status != "True" {
        return condition(pod, TYPE, false, containers_ready.reason.as_deref(), containers_ready.message.clone());
    }
    let present = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut missing = Vec::new();
    for gate in pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten()) {
        match present.iter().find(|condition| condition.type_ == gate.condition_type) {
            None => missing.push(format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )),
            Some(condition) if condition.status != "True" => missing.push(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, condition.status
            )),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return condition(pod, TYPE, true, None, None);
    }
    condition(pod, TYPE, false, Some("ReadinessGatesNotReady"), Some(missing.join(", ")))
}

fn exited_well(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .is_some_and(|terminated| terminated.exit_code == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::test_support::{pod, running, terminated, waiting};
    use k8s_openapi::api::core::v1::{PodReadinessGate, PodStatus};

    fn find<'a>(conditions: &'a [PodCondition], type_: &str) -> (&'a str, Option<&'a str>) {
        let condition = conditions.iter().find(|condition| condition.type_ == type_).expect("condition");
        assert_eq!(condition.observed_generation, Some(3));
        (&condition.status, condition.reason.as_deref())
    }

    #[test]
    fn ready_follows_the_containers() {
        let pod = pod("Always", &[], &["a", "b"]);
        let list = conditions(&pod, &[], &[running("a"), waiting("b")], "Pending", true);
        assert_eq!(find(&list, "Ready"), ("False", Some("ContainersNotReady")));
        assert_eq!(list[2].message.as_deref(), Some("containers with unready status: [b]"));
        let list = conditions(&pod, &[], &[running("a"), running("b")], "Running", true);
        assert_eq!(find(&list, "Ready"), ("True", None));
        assert_eq!(find(&list, "ContainersReady"), ("True", None));
    }

    #[test]
    fn completed_pods_say_so() {
        let pod = pod("Never", &[], &["a"]);
        let list = conditions(&pod, &[], &[terminated("a", 0)], "Succeeded", false);
        assert_eq!(find(&list, "Ready"), ("False", Some("PodCompleted")));
        assert_eq!(find(&list, "PodReadyToStartContainers"), ("False", None));
        let list = conditions(&pod, &[], &[terminated("a", 1)], "Failed", false);
        assert_eq!(find(&list, "ContainersReady"), ("False", Some("PodFailed")));
    }

    #[test]
    fn init_containers_come_first() {
        let pod = pod("Always", &["i", "j"], &["a"]);
        let list = conditions(&pod, &[terminated("i", 0), waiting("j")], &[waiting("a")], "Pending", true);
        assert_eq!(find(&list, "Initialized"), ("False", Some("ContainersNotInitialized")));
        assert_eq!(list[1].message.as_deref(), Some("containers with incomplete status: [j]"));
        let list = conditions(&pod, &[terminated("i", 0), terminated("j", 0)], &[running("a")], "Running", true);
        assert_eq!(find(&list, "Initialized"), ("True", None));
    }

    #[test]
    fn readiness_gates_hold_ready_only() {
        let mut pod = pod("Always", &[], &["a"]);
        let gates = vec![PodReadinessGate { condition_type: "x/y".into() }];
        pod.spec.as_mut().expect("spec").readiness_gates = Some(gates);
        let list = conditions(&pod, &[], &[running("a")], "Running", true);
        assert_eq!(find(&list, "Ready"), ("False", Some("ReadinessGatesNotReady")));
        assert_eq!(find(&list, "ContainersReady"), ("True", None));
        let open = PodCondition { type_: "x/y".into(), status: "True".into(), ..PodCondition::default() };
        pod.status = Some(PodStatus { conditions: Some(vec![open]), ..PodStatus::default() });
        assert_eq!(find(&conditions(&pod, &[], &[running("a")], "Running", true), "Ready"), ("True", None));
    }

    #[test]
    fn a_resize_is_told_while_it_is_not_done() {
        let pod = pod("Always", &[], &["a"]);
        assert!(resize(&pod, None, false, Some("an old error")).is_empty());
        let pending = Pending { reason: "Deferred", message: "no room".into() };
        let list = resize(&pod, Some(&pending), true, Some("busy"));
        let told: Vec<_> =
            list.iter().map(|told| (told.type_.as_str(), told.reason.as_deref(), told.message.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("PodResizePending", Some("Deferred"), Some("no room")),
                ("PodResizeInProgress", Some("Error"), Some("busy"))
            ]
        );
        assert_eq!(resize(&pod, None, true, None)[0].reason, None);
    }
}
