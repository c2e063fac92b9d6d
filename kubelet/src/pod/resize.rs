//! Brings running containers to the resources that their pod was granted, in place where the resize policy lets it.
//! What the engine holds a container to is the truth, so a restarted kubelet goes on where it was.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::actions::{Kill, KillReason, is_running};
use super::context::WorkerContext;
use super::state::PodState;
use crate::container_spec::{ContainerRef, SpecContext, all_containers, container_resources};
use crate::error_chain::chain;
use crate::events::EventType;
use crate::runtime::{Applied, ContainerId, ContainerKind, Resources, RuntimePod};

/// What is left to do for one pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub update: Vec<Update>,
    /// Containers whose policy wants a restart.
    pub restart: Vec<Kill>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Update {
    pub id: ContainerId,
    pub name: String,
    pub before: Applied,
    pub resources: Resources,
}

impl Plan {
    /// Names of the containers that do not have what they were granted.
    pub fn unfinished(&self) -> BTreeSet<String> {
        let updated = self.update.iter().map(|update| update.name.clone());
        updated.chain(self.restart.iter().map(|kill| kill.name.clone())).collect()
    }
}

/// Compares the running containers with `pod`. `settled`: what the engine was told last of a container; an engine that
/// cannot limit something must not be told for ever.
#[must_use]
pub fn plan(spec: &SpecContext, pod: &Pod, runtime: &RuntimePod, settled: &HashMap<ContainerId, Applied>) -> Plan {
    let mut plan = Plan::default();
    for reference in all_containers(pod).filter(|container| container.kind() != ContainerKind::Ephemeral) {
        let same = |container: &&crate::runtime::RuntimeContainer| {
            container.kind == reference.kind() && container.name == reference.name() && is_running(container)
        };
        let Some(running) = runtime.containers.iter().find(same) else { continue };
        let resources = wanted(spec, pod, reference);
        let goal = resources.applied();
        if running.applied == goal || settled.get(&running.id) == Some(&goal) {
            continue;
        }
        if restarts(&reference.container(), running.applied, goal) {
            let reason = KillReason::Resized;
            plan.restart.push(Kill { id: running.id.clone(), name: running.name.clone(), reason });
        } else {
            let (id, name) = (running.id.clone(), running.name.clone());
            plan.update.push(Update { id, name, before: running.applied, resources });
        }
    }
    plan
}

fn wanted(spec: &SpecContext, pod: &Pod, container: ContainerRef<'_>) -> Resources {
    let cgroup = &spec.cgroup;
    let memory = spec.node.capacity.memory.value();
    container_resources(pod, container, memory, cgroup.enforce_cpu_limits, cgroup.may_lower_oom_score)
}

/// Whether the policy of a resource that changes is `RestartContainer`.
fn restarts(container: &Container, before: Applied, goal: Applied) -> bool {
    let cpu = (before.cpu_shares, before.cpu_quota) != (goal.cpu_shares, goal.cpu_quota);
    let memory = before.memory != goal.memory;
    container.resize_policy.iter().flatten().any(|policy| {
        policy.restart_policy == "RestartContainer"
            && ((policy.resource_name == "cpu" && cpu) || (policy.resource_name == "memory" && memory))
    })
}

/// Updates in place. The pod's own cgroup grows before its containers do and shrinks after them, because a child may not
/// have more than its parent.
///
/// # Errors
/// Why a limit could not be changed, for the condition `PodResizeInProgress`.
pub async fn actuate(
    context: &Arc<WorkerContext>,
    pod: &Arc<Pod>,
    state: &PodState,
    updates: &[Update],
) -> Result<(), String> {
    pod_cgroup(context, pod, true).await?;
    for update in updates {
        if update.resources.memory > 0 && update.resources.memory < update.before.memory {
            let used = context.runtime.stats(&update.id).await.map_err(|error| chain(&error))?;
            let used = used.map_or(0, |stats| stats.memory_working_set_bytes);
            if used > update.resources.memory.unsigned_abs() {
                return Err(format!(
                    "attempting to set memory limit below current usage: container {}, used: {used}, limit: {}",
                    update.name, update.resources.memory
                ));
            }
        }
        context.runtime.update_container(&update.id, &update.resources).await.map_err(|error| chain(&error))?;
        state.lock().settled.insert(update.id.clone(), update.resources.applied());
        if let Some(container) = crate::container_spec::find_container(pod, &update.name) {
            context.tell(pod, &container, EventType::Normal, "ResizeCompleted", "Container resized in place");
        }
    }
    pod_cgroup(context, pod, false).await
}

async fn pod_cgroup(context: &Arc<WorkerContext>, pod: &Arc<Pod>, only_raise: bool) -> Result<(), String> {
    let (cgroups, pod) = (Arc::clone(&context.cgroups), Arc::clone(pod));
    let set = move || if only_raise { cgroups.raise_pod(&pod) } else { cgroups.ensure_pod(&pod) };
    match tokio::task::spawn_blocking(set).await {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::tests_support::context;
    use crate::runtime::{ContainerState, PodRef, RuntimeContainer, SandboxId};

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "c",
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": policy}],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}}}]}}))
        .expect("a pod")
    }

    fn runtime(applied: Applied) -> RuntimePod {
        let container = RuntimeContainer {
            id: ContainerId("1".into()),
            sandbox: SandboxId("s".into()),
            pod: PodRef::default(),
            name: "c".into(),
            kind: ContainerKind::App,
            attempt: 0,
            hash: String::new(),
            state: ContainerState::Running { started_at: jiff::Timestamp::UNIX_EPOCH },
            image: String::new(),
            image_id: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            pid: None,
            annotations: [].into(),
            tty: false,
            stdin: false,
            applied,
        };
        RuntimePod { containers: vec![container], ..RuntimePod::default() }
    }

    const GOAL: Applied = Applied { cpu_shares: 102, cpu_quota: 20_000, memory: 64 << 20 };

    #[test]
    fn nothing_is_done_when_the_engine_has_it_already() {
        let (_dir, spec) = context();
        assert_eq!(plan(&spec, &pod("NotRequired"), &runtime(GOAL), &HashMap::new()), Plan::default());
    }

    #[test]
    fn updates_in_place_once() {
        let (_dir, spec) = context();
        let running = runtime(Applied { cpu_quota: 10_000, ..GOAL });
        let plan_of = |settled: &HashMap<_, _>| plan(&spec, &pod("RestartContainer"), &running, settled);
        let first = plan_of(&HashMap::new());
        assert_eq!((first.update.len(), first.restart.len()), (1, 0), "the policy is about memory only");
        assert_eq!(first.update[0].resources.applied(), GOAL);
        assert_eq!(first.unfinished(), BTreeSet::from(["c".to_owned()]));
        assert_eq!(plan_of(&HashMap::from([(ContainerId("1".into()), GOAL)])), Plan::default());
    }

    #[test]
    fn restarts_where_the_policy_says_so() {
        let (_dir, spec) = context();
        let running = runtime(Applied { memory: 32 << 20, ..GOAL });
        let plan = plan(&spec, &pod("RestartContainer"), &running, &HashMap::new());
        assert_eq!((plan.update.len(), plan.restart.len()), (0, 1));
        assert_eq!(plan.restart[0].reason, KillReason::Resized);
    }
}
