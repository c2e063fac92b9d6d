//! The end of a pod on this node: containers, sandbox, network, volumes, cgroup. Retries until all of it is gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::time::Instant;

use super::context::WorkerContext;
use super::state::PodState;
use super::worker::{End, Order};
use super::{actions, facts, kill, sync};
use crate::error_chain::chain;
use crate::runtime::{ContainerState, RuntimePod};

const RETRY: Duration = Duration::from_millis(500);

/// Ends the pod. A shorter grace that is ordered meanwhile counts from now on.
pub async fn terminate(context: &Arc<WorkerContext>, state: &PodState, orders: &mut watch::Receiver<Order>, end: End) {
    let pod = Arc::clone(&orders.borrow().pod);
    {
        let mut memory = state.lock();
        memory.verdict.clone_from(&end.verdict);
        memory.terminating = true;
    }
    let mut grace = end.grace;
    loop {
        let Some(runtime) = look(context, &pod, state).await else { continue };
        sync::publish(context, &pod, state);
        let started = Instant::now();
        let kill = kill::kill_pod(context, &pod, &runtime, grace);
        tokio::pin!(kill);
        let finished = loop {
            tokio::select! {
                () = &mut kill => break true,
                changed = orders.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    let wanted = orders.borrow().end.as_ref().map(|end| end.grace);
                    let rest = grace.saturating_sub(started.elapsed());
                    if let Some(wanted) = wanted.filter(|wanted| *wanted < rest) {
                        grace = wanted;
                        break false;
                    }
                }
            }
        };
        if !finished {
            continue;
        }
        let Some(runtime) = look(context, &pod, state).await else { continue };
        if is_dead(&runtime) {
            break;
        }
        tracing::warn!(pod = facts::full_name(&pod), "containers are still there after their kill");
        tokio::time::sleep(RETRY).await;
    }
    context.probes.remove_pod(facts::uid(&pod));
    state.lock().terminal = true;
    let pod = Arc::clone(&orders.borrow().pod);
    sync::publish(context, &pod, state);
    clean(context, &pod).await;
}

/// Volumes and cgroup; what fails is tried again for ever, because a deleted pod must not leave anything.
async fn clean(context: &Arc<WorkerContext>, pod: &Arc<Pod>) {
    loop {
        let uid = facts::uid(pod).to_owned();
        let cgroups = Arc::clone(&context.cgroups);
        let owned = uid.clone();
        let pods = context.store.list();
        let (volumes, cgroup) = tokio::join!(
            context.volumes.unmount_pod(&uid),
            tokio::task::spawn_blocking(move || {
                cgroups.remove_pod(&owned)?;
                cgroups.update_burstable(pods.iter().map(AsRef::as_ref).filter(|pod| facts::uid(pod) != owned))
            })
        );
        let mut clean = true;
        if let Err(error) = volumes {
            tracing::warn!(pod = facts::full_name(pod), error = chain(&error), "cannot remove volumes");
            clean = false;
        }
        if let Ok(Err(error)) = cgroup {
            tracing::warn!(pod = facts::full_name(pod), error = chain(&error), "cannot remove cgroup");
            clean = false;
        }
        if clean {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn look(context: &WorkerContext, pod: &Arc<Pod>, state: &PodState) -> Option<Arc<RuntimePod>> {
    match sync::look(context, pod, state).await {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            tracing::warn!(pod = facts::full_name(pod), error = chain(&error), "cannot look at terminating pod");
            tokio::time::sleep(RETRY).await;
            None
        }
    }
}

fn is_dead(runtime: &RuntimePod) -> bool {
    let sandboxes = runtime.sandboxes.iter().all(|sandbox| !sandbox.ready);
    sandboxes
        && !runtime
            .containers
            .iter()
            .any(|container| actions::is_running(container) && container.state != ContainerState::Created)
}
