//! A host where systemd is not process 1: `junioadm supervise` keeps the kubelet running.

use std::time::Duration;

use junio_lab::{LabHost, Suite};

use super::{READY, ended, expected};
use crate::support::{Snapshot, TestLab, wait_until};

const IDS: &str = "/var/lib/junioadm/services/junio-kubelet.pid";

/// Process ids of the supervisor and of the kubelet.
async fn ids(host: &LabHost) -> Vec<String> {
    ended(host, &format!("cat {IDS}"), 0).await.split_whitespace().map(str::to_owned).collect()
}

/// The kubelet's containers, each with the moment of its start.
async fn containers(host: &LabHost) -> String {
    ended(host, "docker ps -q --no-trunc | sort | xargs docker inspect -f '{{.Name}} {{.State.StartedAt}}'", 0).await
}

/// Waits until a kubelet that is not the process `old` serves.
async fn other_kubelet(host: &LabHost, old: &str) {
    wait_until("another kubelet to be healthy", Duration::from_secs(30), async || {
        let healthy = host.shell("curl -fs http://127.0.0.1:10248/healthz").await.expect("the host answers").success();
        let now = ids(host).await;
        if healthy && now.get(1).is_some_and(|id| id != old) { Ok(()) } else { Err(format!("processes {now:?}")) }
    })
    .await;
}

#[tokio::test]
async fn without_systemd_a_supervisor_keeps_the_kubelet_running() {
    let lab = TestLab::without_systemd("supervised", Suite::Trixie).await;
    let host = lab.at(1);
    assert_ne!(ended(host, "cat /proc/1/comm", 0).await.trim(), "systemd");
    let before = Snapshot::of(host).await;

    ended(host, "junioadm init", 0).await;
    ended(host, READY, 0).await;
    let (first, started) = (ids(host).await, containers(host).await);
    let text = ended(host, "junioadm init", 0).await;
    assert!(text.contains("nothing had to be done"), "{text}");
    assert_eq!(ids(host).await, first, "a second init starts nothing anew");

    ended(host, &format!("kill -9 {}", first[1]), 0).await;
    other_kubelet(host, &first[1]).await;
    let second = ids(host).await;
    assert_eq!(second[0], first[0], "the same supervisor");

    // with its supervisor gone too, init takes care again: of one kubelet, not of two
    ended(host, &format!("kill -9 {}", second[0]), 0).await;
    ended(host, "junioadm init", 0).await;
    other_kubelet(host, &second[1]).await;
    assert_eq!(ended(host, "pgrep -cx junio-kubelet", 0).await.trim(), "1");
    assert_eq!(containers(host).await, started, "a container was started again");

    ended(host, "junioadm reset --force", 0).await;
    ended(host, "! pgrep -a junio", 0).await;
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after reset");
}
