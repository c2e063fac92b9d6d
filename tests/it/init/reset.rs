//! `reset` takes back what `init` made and leaves a neighbour on the same Docker Engine alone.

use junio_lab::Suite;

use crate::support::{Snapshot, TestLab};

/// What outlives a reset for a reason: debug logs, the engine's own bookkeeping of layers and of its daemon's processes, and
/// caches of the shell that looks.
fn expected(fact: &str) -> bool {
    ["/var/log/junioadm", "/run/junioadm", "/var/log/journal", "/run/systemd", "/var/lib/systemd"]
        .iter()
        .any(|path| fact.contains(path))
        || fact.starts_with("process ")
        // Known remains, empty and without effect: the mangle table that iptables opens for kube-proxy's canary, its lock
        // file, the directory that kube-proxy's hostPath asks for, and a handle of Docker's own for host-network containers.
        || matches!(fact, "iptables *mangle" | "nft table ip mangle" | "iptables *mangle6" | "nft table ip6 mangle")
        || fact.ends_with(" /run/xtables.lock")
        || fact.ends_with(" /usr/lib/modules")
        || fact.contains(" /run/docker/netns/default ")
}

#[tokio::test]
async fn init_and_reset_leave_the_host_as_it_was() {
    let lab = TestLab::hosts("reset", Suite::Trixie, 1).await;
    let host = lab.at(1);
    host.check(&["sh", "-c", "tar -C / -c bin/busybox | docker import - neighbour:1"]).await.expect("an image");
    host.check(&["docker", "run", "-d", "--name", "neighbour", "neighbour:1", "/bin/busybox", "sleep", "1000000"])
        .await
        .expect("a neighbour runs");
    let neighbour = host.check(&["docker", "inspect", "-f", "{{.State.StartedAt}} {{.Id}}", "neighbour"]).await;
    let before = Snapshot::of(host).await;

    host.check(&["sh", "-c", "junioadm init 2>&1"]).await.expect("init");
    let report = host.check(&["sh", "-c", "junioadm reset --force 2>&1"]).await.expect("reset");
    assert!(!report.is_empty());
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after init and reset");
    host.check(&["sh", "-c", "junioadm reset --force 2>&1"]).await.expect("a second reset has nothing to do");

    // killed in the middle, then reset
    host.shell("junioadm init >/dev/null 2>&1 & sleep 2; kill -9 $!").await.expect("init starts");
    host.check(&["sh", "-c", "junioadm reset --force 2>&1"]).await.expect("reset of a half-made host");
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after a killed init and reset");
    let after = host.check(&["docker", "inspect", "-f", "{{.State.StartedAt}} {{.Id}}", "neighbour"]).await;
    assert_eq!(after.expect("the neighbour is there"), neighbour.expect("the neighbour was there"));
}
