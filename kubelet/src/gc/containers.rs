//! Dead containers: one per name is kept for `logs --previous` and the last state; of pods that are gone nothing is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error_chain::chain;
use crate::pod::actions::is_running;
use crate::pod::{PodStore, facts};
use crate::runtime::{ContainerKind, ContainerState, PodRef, PodRuntime, RuntimeContainer, RuntimePod, RuntimeSandbox};

/// How often the engine is swept.
pub const PERIOD: Duration = Duration::from_secs(60);

/// Sweeps for ever.
pub async fn run(runtime: Arc<dyn PodRuntime>, store: PodStore) {
    loop {
        tokio::time::sleep(PERIOD).await;
        match runtime.list_pods().await {
            Ok(pods) => {
                for pod in pods.iter().filter(|pod| store.get(&pod.pod.uid).is_some()) {
                    sweep(&*runtime, pod).await;
                }
            }
            Err(error) => tracing::debug!(error = chain(&error), "cannot list pods for garbage collection"),
        }
    }
}

/// Also the last dead containers of pods that have run to their end: disk is short.
pub async fn remove_dead(runtime: &dyn PodRuntime, store: &PodStore) {
    let pods = match runtime.list_pods().await {
        Ok(pods) => pods,
        Err(error) => return tracing::warn!(error = chain(&error), "cannot list pods to reclaim disk"),
    };
    for pod in pods.iter().filter(|pod| store.get(&pod.pod.uid).is_some()) {
        let status = store.status_ref(&pod.pod.uid);
        if status.is_some_and(|status| status.phase.as_deref().is_some_and(facts::is_terminal_phase)) {
            remove_stopped(runtime, pod).await;
        } else {
            sweep(runtime, pod).await;
        }
    }
}

/// Everything of a pod that does not run.
async fn remove_stopped(runtime: &dyn PodRuntime, pod: &RuntimePod) {
    for container in pod.containers.iter().filter(|container| !is_running(container)) {
        if let Err(error) = runtime.remove_container(&container.id).await {
            tracing::debug!(container = container.name, error = chain(&error), "container of an ended pod stays");
        }
    }
    for sandbox in pod.sandboxes.iter().filter(|sandbox| !sandbox.ready) {
        if let Err(error) = runtime.remove_sandbox(&sandbox.id).await {
            tracing::debug!(sandbox = sandbox.id.0, error = chain(&error), "sandbox of an ended pod stays");
        }
    }
}

async fn sweep(runtime: &dyn PodRuntime, pod: &RuntimePod) {
    for container in surplus_containers(pod) {
        if let Err(error) = runtime.remove_container(&container.id).await {
            tracing::debug!(container = container.name, error = chain(&error), "dead container stays");
        }
    }
    for sandbox in surplus_sandboxes(pod) {
        if let Err(error) = runtime.remove_sandbox(&sandbox.id).await {
            tracing::debug!(sandbox = sandbox.id.0, error = chain(&error), "dead sandbox stays");
        }
    }
}

/// Dead containers beyond the newest dead one of their name. Pure.
fn surplus_containers(pod: &RuntimePod) -> Vec<&RuntimeContainer> {
    let mut newest: HashMap<(ContainerKind, &str), u32> = HashMap::new();
    for container in pod.containers.iter().filter(|container| matches!(container.state, ContainerState::Exited { .. }))
    {
        let attempt = newest.entry((container.kind, container.name.as_str())).or_default();
        *attempt = (*attempt).max(container.attempt);
    }
    let outdated = |container: &&RuntimeContainer| {
        !is_running(container)
            && newest
                .get(&(container.kind, container.name.as_str()))
                .is_some_and(|attempt| container.attempt < *attempt)
    };
    pod.containers.iter().filter(outdated).collect()
}

/// Dead sandboxes that are neither the newest nor hold a container. Pure.
fn surplus_sandboxes(pod: &RuntimePod) -> Vec<&RuntimeSandbox> {
    let used = |sandbox: &RuntimeSandbox| pod.containers.iter().any(|container| container.sandbox == sandbox.id);
    pod.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready && !used(sandbox)).collect()
}

/// Removes everything of a pod that is gone, its log directory included.
pub async fn remove_pod(runtime: &dyn PodRuntime, pod: &PodRef, log_root: &Path) {
    match runtime.pod(&pod.uid).await {
        Ok(found) => remove_stopped(runtime, &found).await,
        Err(error) => tracing::debug!(pod = pod.name, error = chain(&error), "cannot look at gone pod"),
    }
    let logs = log_root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid));
    if let Err(error) = tokio::fs::remove_dir_all(&logs).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %logs.display(), %error, "log directory stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{ContainerId, SandboxId};
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    fn container(name: &str, attempt: u32, dead: bool) -> RuntimeContainer {
        let exited = ContainerState::Exited {
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
        };
        RuntimeContainer {
            id: ContainerId(format!("{name}{attempt}")),
            sandbox: SandboxId("s".into()),
            pod: PodRef::default(),
            name: name.into(),
            kind: ContainerKind::App,
            attempt,
            hash: String::new(),
            state: if dead { exited } else { ContainerState::Running { started_at: Timestamp::UNIX_EPOCH } },
            image: String::new(),
            image_id: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            pid: None,
            annotations: BTreeMap::new(),
            tty: false,
            stdin: false,
            applied: crate::runtime::Applied::default(),
        }
    }

    #[test]
    fn the_newest_dead_one_of_each_name_stays() {
        let containers =
            vec![container("a", 3, false), container("a", 2, true), container("a", 1, true), container("b", 0, true)];
        let pod = RuntimePod { containers, ..RuntimePod::default() };
        assert_eq!(
            surplus_containers(&pod).iter().map(|container| container.id.0.as_str()).collect::<Vec<_>>(),
            ["a1"]
        );
    }

    #[test]
    fn old_sandboxes_go_when_they_are_empty() {
        let sandbox = |id: &str, ready| RuntimeSandbox {
            id: SandboxId(id.into()),
            attempt: 0,
            ready,
            created_at: Timestamp::UNIX_EPOCH,
            pid: None,
            host_network: false,
        };
        let pod = RuntimePod {
            sandboxes: vec![sandbox("new", false), sandbox("s", false), sandbox("old", false)],
            containers: vec![container("a", 0, true)],
            ..RuntimePod::default()
        };
        assert_eq!(surplus_sandboxes(&pod).iter().map(|sandbox| sandbox.id.0.as_str()).collect::<Vec<_>>(), ["old"]);
    }
}
