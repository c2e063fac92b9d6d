//! A table of pods in every situation that the rules know.

use std::collections::BTreeMap;

use super::*;
use crate::runtime::PodRef;
use crate::status::test_support::{container as spec_container, pod as spec_pod};

const NOW: i64 = 10_000;

/// A situation that is built up step by step.
struct Case {
    pod: Pod,
    runtime: RuntimePod,
    back_offs: BackOffs,
    probes: BTreeMap<&'static str, ProbeResults>,
    previous: Option<PodStatus>,
    forced: BTreeSet<String>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("valid")
}

fn case(policy: &str, init: &[&str], app: &[&str]) -> Case {
    Case {
        pod: spec_pod(policy, init, app),
        runtime: RuntimePod::default(),
        back_offs: BackOffs::new(Duration::from_secs(10), Duration::from_secs(300)),
        probes: BTreeMap::new(),
        previous: None,
        forced: BTreeSet::new(),
    }
}

impl Case {
    fn sandbox(mut self, attempt: u32, ready: bool) -> Self {
        let sandbox = RuntimeSandbox {
            id: SandboxId(format!("s{attempt}")),
            attempt,
            ready,
            created_at: at(i64::from(attempt)),
            pid: None,
            host_network: false,
        };
        self.runtime.sandboxes.insert(0, sandbox);
        self
    }

    fn has(mut self, kind: ContainerKind, name: &str, attempt: u32, state: ContainerState) -> Self {
        let sandbox =
            self.runtime.sandboxes.first().map_or_else(|| SandboxId("none".into()), |sandbox| sandbox.id.clone());
        self.runtime.containers.insert(
            0,
            RuntimeContainer {
                id: ContainerId(format!("{name}{attempt}")),
                sandbox,
                pod: PodRef::default(),
                name: name.into(),
                kind,
                attempt,
                hash: container_hash(&spec_container(name)),
                state,
                image: String::new(),
                image_id: String::new(),
                created_at: at(i64::from(attempt)),
                pid: None,
                annotations: BTreeMap::new(),
                tty: false,
                stdin: false,
                applied: crate::runtime::Applied::default(),
            },
        );
        self
    }

    fn runs(self, name: &str, attempt: u32) -> Self {
        self.has(ContainerKind::App, name, attempt, ContainerState::Running { started_at: at(1) })
    }

    fn exited(self, name: &str, attempt: u32, code: i32) -> Self {
        self.has(ContainerKind::App, name, attempt, exit(code))
    }

    fn init_runs(self, name: &str, attempt: u32) -> Self {
        self.has(ContainerKind::Init, name, attempt, ContainerState::Running { started_at: at(1) })
    }

    fn init_exited(self, name: &str, attempt: u32, code: i32) -> Self {
        self.has(ContainerKind::Init, name, attempt, exit(code))
    }

    fn sidecar(mut self, name: &str) -> Self {
        let init = self.pod.spec.as_mut().and_then(|spec| spec.init_containers.as_mut()).expect("init containers");
        let container = init.iter_mut().find(|container| container.name == name).expect("an init container");
        container.restart_policy = Some("Always".into());
        self
    }

    fn probe(mut self, name: &'static str, change: impl FnOnce(&mut ProbeResults)) -> Self {
        let mut results = fine();
        change(&mut results);
        self.probes.insert(name, results);
        self
    }

    fn decide(&self) -> Actions {
        compute_actions(&View {
            pod: &self.pod,
            runtime: &self.runtime,
            previous: self.previous.as_ref(),
            back_offs: &self.back_offs,
            probes: &|container| self.probes.get(container.name.as_str()).copied().unwrap_or_else(fine),
            forced: &self.forced,
            now: at(NOW),
        })
    }

    /// `sandbox:N`, `kill-pod`, `finished`, `kill:NAME`, `wait:NAME`, `start:NAME#ATTEMPT`, in this order.
    fn text(&self) -> String {
        let actions = self.decide();
        let mut words = Vec::new();
        if actions.kill_pod {
            words.push("kill-pod".to_owned());
        }
        if actions.finished {
            words.push("finished".to_owned());
        }
        words.extend(actions.create_sandbox.map(|attempt| format!("sandbox:{attempt}")));
        words.extend(actions.kill.iter().map(|kill| format!("kill:{}:{:?}", kill.name, kill.reason)));
        words.extend(actions.backing_off.iter().map(|wait| format!("wait:{}", wait.name)));
        words.extend(actions.start.iter().map(|start| format!("start:{}#{}", start.name, start.attempt)));
        words.join(" ")
    }
}

