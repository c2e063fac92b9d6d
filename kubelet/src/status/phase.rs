//! The pod's phase from its container statuses. Pure. Source of the rules: upstream `pkg/kubelet/kubelet_pods.go`
//! (`getPhase`).

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::pod::facts;

/// `Pending`, `Running`, `Succeeded` or `Failed`. `terminal`: all containers are dead and none will start again.
#[must_use]
pub fn pod_phase(pod: &Pod, init: &[ContainerStatus], app: &[ContainerStatus], terminal: bool) -> &'static str {
    let policy = facts::restart_policy(pod);
    let mut uninitialized = false;
    let mut init_failed = false;
    let mut sidecar_running = false;
    for (container, status) in facts::init_containers(pod).iter().filter_map(|container| find(container, init)) {
        let state = status.state.as_ref();
        let running = state.is_some_and(|state| state.running.is_some());
        if facts::is_sidecar(container) {
            sidecar_running |= running;
            uninitialized |= !terminal && status.started != Some(true);
            continue;
        }
        let exit = state.and_then(|state| state.terminated.as_ref()).or_else(|| {
            let waiting = state.is_none_or(|state| state.waiting.is_some());
            status.last_state.as_ref().filter(|_| waiting).and_then(|state| state.terminated.as_ref())
        });
        match exit {
            Some(exit) if exit.exit_code == 0 => {}
            Some(_) if container.restart_policy.as_deref().unwrap_or(policy) == "Never" => init_failed = true,
            _ => uninitialized = true,
        }
    }
    if init_failed {
        return "Failed";
    }
    let counts = count(app, facts::app_containers(pod).len());
    if uninitialized && counts.running + counts.stopped == 0 && !terminal {
        return "Pending";
    }
    if terminal {
        return if counts.succeeded > 0 && counts.succeeded == facts::app_containers(pod).len() {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    if counts.waiting > 0 {
        return "Pending";
    }
    if counts.running > 0 {
        return "Running";
    }
    // All have stopped; whether they come back decides.
    let restarts =
        facts::app_containers(pod).iter().filter_map(|container| find(container, app)).any(|(container, status)| {
            let exit = exit_code(status).unwrap_or(0);
            crate::pod::actions::should_restart(pod, container, crate::runtime::ContainerKind::App, exit)
        });
    if restarts || sidecar_running {
        "Running"
    } else if counts.succeeded == counts.stopped {
        "Succeeded"
    } else {
        "Failed"
    }
}

#[derive(Default)]
struct Counts {
    running: usize,
    stopped: usize,
    succeeded: usize,
    waiting: usize,
}

fn count(app: &[ContainerStatus], expected: usize) -> Counts {
    let mut counts = Counts::default();
    for status in app {
        let state = status.state.as_ref();
        if state.is_some_and(|state| state.running.is_some()) {
            counts.running += 1;
        } else if let Some(exit) = exit_code(status) {
            counts.stopped += 1;
            counts.succeeded += usize::from(exit == 0 && state.is_some_and(|state| state.terminated.is_some()));
        } else {
            counts.waiting += 1;
        }
    }
    counts.waiting += expected.saturating_sub(app.len());
    counts
}

/// The exit code of a container that has stopped, or that waits after it had stopped.
fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let terminated = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(|terminated| terminated.exit_code)
    };
    terminated(&status.state).or_else(|| terminated(&status.last_state))
}

fn find<'a>(
    container: &'a k8s_openapi::api::core::v1::Container,
    statuses: &'a [ContainerStatus],
) -> Option<(&'a k8s_openapi::api::core::v1::Container, &'a ContainerStatus)> {
    statuses.iter().find(|status| status.name == container.name).map(|status| (container, status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::test_support::{pod, running, terminated, waiting, waiting_after};

    #[test]
    fn table() {
        // name, restart policy, init containers, app containers, terminal, phase
        type Case = (&'static str, &'static str, Vec<ContainerStatus>, Vec<ContainerStatus>, bool, &'static str);
        let cases: &[Case] = &[
            ("nothing yet", "Always", vec![], vec![waiting("a")], false, "Pending"),
            ("one runs", "Always", vec![], vec![running("a")], false, "Running"),
            ("one runs, one waits", "Always", vec![], vec![running("a"), waiting("b")], false, "Pending"),
            ("crash loop", "Always", vec![], vec![waiting_after("a", 1)], false, "Running"),
            ("exited, comes back", "Always", vec![], vec![terminated("a", 0)], false, "Running"),
            ("job done", "Never", vec![], vec![terminated("a", 0)], false, "Succeeded"),
            ("job failed", "Never", vec![], vec![terminated("a", 1)], false, "Failed"),
            ("retry on failure", "OnFailure", vec![], vec![terminated("a", 1)], false, "Running"),
            ("done on failure policy", "OnFailure", vec![], vec![terminated("a", 0)], false, "Succeeded"),
            ("half done", "Never", vec![], vec![terminated("a", 0), running("b")], false, "Running"),
            ("init runs", "Always", vec![running("i")], vec![waiting("a")], false, "Pending"),
            ("init failed for good", "Never", vec![terminated("i", 1)], vec![waiting("a")], false, "Failed"),
            ("init failed, again", "Always", vec![waiting_after("i", 1)], vec![waiting("a")], false, "Pending"),
            ("init done", "Always", vec![terminated("i", 0)], vec![running("a")], false, "Running"),
            ("killed well", "Always", vec![], vec![terminated("a", 0)], true, "Succeeded"),
            ("killed hard", "Always", vec![], vec![terminated("a", 137)], true, "Failed"),
            ("killed before start", "Always", vec![], vec![waiting("a")], true, "Failed"),
        ];
        for (name, policy, init, app, terminal, expected) in cases {
            let init_names: Vec<&str> = init.iter().map(|status| status.name.as_str()).collect();
            let app_names: Vec<&str> = app.iter().map(|status| status.name.as_str()).collect();
            let pod = pod(policy, &init_names, &app_names);
            assert_eq!(pod_phase(&pod, init, app, *terminal), *expected, "{name}");
        }
    }

    #[test]
    fn a_sidecar_keeps_a_finished_pod_running() {
        let mut pod = pod("Never", &["s"], &["a"]);
        pod.spec.as_mut().and_then(|spec| spec.init_containers.as_mut()).expect("init")[0].restart_policy =
            Some("Always".into());
        let mut sidecar = running("s");
        sidecar.started = Some(true);
        assert_eq!(pod_phase(&pod, &[sidecar], &[terminated("a", 0)], false), "Running");
        assert_eq!(pod_phase(&pod, &[terminated("s", 143)], &[terminated("a", 0)], true), "Succeeded");
    }
}
