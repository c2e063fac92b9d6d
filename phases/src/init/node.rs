//! Phases `mark-control-plane`, `kubelet-finalize` and `verify`: what happens to the Node.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use junio_api::names;
use junio_pki::Kubeconfig;
use junio_templates::node::{CONTROL_PLANE_LABELS, control_plane_patch};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Client, ResourceExt};
use std::time::{Duration, Instant};

use crate::client::{ApiError, is_transient};
use crate::context::Context;
use crate::error::{Cause, PhaseError};
use crate::event::Event;
use crate::init::kubelet_start::KubeletStarted;
use crate::init::store::Stored;
use crate::init::trouble;
use crate::init::wait_control_plane::ControlPlane;
use crate::phase_id::PhaseId;
use crate::run::{Run, done_if};

/// Puts labels and taints on the Node as soon as the kubelet has registered it.
pub(crate) async fn mark(ctx: &Context<'_>, client: &Client) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::MarkControlPlane;
    if !ctx.wants(ID) {
        ctx.leave_out(ID);
        return Ok(());
    }
    ctx.run
        .phase(ID, async {
            let name = &ctx.plan.node_name;
            let taints: Vec<String> =
                ctx.plan.taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
            let marked = "Marking the node";
            ctx.run.line(
                ID,
                format!("{marked} {name} as control-plane by adding the labels: [{}]", CONTROL_PLANE_LABELS.join(" ")),
            );
            if !taints.is_empty() {
                ctx.run
                    .line(ID, format!("{marked} {name} as control-plane by adding the taints [{}]", taints.join(" ")));
            }
            let nodes: Api<Node> = Api::all(client.clone());
            let registered = |node: Option<&Node>| match node {
                Some(node) if node.labels().contains_key("kubernetes.io/hostname") => None,
                Some(_) => Some("the node has no label kubernetes.io/hostname yet".to_owned()),
                None => Some(format!("the kubelet has not registered the node {name} yet")),
            };
            let node = until(
                ctx.run,
                ctx.plan.timeouts.verify,
                ID,
                &format!("the registration of node {name}"),
                &nodes,
                name,
                registered,
            )
            .await?;
            loop {
                let existing = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
                let existing = match nodes.get_opt(name).await {
                    Ok(Some(fresh)) => fresh.spec.and_then(|spec| spec.taints).unwrap_or_default(),
                    _ => existing,
                };
                let patch = control_plane_patch(&existing, Some(&ctx.plan.taints));
                match nodes
                    .patch(
                        name,
                        &PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() },
                        &Patch::Merge(&patch),
                    )
                    .await
                {
                    Ok(after) => {
                        return Ok((
                            (),
                            done_if(after.metadata.resource_version != node.metadata.resource_version || !ctx.again),
                        ));
                    }
                    Err(error) if is_transient(&error) => tokio::time::sleep(Duration::from_millis(25)).await,
                    Err(source) => {
                        return Err(Cause::other(ApiError::Request { operation: format!("mark node {name}"), source }));
                    }
                }
            }
        })
        .await
}

/// Lets `kubelet.conf` refer to the certificate that the kubelet rotates, once it has one. The kubelet needs no restart: it
/// uses its newest certificate anyway, and reads this file at its next start.
pub(crate) async fn finalize(ctx: &Context<'_>) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::KubeletFinalizeRotation;
    if !ctx.wants(ID) {
        ctx.leave_out(ID);
        return Ok(());
    }
    ctx.run
        .phase(ID, async {
            let layout = ctx.changes.host.layout();
            let (path, current) = (layout.kubelet_conf(), layout.kubelet_pki_dir().join("kubelet-client-current.pem"));
            let Some(mut config) = Kubeconfig::load(&path).map_err(Cause::other)? else {
                return Err(Cause::MissingInput {
                    what: path.display().to_string(),
                    phase: PhaseId::KubeconfigKubelet,
                });
            };
            if !current.exists() {
                tracing::info!("the kubelet has no rotated certificate yet; kubelet.conf stays as it is");
                return Ok(((), done_if(false)));
            }
            config.point_to_client_file(&current);
            let text = config.to_yaml().map_err(Cause::other)?;
            let written = ctx.changes.write(ID, &path, text.expose().as_bytes(), 0o600).await?;
            if written != crate::changes::Written::Unchanged {
                ctx.run.line(
                    ID,
                    format!(
                        "Updating {:?} to point to a rotatable kubelet client certificate and key",
                        path.display().to_string()
                    ),
                );
            }
            Ok(((), done_if(written != crate::changes::Written::Unchanged)))
        })
        .await
}

