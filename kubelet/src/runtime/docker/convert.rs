//! Engine answers into the kubelet's values. Listing is one call plus one inspection per container whose state was not
//! seen before: pids, exit codes and times do not change while the state stays.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::client::DockerRuntime;
use super::error::classify;
use super::labels::{self, Identity, Role};
use crate::runtime::{
    Applied, ContainerId, ContainerState, RuntimeContainer, RuntimeError, RuntimePod, RuntimeSandbox, SandboxId,
};

/// Inspections at a time when many containers are new, as after a restart.
const PARALLEL_INSPECTIONS: usize = 8;

/// What one inspection told.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub identity: Identity,
    pub state: ContainerState,
    pub pid: Option<i32>,
    pub created_at: Timestamp,
    pub image: String,
    pub image_id: String,
    pub tty: bool,
    pub stdin: bool,
    pub stop_signal: Option<String>,
    pub applied: Applied,
}

impl DockerRuntime {
    pub(super) async fn all_pods(&self) -> Result<Vec<RuntimePod>, RuntimeError> {
        let listed = self.list(Vec::new()).await?;
        let ids: HashSet<&str> = listed.iter().map(|(id, _)| id.as_str()).collect();
        self.forget(|id| ids.contains(id));
        Ok(into_pods(listed))
    }

    pub(super) async fn one_pod(&self, uid: &str) -> Result<RuntimePod, RuntimeError> {
        let listed = self.list(vec![labels::uid_filter(uid)]).await?;
        Ok(into_pods(listed).pop().unwrap_or_default())
    }

