//! `reset` takes back what `init` made, gives back what it replaced, and leaves a neighbour on the same Docker Engine alone;
//! `init` ends orderly when it is interrupted and goes on from there.

use junio_lab::Suite;

use super::{READY, assert_hint, ended, expected};
use crate::support::{Snapshot, TestLab};

/// Programs of the host's owner, in the places that junioadm uses: a file, and a link.
const OWN_PROGRAMS: &str =
    "printf '#!/bin/sh\\necho my own kubectl\\n' > /usr/local/bin/kubectl; chmod 750 /usr/local/bin/kubectl
    mkdir -p /opt/cni/bin /opt/own; echo mine > /opt/own/bridge; ln -s /opt/own/bridge /opt/cni/bin/bridge";

/// Interrupts init while it waits for the control plane, and ends with its exit code. What it said is in /tmp/out.
const INTERRUPTED: &str = "junioadm init > /tmp/out 2>&1 & init=$!
    until grep -q '^\\[wait-control-plane\\]' /tmp/out; do kill -0 $init || exit 99; sleep 0.02; done
    kill -INT $init; wait $init; status=$?; cat /tmp/out; exit $status";

#[tokio::test]
async fn init_and_reset_leave_the_host_as_it_was() {
    let lab = TestLab::hosts("reset", Suite::Trixie, 1).await;
    let host = lab.at(1);
    ended(host, "tar -C / -c bin/busybox | docker import - neighbour:1", 0).await;
    ended(host, "docker run -d --name neighbour neighbour:1 /bin/busybox sleep 1000000", 0).await;
    ended(host, OWN_PROGRAMS, 0).await;
    let inspect = "docker inspect -f '{{.State.StartedAt}} {{.Id}}' neighbour";
    let neighbour = ended(host, inspect, 0).await;
    let before = Snapshot::of(host).await;

    // killed in the middle
    ended(host, "junioadm init >/dev/null 2>&1 & sleep 2; kill -9 $!; wait $!; true", 0).await;
    ended(host, "junioadm reset --force", 0).await;
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after a killed init and reset");

    // interrupted, then finished
    let text = ended(host, INTERRUPTED, 130).await;
    assert_hint(&text, "JUNIO-INTERRUPTED", "junioadm init");
    assert!(text.contains("`junioadm reset` removes it"), "{text}");
    let text = ended(host, "junioadm init", 0).await;
    assert!(text.contains("has initialized successfully"), "{text}");
    ended(host, READY, 0).await;

    let text = ended(host, "junioadm reset --force", 0).await;
    assert!(text.contains("/usr/local/bin/kubectl, as it was before"), "{text}");
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after init and reset");
    let text = ended(host, "junioadm reset --force", 0).await;
    assert!(text.contains("There was nothing to remove"), "{text}");
    assert_eq!(ended(host, inspect, 0).await, neighbour, "the neighbour was touched");
}