/// The end that the user wants: node Ready and DNS served, where the network is ours.
pub(crate) async fn verify(
    ctx: &Context<'_>,
    control_plane: &ControlPlane,
    stored: &Stored,
    kubelet: KubeletStarted,
) -> Result<(), PhaseError> {
    const ID: PhaseId = PhaseId::Verify;
    if !ctx.wants(ID) || !stored.network {
        ctx.leave_out(ID);
        return Ok(());
    }
    ctx.run
        .phase(ID, async {
            let started = Instant::now();
            let nodes: Api<Node> = Api::all(control_plane.client.clone());
            let deployments: Api<Deployment> = Api::namespaced(control_plane.client.clone(), names::KUBE_SYSTEM);
            let name = &ctx.plan.node_name;
            let pressed = Mutex::new(None::<String>);
            let node = async {
                let node =
                    until(ctx.run, ctx.plan.timeouts.verify, ID, &format!("node {name} Ready"), &nodes, name, |node| {
                        node_blocker(node, kubelet.now)
                    })
                    .await?;
                ctx.run.line(ID, format!("The node {name} is Ready"));
                let pressures = pressures(&node);
                if !pressures.is_empty() {
                    let told = format!("no pod is placed on node {name} until this is over: {}", pressures.join(", "));
                    ctx.run.warn(ID, told.clone());
                    *pressed.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
                }
                Ok::<_, Cause>(())
            };
            let dns = async {
                if stored.coredns {
                    until(
                        ctx.run,
                        ctx.plan.timeouts.verify,
                        ID,
                        "CoreDNS rolled out",
                        &deployments,
                        names::COREDNS,
                        |deployment| {
                            let pressed = pressed.lock().unwrap_or_else(PoisonError::into_inner).clone();
                            let blocker = deployment_blocker(deployment)?;
                            Some(pressed.map_or(blocker.clone(), |pressed| format!("{blocker}; {pressed}")))
                        },
                    )
                    .await?;
                    ctx.run.line(ID, "CoreDNS is rolled out");
                }
                Ok::<_, Cause>(())
            };
            tokio::select! {
                result = async { tokio::try_join!(node, dns) } => { result?; }
                cause = trouble::watch(ctx) => return Err(cause),
            }
            tracing::debug!(elapsed = ?started.elapsed(), "verified");
            Ok(((), done_if(!ctx.again)))
        })
        .await
}

/// Why a node is not Ready, in the kubelet's words. What it said before `since` does not count: the API server keeps the last
/// word of a kubelet that was stopped for 40 s. Both times are of this host's clock.
pub(crate) fn node_blocker(node: Option<&Node>, since: Option<Timestamp>) -> Option<String> {
    let Some(node) = node else { return Some("the node is not registered".to_owned()) };
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if since.is_some_and(|since| said_before(ready, since)) => {
            Some("the kubelet has not reported since it was started".to_owned())
        }
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(
            ready
                .message
                .clone()
                .filter(|m| !m.is_empty())
                .unwrap_or_else(|| "the kubelet reports not ready".to_owned()),
        ),
        None => Some("the kubelet has not reported yet".to_owned()),
    }
}

/// The API keeps whole seconds.
fn said_before(condition: &NodeCondition, since: Timestamp) -> bool {
    condition.last_heartbeat_time.as_ref().is_none_or(|time| time.0.as_second() < since.as_second())
}

/// Conditions that keep the scheduler away from a Ready node, for example `DiskPressure (kubelet has disk pressure)`.
fn pressures(node: &Node) -> Vec<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions
        .iter()
        .filter(|condition| condition.type_.ends_with("Pressure") && condition.status == "True")
        .map(|condition| format!("{} ({})", condition.type_, condition.message.as_deref().unwrap_or("no reason given")))
        .collect()
}

