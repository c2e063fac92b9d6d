//! Nodes that no host stands for any more: cordoned, drained by eviction, reset over SSH where they are reached, deleted.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use junio_host::ssh::Target;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::access::{Access, is_control_plane};
use super::error::{FleetError, HostFailure};
use super::event::FleetEvent;
use super::machine::{Machine, is_unreachable};
use super::marks::TARGET;
use super::options::{Fleet, Way};
use super::report::{Course, HostReport, HostResult};
use super::reset::reset_machine;
use super::worker::{Found, row};
use crate::client::ApiError;

/// Between two tries of an eviction that a PodDisruptionBudget forbids for now. kubectl takes five seconds.
const EVICT_AGAIN: Duration = Duration::from_secs(1);

/// Takes one node out of the cluster.
pub(crate) async fn prune(fleet: &Fleet<'_>, access: &Access, node: &Node, patience: Duration) -> HostReport {
    let name = node.name_any();
    let (sent, mut found, mut course) = (AtomicU64::new(0), Found::default(), Course::new(fleet.started));
    found.node_name = Some(name.clone());
    let title = node.annotations().get(TARGET).cloned().or_else(|| address(node)).unwrap_or_else(|| name.clone());
    let outcome = async {
        if is_control_plane(node) {
            return Err(FleetError::PruneControlPlane { node: name.clone() }.into());
        }
        if fleet.options.dry_run {
            found.planned = vec![format!("cordon, drain and delete node {name}, and reset {title}")];
            return Ok(HostResult::Planned);
        }
        fleet.step(&title, format!("draining node {name}"));
        fleet.interruptible(course.step("drain", drain(access, &name, patience))).await?;
        let reached = fleet.interruptible(course.step("connect", open(fleet, &title, &sent))).await;
        let result = match reached {
            Ok(machine) => {
                let reset =
                    fleet.interruptible(course.step("reset", reset_machine(fleet, &machine, &title, &mut found))).await;
                machine.close().await;
                reset?;
                HostResult::Removed
            }
            Err(failure) if is_unreachable(&failure) => {
                let text = format!("{}; the host is as it was, `junioadm reset` on it makes it clean", failure.message);
                fleet.event(&FleetEvent::Warning { host: title.clone(), text: text.clone() });
                found.notes.push(text);
                HostResult::Forgotten
            }
            Err(failure) => return Err(failure),
        };
        let deleted = async { delete(&access.api(), &name).await.map_err(HostFailure::from) };
        fleet.interruptible(course.step("delete", deleted)).await?;
        Ok(result)
    }
    .await;
    row(fleet, &title, outcome, found, &sent, course)
}

async fn open<'a>(fleet: &'a Fleet<'a>, title: &'a str, sent: &'a AtomicU64) -> Result<Machine<'a>, HostFailure> {
    let target: Target = title.parse()?;
    Machine::open(fleet, title, &Way::Ssh(target), sent).await
}

fn address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP").map(|address| address.address.clone())
}

/// Deletes a Node; one that is gone is fine.
pub(crate) async fn delete(api: &Api<Node>, name: &str) -> Result<bool, ApiError> {
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(source) => Err(ApiError::Request { operation: format!("delete the node {name}"), source }),
    }
}

/// Cordons and evicts; ends when no pod is left but those of DaemonSets and static ones.
async fn drain(access: &Access, node: &str, patience: Duration) -> Result<(), HostFailure> {
    let failed = |operation: &str| {
        let operation = format!("{operation} node {node}");
        move |source| ApiError::Request { operation, source }
    };
    let cordon = json!({ "spec": { "unschedulable": true } });
    access.api().patch(node, &PatchParams::default(), &Patch::Merge(cordon)).await.map_err(failed("cordon"))?;
    let pods: Api<Pod> = Api::all(access.client.clone());
    let here = format!("spec.nodeName={node}");
    let listed = pods.list(&ListParams::default().fields(&here)).await.map_err(failed("list the pods of"))?;
    let leaving: Vec<&Pod> = listed.items.iter().filter(|pod| must_leave(pod)).collect();
    let deadline = Instant::now() + patience;
    let evicted = futures::future::join_all(leaving.iter().map(|pod| leave(&access.client, pod, deadline))).await;
    let stuck: Vec<(String, String)> = evicted.into_iter().flatten().collect();
    if stuck.is_empty() {
        return Ok(());
    }
    let pods = stuck.iter().map(|(pod, _)| pod.as_str()).collect::<Vec<_>>().join(", ");
    let reason = stuck.first().map(|(_, reason)| reason.clone()).unwrap_or_default();
    Err(FleetError::Drain { node: node.to_owned(), pods, seconds: patience.as_secs(), reason }.into())
}

/// As `kubectl drain --ignore-daemonsets --delete-emptydir-data` sees it.
fn must_leave(pod: &Pod) -> bool {
    let is_static = pod.annotations().contains_key("kubernetes.io/config.mirror");
    let of_daemon_set =
        pod.owner_references().iter().any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    !is_static && !of_daemon_set
}

/// Evicts a pod and waits until it is gone. What is stuck is returned with the reason.
async fn leave(client: &Client, pod: &Pod, deadline: Instant) -> Option<(String, String)> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let title = format!("pod {namespace}/{name}");
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    loop {
        match api.evict(&name, &EvictParams::default()).await {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.code == 404 => return None,
            // Too many requests: a budget has none to give now. That is no event; it has to be asked again.
            Err(kube::Error::Api(status)) if status.code == 429 => {
                if Instant::now() >= deadline {
                    return Some((title, status.message.clone()));
                }
                tokio::time::sleep(EVICT_AGAIN).await;
            }
            Err(error) => return Some((title, crate::client::brief(&error))),
        }
    }
    let uid = pod.uid();
    let gone = async {
        let mut states = watcher::watch_object(api.clone(), &name).boxed();
        while let Ok(Some(state)) = states.try_next().await {
            if state.is_none_or(|found| found.uid() != uid) {
                return;
            }
        }
    };
    let remaining = deadline.saturating_duration_since(Instant::now());
    match tokio::time::timeout(remaining, gone).await {
        Ok(()) => None,
        Err(_) => Some((title, "it was evicted and is still ending".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).expect("a Pod")
    }

    #[test]
    fn pods_of_daemon_sets_and_static_ones_stay() {
        let owned = |kind: &str| {
            pod(json!({ "metadata": { "name": "p", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true }] } }))
        };
        assert!(!must_leave(&owned("DaemonSet")));
        assert!(must_leave(&owned("ReplicaSet")));
        let mirror = json!({ "metadata": { "name": "p", "annotations": { "kubernetes.io/config.mirror": "x" } } });
        assert!(!must_leave(&pod(mirror)));
        assert!(must_leave(&pod(json!({ "metadata": { "name": "p" } }))));
    }
}
