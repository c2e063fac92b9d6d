//! The whole status of a pod from what is known of it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{conditions, containers, phase};
use crate::container_spec::ContainerRef;
use crate::pod::actions::is_running;
use crate::pod::allocation::Pending;
use crate::pod::facts;
use crate::probe::ProbeResults;
use crate::runtime::{ContainerId, ContainerKind, RuntimeContainer, RuntimePod};

/// Why a container does not run at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// Everything that a status depends on.
pub struct StatusInput<'a> {
    pub pod: &'a Pod,
    pub runtime: &'a RuntimePod,
    /// The status that was last told.
    pub previous: Option<&'a PodStatus>,
    /// Containers that could not be started, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Termination messages of exited instances.
    pub messages: &'a HashMap<ContainerId, String>,
    pub probes: &'a dyn Fn(&RuntimeContainer) -> ProbeResults,
    /// All containers are dead and none will start again.
    pub terminal: bool,
    /// Phase, reason and message that override what containers say: rejected, evicted, deadline.
    pub verdict: Option<&'a Verdict>,
    /// Containers that do not have the resources that they were granted yet.
    pub resizing: &'a BTreeSet<String>,
    /// A resize that the node has no room for.
    pub pending: Option<&'a Pending>,
    pub resize_error: Option<&'a str>,
    pub pod_ips: &'a [IpAddr],
    pub host_ips: &'a [IpAddr],
    pub start_time: Timestamp,
    pub now: Timestamp,
}

/// A pod that failed for a reason of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub reason: String,
    pub message: String,
    /// The kubelet ended it for the node's sake: it gets the condition `DisruptionTarget`.
    pub disruption: bool,
}

/// Computes the status. Times are in whole seconds; condition times move only when the condition's status does.
#[must_use]
pub fn pod_status(input: &StatusInput<'_>) -> PodStatus {
    let pod = input.pod;
    let mut init: Vec<ContainerStatus> = Vec::new();
    let mut done = true;
    for container in facts::init_containers(pod) {
        let status = containers::container_status(input, ContainerKind::Init, container, "PodInitializing");
        done &= status.ready || (facts::is_sidecar(container) && status.started == Some(true));
        init.push(status);
    }
    let reason = if done { "ContainerCreating" } else { "PodInitializing" };
    let app: Vec<ContainerStatus> = sorted(
        facts::app_containers(pod)
            .iter()
            .map(|container| containers::container_status(input, ContainerKind::App, container, reason))
            .collect(),
    );
    let ephemeral: Vec<ContainerStatus> = crate::container_spec::all_containers(pod)
        .filter(|container| matches!(container, ContainerRef::Ephemeral(_)))
        .map(|container| {
            containers::container_status(input, ContainerKind::Ephemeral, &container.container(), "ContainerCreating")
        })
        .collect();
    // A pod whose containers may still run has not failed yet: what it holds is not free.
    let verdict = input.verdict.filter(|_| input.terminal || !input.runtime.containers.iter().any(is_running));
    let mut phase = match verdict {
        Some(_) => "Failed",
        None => phase::pod_phase(pod, &init, &app, input.terminal),
    };
    // A terminal phase never goes back.
    for stored in [input.previous.and_then(|status| status.phase.as_deref()), Some(facts::stored_phase(pod))]
        .into_iter()
        .flatten()
    {
        match stored {
            "Failed" => phase = "Failed",
            "Succeeded" => phase = "Succeeded",
            _ => {}
        }
    }
    let sandbox_ready = input.runtime.sandboxes.first().is_some_and(|sandbox| sandbox.ready)
        && (!input.pod_ips.is_empty() || facts::host_network(pod));
    let mut list = conditions::conditions(pod, &init, &app, phase, sandbox_ready);
    list.extend(
        verdict.filter(|verdict| verdict.disruption).map(|verdict| conditions::disrupted(pod, &verdict.message)),
    );
    list.extend(conditions::resize(pod, input.pending, !input.resizing.is_empty(), input.resize_error));
    let stored = pod.status.as_ref();
    // A pod that was rejected never had a container to speak of.
    let rejected = verdict.is_some()
        && input.runtime.containers.is_empty()
        && input.previous.is_none_or(|old| old.container_statuses.is_none());
    let told = |list: Vec<ContainerStatus>| Some(list).filter(|list| !list.is_empty() && !rejected);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(with_times(list, input)),
        reason: verdict
            .map(|verdict| verdict.reason.clone())
            .or_else(|| stored.and_then(|status| status.reason.clone())),
        message: verdict
            .map(|verdict| verdict.message.clone())
            .or_else(|| stored.and_then(|status| status.message.clone())),
        host_ip: input.host_ips.first().map(ToString::to_string),
        host_ips: (!input.host_ips.is_empty())
            .then(|| input.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: input.pod_ips.first().map(ToString::to_string),
        pod_ips: (!input.pod_ips.is_empty())
            .then(|| input.pod_ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
        start_time: Some(Time(input.start_time)),
        init_container_statuses: told(init),
        container_statuses: told(app),
        ephemeral_container_statuses: told(ephemeral),
        qos_class: Some(crate::container_spec::qos_class(pod).as_str().to_owned()),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

fn sorted(mut statuses: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

/// Keeps the transition time of every condition that did not change.
fn with_times(mut list: Vec<PodCondition>, input: &StatusInput<'_>) -> Vec<PodCondition> {
    let stored = input.pod.status.as_ref();
    let old: Vec<&PodCondition> =
        [input.previous, stored].into_iter().flatten().flat_map(|status| status.conditions.iter().flatten()).collect();
    for condition in &mut list {
        let same = old.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_transition_time =
            same.and_then(|old| old.last_transition_time.clone()).or(Some(Time(input.now)));
    }
    list
}