    /// A fresh look at one container of ours.
    pub(super) async fn inspect(&self, id: &str) -> Result<Seen, RuntimeError> {
        let not_found = || RuntimeError::NotFound { kind: "container", id: id.to_owned() };
        let answer = self
            .docker()
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| classify("inspect", "container", id, error))?;
        let full_id = answer.id.clone().unwrap_or_else(|| id.to_owned());
        let seen = read(answer).ok_or_else(not_found)?;
        match &seen.state {
            ContainerState::Created => return Ok(seen),
            // The first account of an end stays, so that its time does not change.
            _ => match self.seen().entry(full_id.clone()) {
                Entry::Occupied(known) if matches!(known.get().state, ContainerState::Exited { .. }) => {
                    return Ok(known.get().clone());
                }
                entry => entry.insert_entry(seen.clone()),
            },
        };
        self.watch_exit(&full_id, &seen);
        Ok(seen)
    }

    /// Every container of this owner that also carries all `filters`, dead ones included.
    pub(super) async fn list(&self, mut filters: Vec<String>) -> Result<Vec<(String, Seen)>, RuntimeError> {
        filters.push(labels::owner_filter(&self.inner.options.owner));
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&HashMap::from([("label", filters)])).build();
        let summaries = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(|error| classify("list", "engine", "containers", error))?;
        let mut known = Vec::with_capacity(summaries.len());
        let mut unknown = Vec::new();
        {
            let cache = self.seen();
            for summary in summaries {
                let Some(id) = summary.id else { continue };
                match cache.get(&id) {
                    Some(seen) if same_state(summary.state, &seen.state) => known.push((id, seen.clone())),
                    _ => unknown.push(id),
                }
            }
        }
        let inspected: Vec<Option<(String, Seen)>> = futures::stream::iter(unknown)
            .map(|id| async move {
                match self.inspect(&id).await {
                    Ok(seen) => Ok(Some((id, seen))),
                    // Removed since the list was made, or a stranger with our label.
                    Err(RuntimeError::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(PARALLEL_INSPECTIONS)
            .try_collect()
            .await?;
        known.extend(inspected.into_iter().flatten());
        Ok(known)
    }
}

/// `None` unless `Seen` is a container (not a sandbox).
pub(super) fn container(id: &str, seen: Seen) -> Option<RuntimeContainer> {
    let Role::Container { name, kind, sandbox, hash, annotations, .. } = seen.identity.role else { return None };
    Some(RuntimeContainer {
        id: ContainerId(id.to_owned()),
        sandbox,
        pod: seen.identity.pod,
        name,
        kind,
        attempt: seen.identity.attempt,
        hash,
        state: seen.state,
        image: seen.image,
        image_id: seen.image_id,
        created_at: seen.created_at,
        pid: seen.pid,
        annotations,
        tty: seen.tty,
        stdin: seen.stdin,
        applied: seen.applied,
    })
}

fn into_pods(listed: Vec<(String, Seen)>) -> Vec<RuntimePod> {
    let mut pods: BTreeMap<String, RuntimePod> = BTreeMap::new();
    for (id, seen) in listed {
        let pod = pods.entry(seen.identity.pod.uid.clone()).or_default();
        pod.pod = seen.identity.pod.clone();
        match seen.identity.role {
            Role::Sandbox { host_network, .. } => pod.sandboxes.push(RuntimeSandbox {
                id: SandboxId(id),
                attempt: seen.identity.attempt,
                ready: matches!(seen.state, ContainerState::Running { .. }),
                created_at: seen.created_at,
                pid: seen.pid,
                host_network,
            }),
            Role::Container { .. } => pod.containers.extend(container(&id, seen)),
        }
    }
    for pod in pods.values_mut() {
        pod.sandboxes.sort_by(|a, b| (b.attempt, b.created_at, &b.id).cmp(&(a.attempt, a.created_at, &a.id)));
        pod.containers.sort_by(|a, b| (b.created_at, b.attempt, &b.id).cmp(&(a.created_at, a.attempt, &a.id)));
    }
    pods.into_values().collect()
}

fn same_state(listed: Option<ContainerSummaryStateEnum>, seen: &ContainerState) -> bool {
    use ContainerSummaryStateEnum as Listed;
    match listed {
        // Nothing runs twice: an end that is known is final, even if the engine has yet to record it.
        Some(Listed::RUNNING | Listed::PAUSED) => !matches!(seen, ContainerState::Created),
        Some(Listed::EXITED | Listed::DEAD) => matches!(seen, ContainerState::Exited { .. }),
        _ => false,
    }
}

fn read(answer: ContainerInspectResponse) -> Option<Seen> {
    let config = answer.config?;
    let engine = answer.state?;
    let identity = labels::read(&config.labels.unwrap_or_default())?;
    let created_at = answer
        .created
        .and_then(|date| Timestamp::from_nanosecond(date.unix_timestamp_nanos()).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let started_at = moment(engine.started_at.as_deref());
    let exit_code = engine.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
    let error = engine.error.unwrap_or_default();
    let state = if engine.running == Some(true) {
        ContainerState::Running { started_at: started_at.unwrap_or(created_at) }
    } else if engine.status == Some(ContainerStateStatusEnum::CREATED) && exit_code == 0 && error.is_empty() {
        ContainerState::Created
    } else {
        // A container whose start failed stays `created` for the engine, with a code and an error: it will not run.
        ContainerState::Exited {
            started_at,
            finished_at: moment(engine.finished_at.as_deref()).unwrap_or(created_at),
            exit_code,
            oom_killed: engine.oom_killed == Some(true),
            error,
        }
    };
    let host = answer.host_config.unwrap_or_default();
    Some(Seen {
        identity,
        state,
        pid: engine.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
        created_at,
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        tty: config.tty == Some(true),
        stdin: config.open_stdin == Some(true),
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        applied: Applied {
            cpu_shares: host.cpu_shares.unwrap_or(0),
            cpu_quota: host.cpu_quota.unwrap_or(0),
            memory: host.memory.unwrap_or(0),
        },
    })
}

/// The engine writes year 1 for "never".
fn moment(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|moment| *moment > Timestamp::UNIX_EPOCH)
}
