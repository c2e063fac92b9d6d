//! States from which a starting control plane cannot recover by itself, found while others wait: a container that keeps
//! ending, a kubelet that keeps ending.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use junio_host::docker::ContainerFacts;
use junio_host::{Docker, HostError};

use crate::context::{Context, KUBELET_SERVICE};
use crate::error::Cause;

const LOOK: Duration = Duration::from_millis(500);
/// One end of a component is no verdict: the kubelet starts it again at once.
const ENDS: usize = 2;
/// But one that is not followed by a start is.
const ALONE: Duration = Duration::from_secs(5);
const LINES: usize = 20;
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const CONTAINER: &str = "io.kubernetes.container.name";
const POD: &str = "io.kubernetes.pod.name";
const LOG_PATH: &str = "io.kubernetes.container.logpath";
const COMPONENTS: [&str; 4] = [
    junio_api::names::ETCD,
    junio_api::names::KUBE_APISERVER,
    junio_api::names::KUBE_CONTROLLER_MANAGER,
    junio_api::names::KUBE_SCHEDULER,
];

/// Looks as long as others wait; it ends only with what is wrong.
pub(crate) async fn watch(ctx: &Context<'_>) -> Cause {
    let mut seen = Seen::default();
    let mut first = true;
    loop {
        if let Some(docker) = &ctx.docker
            && let Ok(containers) = docker.containers(NAMESPACE_FILTER).await
        {
            if first {
                // What ended before this run is history.
                seen.ignored = containers
                    .iter()
                    .filter(|c| c.state == "exited" || c.state == "dead")
                    .map(|c| c.id.clone())
                    .collect();
            }
            if let Some(culprit) = seen.culprit(&containers, Instant::now()) {
                match describe(docker, culprit).await {
                    Ok(cause) => return cause,
                    Err(error) => tracing::debug!(%error, "a container that ended cannot be described"),
                }
            }
        }
        first = false;
        if let Ok(Some(trouble)) = ctx.services().trouble(ctx.changes.host, &ctx.kubelet_service()).await {
            return Cause::ServiceFailed {
                service: KUBELET_SERVICE.to_owned(),
                state: trouble.state,
                last_lines: trouble.last_lines,
                log_command: ctx.services().log_command(&ctx.kubelet_service()),
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

const NAMESPACE_FILTER: &str = "io.kubernetes.pod.namespace=kube-system";

/// What was seen of containers over time.
#[derive(Default)]
struct Seen {
    ignored: HashSet<String>,
    /// When a component was first seen ended with nothing of it running.
    alone_since: HashMap<String, Instant>,
}

impl Seen {
    fn culprit<'a>(&mut self, containers: &'a [ContainerFacts], now: Instant) -> Option<&'a ContainerFacts> {
        for component in COMPONENTS {
            let mine = || containers.iter().filter(|c| is(c, component) && !self.ignored.contains(&c.id));
            let ended: Vec<&ContainerFacts> = mine().filter(|c| c.state == "exited" || c.state == "dead").collect();
            let alive = mine().any(|c| c.state == "running" || c.state == "created" || c.state == "restarting");
            let Some(last) = ended.first().copied() else { continue };
            if ended.len() >= ENDS {
                return Some(last);
            }
            if alive {
                self.alone_since.remove(component);
            } else if now.duration_since(*self.alone_since.entry(component.to_owned()).or_insert(now)) > ALONE {
                return Some(last);
            }
        }
        None
    }
}

/// A container of a control plane component, not its sandbox.
fn is(container: &ContainerFacts, component: &str) -> bool {
    let label = |key: &str| container.labels.get(key).map(String::as_str);
    label(CONTAINER) == Some(component)
        && label(NAMESPACE) == Some(junio_api::names::KUBE_SYSTEM)
        && label(POD).is_some_and(|pod| pod.starts_with(component))
}

async fn describe(docker: &Docker, container: &ContainerFacts) -> Result<Cause, HostError> {
    let end = docker.container_end(&container.id).await?;
    let from_file =
        container.labels.get(LOG_PATH).and_then(|path| std::fs::read_to_string(path).ok()).map(|text| tail(&text));
    let mut last_lines = match from_file {
        Some(lines) if !lines.is_empty() => lines,
        _ => docker.last_lines(&container.id, LINES).await.unwrap_or_default(),
    };
    if !end.error.is_empty() {
        last_lines.push(end.error);
    }
    Ok(Cause::ContainerFailed { container: container.name.clone(), exit_code: end.exit_code, last_lines })
}

/// The last lines of a log file of a pod, without time, stream and tag.
fn tail(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, state: &str) -> ContainerFacts {
        let labels = [(CONTAINER, "etcd"), (NAMESPACE, "kube-system"), (POD, "etcd-ka-1")];
        ContainerFacts {
            id: id.to_owned(),
            name: format!("k8s_etcd_{id}"),
            state: state.to_owned(),
            labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    #[test]
    fn two_ends_or_one_that_stays_alone_are_a_verdict() {
        let start = Instant::now();
        let mut seen = Seen::default();
        let one = [container("a", "exited")];
        assert!(seen.culprit(&one, start).is_none(), "it may be started again");
        assert!(seen.culprit(&one, start + ALONE + LOOK).is_some());
        let mut seen = Seen::default();
        assert!(seen.culprit(&[container("b", "running"), container("a", "exited")], start).is_none());
        assert!(
            seen.culprit(&[container("b", "exited"), container("a", "exited")], start).is_some_and(|c| c.id == "b")
        );
    }

    #[test]
    fn what_ended_before_this_run_is_history() {
        let mut seen = Seen { ignored: ["a".to_owned(), "b".to_owned()].into(), ..Seen::default() };
        assert!(seen.culprit(&[container("b", "exited"), container("a", "exited")], Instant::now()).is_none());
    }

    #[test]
    fn log_lines_lose_their_prefix() {
        assert_eq!(tail("2026-11-21T10:00:00.1Z stderr F panic: no\nplain\n"), ["panic: no", "plain"]);
    }
}