fn exit(exit_code: i32) -> ContainerState {
    ContainerState::Exited {
        started_at: Some(at(NOW - 5)),
        finished_at: at(NOW - 1),
        exit_code,
        oom_killed: false,
        error: String::new(),
    }
}

fn fine() -> ProbeResults {
    ProbeResults { started: true, ready: true, liveness_failed: false, startup_failed: false }
}

#[test]
fn a_new_pod_gets_a_sandbox_and_all_its_containers() {
    assert_eq!(case("Always", &[], &["a", "b"]).text(), "sandbox:0 start:a#0 start:b#0");
    assert_eq!(case("Always", &["i", "j"], &["a"]).text(), "sandbox:0 start:i#0");
}

#[test]
fn a_running_pod_is_left_alone() {
    assert_eq!(case("Always", &[], &["a"]).sandbox(0, true).runs("a", 0).text(), "");
}

#[test]
fn restart_policy_decides_after_an_exit() {
    for (policy, code, expected) in [
        ("Always", 0, "start:a#1"),
        ("Always", 1, "start:a#1"),
        ("OnFailure", 1, "start:a#1"),
        ("OnFailure", 0, "kill-pod finished"),
        ("Never", 0, "kill-pod finished"),
        ("Never", 1, "kill-pod finished"),
    ] {
        assert_eq!(case(policy, &[], &["a"]).sandbox(0, true).exited("a", 0, code).text(), expected, "{policy} {code}");
    }
}

#[test]
fn a_pod_is_not_finished_while_one_container_runs() {
    assert_eq!(case("Never", &[], &["a", "b"]).sandbox(0, true).exited("a", 0, 0).runs("b", 0).text(), "");
}

#[test]
fn a_crashing_container_waits_for_its_back_off() {
    let mut case = case("Always", &[], &["a"]).sandbox(0, true).exited("a", 1, 1);
    let key = back_off_key(&case.pod, &case.pod.spec.as_ref().expect("spec").containers[0]);
    case.back_offs.next(&key, at(NOW - 6), at(NOW - 6));
    assert_eq!(case.text(), "wait:a");
    let waiting = &case.decide().backing_off[0];
    assert_eq!((waiting.until, waiting.delay), (at(NOW - 1 + 10), Duration::from_secs(10)));
}

#[test]
fn another_image_kills_and_then_starts_afresh() {
    let mut case = case("Always", &[], &["a"]).sandbox(0, true).runs("a", 4);
    case.pod.spec.as_mut().expect("spec").containers[0].image = Some("image:2".into());
    assert_eq!(case.text(), "kill:a:SpecChanged");
    let mut never = self::case("Never", &[], &["a"]).sandbox(0, true).exited("a", 4, 137);
    never.pod.spec.as_mut().expect("spec").containers[0].image = Some("image:2".into());
    assert_eq!(never.text(), "start:a#5", "an update counts even where a restart is forbidden");
}

#[test]
fn failed_probes_kill() {
    let base = || case("Always", &[], &["a"]).sandbox(0, true).runs("a", 0);
    assert_eq!(base().probe("a", |results| results.liveness_failed = true).text(), "kill:a:LivenessFailed");
    assert_eq!(base().probe("a", |results| results.startup_failed = true).text(), "kill:a:StartupFailed");
    assert_eq!(base().probe("a", |results| results.ready = false).text(), "");
}

#[test]
fn init_containers_run_one_after_another() {
    let base = || case("Always", &["i", "j"], &["a"]).sandbox(0, true);
    assert_eq!(base().text(), "start:i#0");
    assert_eq!(base().init_runs("i", 0).text(), "");
    assert_eq!(base().init_exited("i", 0, 0).text(), "start:j#0");
    assert_eq!(base().init_exited("i", 0, 1).text(), "start:i#1");
    assert_eq!(base().init_exited("i", 0, 0).init_exited("j", 0, 0).text(), "start:a#0");
    assert_eq!(base().init_exited("i", 0, 0).init_exited("j", 0, 0).runs("a", 0).text(), "");
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    assert_eq!(case("Never", &["i"], &["a"]).sandbox(0, true).init_exited("i", 0, 1).text(), "kill-pod finished");
}

#[test]
fn init_containers_that_were_collected_are_not_run_again() {
    assert_eq!(case("Always", &["i"], &["a"]).sandbox(0, true).exited("a", 3, 1).text(), "start:a#4");
}