/// Whether the newest template has all its replicas available.
fn deployment_blocker(deployment: Option<&Deployment>) -> Option<String> {
    let Some(deployment) = deployment else { return Some("the Deployment is not there yet".to_owned()) };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let observed = status.observed_generation >= deployment.metadata.generation;
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    (!(observed && updated >= wanted && available >= wanted))
        .then(|| format!("{available} of {wanted} replicas are available"))
}

/// Watches one object until nothing blocks any more. Watches that break are begun again.
pub(crate) async fn until<K>(
    run: &Run<'_>,
    deadline: Duration,
    phase: PhaseId,
    what: &str,
    api: &Api<K>,
    name: &str,
    blocker: impl Fn(Option<&K>) -> Option<String> + Send + Sync + Copy,
) -> Result<K, Cause>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let started = Instant::now();
    let blocked = Mutex::new(None::<String>);
    let note = |reason: Option<String>| {
        let mut last = blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if reason != *last {
            run.event(&Event::Waiting { phase, what: what.to_owned(), deadline, blocked_by: reason.clone() });
            *last = reason;
        }
    };
    run.event(&Event::Waiting { phase, what: what.to_owned(), deadline, blocked_by: None });
    loop {
        let remaining = deadline.saturating_sub(started.elapsed());
        let condition = Unblocked(|object: Option<&K>| {
            let reason = blocker(object);
            let ready = reason.is_none();
            note(reason);
            ready
        });
        match tokio::time::timeout(remaining, await_condition(api.clone(), name, condition)).await {
            Ok(Ok(Some(object))) => {
                run.event(&Event::Waited { phase, what: what.to_owned(), elapsed: started.elapsed() });
                return Ok(object);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, what, "a watch broke, beginning again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_) => {
                let blocked_by = blocked.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(Cause::Timeout { what: what.to_owned(), after: deadline, blocked_by });
            }
        }
    }
}

struct Unblocked<F>(F);

impl<K, F: Fn(Option<&K>) -> bool> Condition<K> for Unblocked<F> {
    fn matches_object(&self, object: Option<&K>) -> bool {
        (self.0)(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_blocked_by_what_its_kubelet_says() {
        let node = |status: &str| {
            let ready = json!({ "type": "Ready", "status": status, "message": "cni config uninitialized", "lastHeartbeatTime": null });
            serde_json::from_value::<Node>(json!({ "status": { "conditions": [ready] } })).expect("a Node")
        };
        assert_eq!(node_blocker(Some(&node("False")), None).as_deref(), Some("cni config uninitialized"));
        assert_eq!(node_blocker(Some(&node("True")), None), None);
        assert!(node_blocker(None, None).is_some());
        let ready = json!({ "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-21T10:00:07Z" });
        let stale = serde_json::from_value(json!({ "status": { "conditions": [ready] } })).expect("a Node");
        let at = |time: &str| Some(time.parse().expect("a time"));
        assert_eq!(node_blocker(Some(&stale), at("2026-11-21T10:00:07.9Z")), None);
        assert!(node_blocker(Some(&stale), at("2026-11-21T10:00:08Z")).is_some(), "the word of a stopped kubelet");
    }

    #[test]
    fn a_ready_node_under_pressure_is_told() {
        let node: Node = serde_json::from_value(json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True" }, { "type": "MemoryPressure", "status": "False" },
            { "type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure" },
        ] } }))
        .expect("a Node");
        assert_eq!(pressures(&node), ["DiskPressure (kubelet has disk pressure)"]);
    }

    #[test]
    fn a_rollout_counts_only_what_was_observed() {
        let deployment = |observed: i64, available: i32| {
            let status = json!({ "observedGeneration": observed, "updatedReplicas": 2, "availableReplicas": available, "replicas": 2 });
            let object = json!({
                "metadata": { "generation": 2 },
                "spec": { "replicas": 2, "selector": {}, "template": { "metadata": {} } },
                "status": status,
            });
            serde_json::from_value::<Deployment>(object).expect("a Deployment")
        };
        assert!(deployment_blocker(Some(&deployment(1, 2))).is_some());
        assert_eq!(deployment_blocker(Some(&deployment(2, 1))).as_deref(), Some("1 of 2 replicas are available"));
        assert_eq!(deployment_blocker(Some(&deployment(2, 2))), None);
    }
}