#[test]
fn sidecars_start_in_order_and_stay() {
    let base = || case("Always", &["s", "i"], &["a"]).sidecar("s").sandbox(0, true);
    assert_eq!(base().text(), "start:s#0");
    assert_eq!(base().init_runs("s", 0).probe("s", |results| results.started = false).text(), "");
    assert_eq!(base().init_runs("s", 0).text(), "start:i#0");
    assert_eq!(base().init_runs("s", 0).init_exited("i", 0, 0).text(), "start:a#0");
    let up = || base().init_exited("i", 0, 0).runs("a", 0);
    assert_eq!(up().init_exited("s", 0, 0).text(), "start:s#1", "a sidecar comes back although it succeeded");
}

#[test]
fn sidecars_do_not_keep_a_pod_from_finishing() {
    let case = case("Never", &["s"], &["a"]).sidecar("s").sandbox(0, true).init_runs("s", 0).exited("a", 0, 0);
    assert_eq!(case.text(), "kill-pod finished");
}

#[test]
fn a_dead_sandbox_is_replaced_with_all_that_should_run() {
    let base = || case("Always", &[], &["a"]).sandbox(0, false);
    assert_eq!(base().runs("a", 2).text(), "kill-pod sandbox:1 start:a#3");
    assert_eq!(
        case("OnFailure", &[], &["a", "b"]).sandbox(0, false).exited("a", 0, 0).exited("b", 0, 1).text(),
        "kill-pod sandbox:1 start:b#1"
    );
    assert_eq!(case("Never", &[], &["a"]).sandbox(0, false).exited("a", 0, 137).text(), "kill-pod finished");
    assert_eq!(
        case("Never", &[], &["a"]).sandbox(0, false).text(),
        "kill-pod sandbox:1 start:a#0",
        "nothing had started yet"
    );
    assert_eq!(
        case("Always", &["i"], &["a"]).sandbox(0, false).init_exited("i", 0, 0).runs("a", 0).text(),
        "kill-pod sandbox:1 start:i#1"
    );
}

#[test]
fn init_containers_run_again_in_a_new_sandbox() {
    let case = case("Always", &["i", "j"], &["a"])
        .sandbox(0, false)
        .init_exited("i", 0, 0)
        .init_exited("j", 0, 0)
        .exited("a", 0, 1);
    let case = case.sandbox(1, true).init_exited("i", 1, 0);
    assert_eq!(case.text(), "start:j#1");
}

#[test]
fn a_network_of_another_kind_needs_another_sandbox() {
    let mut case = case("Always", &[], &["a"]).sandbox(0, true).runs("a", 0);
    case.pod.spec.as_mut().expect("spec").host_network = Some(true);
    assert_eq!(case.text(), "kill-pod sandbox:1 start:a#1");
}

#[test]
fn a_created_container_is_started_with_its_own_number() {
    let case = case("Always", &[], &["a"]).sandbox(0, true).has(ContainerKind::App, "a", 3, ContainerState::Created);
    assert_eq!(case.text(), "start:a#3");
}

#[test]
fn a_container_that_the_engine_lost_counts_on() {
    let mut case = case("Always", &[], &["a"]).sandbox(0, true);
    let mut status = crate::status::test_support::running("a");
    (status.restart_count, status.container_id) = (6, Some("docker://gone".into()));
    case.previous = Some(PodStatus { container_statuses: Some(vec![status]), ..PodStatus::default() });
    assert_eq!(case.text(), "start:a#7");
}

#[test]
fn ephemeral_containers_start_once() {
    let mut case = case("Always", &[], &["a"]).sandbox(0, true).runs("a", 0);
    let debug = k8s_openapi::api::core::v1::EphemeralContainer { name: "debug".into(), ..Default::default() };
    case.pod.spec.as_mut().expect("spec").ephemeral_containers = Some(vec![debug]);
    assert_eq!(case.text(), "start:debug#0");
    let case = case.has(ContainerKind::Ephemeral, "debug", 0, exit(0));
    assert_eq!(case.text(), "");
}

#[test]
fn a_container_that_was_killed_for_a_resize_starts_whatever_its_policy() {
    let mut case = case("OnFailure", &[], &["a"]).sandbox(0, true).exited("a", 0, 0);
    case.forced.insert("a".to_owned());
    assert_eq!(case.text(), "start:a#1");
}

#[test]
fn restart_rules_by_exit_code_come_first() {
    let rule: k8s_openapi::api::core::v1::ContainerRestartRule = serde_json::from_value(
        serde_json::json!({ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }),
    )
    .expect("a rule");
    let mut container = spec_container("a");
    container.restart_policy_rules = Some(vec![rule]);
    let pod = spec_pod("Never", &[], &["a"]);
    assert!(should_restart(&pod, &container, ContainerKind::App, 42));
    assert!(!should_restart(&pod, &container, ContainerKind::App, 1));
}
