//! Bad input: a clear error with a stable code and a next step, and nothing changed on the host.

use std::process::Command;

use junio_lab::{LabHost, Suite};

use super::{assert_hint, ended, expected};
use crate::support::{Snapshot, TestLab};

/// Files that the cases need.
const FILES: &str = "mkdir -p /srv/bad; cd /srv/bad
    head -c 1000000 /var/lib/junioadm/bundle.jbundle > short.jbundle
    cp /var/lib/junioadm/bundle.jbundle flipped.jbundle
    printf '\\377\\000\\377' | dd of=flipped.jbundle bs=1 seek=40000000 conv=notrunc status=none
    printf 'apiVersion: kubeadm.k8s.io/v1beta4\\nkind: ClusterConfiguration\\nnetworking:\\n  podSubnets: 10.0.0.0/8\\n' > unknown.yaml
    sed 's/^MemTotal:.*/MemTotal: 1048576 kB/' /proc/meminfo > meminfo
    printf 'Filename\\tType\\tSize\\tUsed\\tPriority\\n/swapfile file 1048572 0 -2\\n' > swaps
    cp /usr/local/bin/junioadm .";

#[tokio::test]
async fn bad_input_is_refused_by_name_and_changes_nothing() {
    let lab = TestLab::hosts("refusals", Suite::Bookworm, 1).await;
    let host = lab.at(1);
    ended(host, FILES, 0).await;
    let before = Snapshot::of(host).await;

    let text = ended(host, "junioadm init --config /srv/bad/unknown.yaml", 2).await;
    assert!(text.contains("podSubnets") && text.contains("unknown.yaml:4:3"), "no field, line and column in\n{text}");
    let text = ended(host, "junioadm init --pod-network-cidr=10.96.0.0/16", 2).await;
    assert!(text.contains("10.96.0.0/16") && text.contains("10.96.0.0/12"), "{text}");
    let text = ended(host, "junioadm init --no-such-flag", 2).await;
    assert!(text.contains("--no-such-flag"), "{text}");
    for bundle in ["short", "flipped"] {
        let text = ended(host, &format!("junioadm init --bundle /srv/bad/{bundle}.jbundle"), 3).await;
        assert!(text.contains("code: JUNIO-BUNDLE-"), "{text}");
    }
    let text = ended(host, "su nobody -s /bin/sh -c '/srv/bad/junioadm init'", 3).await;
    assert_hint(&text, "JUNIO-NOT-ROOT", "sudo junioadm init");
    let taken = "socat TCP-LISTEN:6443,fork /dev/null & listener=$!
        until ss -ltn | grep -q :6443; do sleep 0.02; done
        junioadm init; status=$?; kill $listener; wait $listener; exit $status";
    let text = ended(host, taken, 3).await;
    assert!(text.contains("[ERROR Port-6443]") && text.contains("socat"), "{text}");
    assert_hint(&text, "JUNIO-PORT-IN-USE", "ss -ltnp");
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after seven refusals");

    small_hosts(host).await;
    bad_engines(host).await;
    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after five more");

    ended(host, "systemctl stop docker.socket docker", 0).await;
    let text = ended(host, "junioadm init", 3).await;
    assert!(text.contains("[ERROR CRI]") && text.contains("code: JUNIO-DOCKER-"), "{text}");
    ended(host, "test ! -e /etc/kubernetes && test ! -e /var/lib/junioadm/journal.ndjson", 0).await;
}

/// One CPU is real: the machine's engine takes the other ones away. A lab host has the machine's memory and swap, so it is
/// shown the kernel's text of another one.
async fn small_hosts(host: &LabHost) {
    let cpus = |set: &str| {
        let updated = Command::new("docker").args(["update", "--cpuset-cpus", set, host.name()]).output();
        let updated = updated.expect("docker runs");
        assert!(updated.status.success(), "{}", String::from_utf8_lossy(&updated.stderr));
    };
    let all = ended(host, "awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status", 0).await;
    let all = all.trim();
    cpus(all.split(['-', ',']).next().unwrap_or(all));
    let text = ended(host, "junioadm init", 3).await;
    cpus(all);
    assert!(text.contains("the number of available CPUs 1 is less than the required 2"), "{text}");
    assert_hint(&text, "JUNIO-TOO-FEW-CPUS", "junioadm init --ignore-preflight-errors=NumCPU");

    let shown = |file: &str, command: &str| {
        format!("mount --bind /srv/bad/{file} /proc/{file}; {command}; status=$?; umount /proc/{file}; exit $status")
    };
    let text = ended(host, &shown("meminfo", "junioadm init"), 3).await;
    assert!(text.contains("the system RAM (1073 MB) is less than the minimum 1700 MB"), "{text}");
    assert_hint(&text, "JUNIO-LOW-MEMORY", "junioadm init --ignore-preflight-errors=Mem");
    // a warning, as with kubeadm
    let text = ended(host, &shown("swaps", "junioadm preflight"), 0).await;
    assert!(text.contains("[WARNING Swap]: swap is in use (/swapfile)") && text.contains("(JUNIO-SWAP)"), "{text}");
    assert!(text.contains("swapoff -a"), "no next step in\n{text}");
}

/// The host's engine behind a socket that speaks of an older API, and one that answers nonsense. The socket of the proxy stays
/// when it ends: its end must not take away the engine's, which is back under that name by then.
async fn bad_engines(host: &LabHost) {
    let behind = |socat: &str| {
        format!(
            "mv /run/docker.sock /run/real.sock
             socat UNIX-LISTEN:/run/docker.sock,fork,unlink-close=0 {socat} & proxy=$!
             until [ -S /run/docker.sock ]; do sleep 0.02; done
             junioadm init; status=$?; kill $proxy; wait $proxy; mv /run/real.sock /run/docker.sock; exit $status"
        )
    };
    let older = "SYSTEM:'socat - UNIX-CONNECT\\:/run/real.sock | sed -u s/1.41/1.40/g'";
    let text = ended(host, &behind(older), 3).await;
    assert!(text.contains("speaks API 1.40, at least 1.41 is needed"), "{text}");
    assert_hint(&text, "JUNIO-DOCKER-TOO-OLD", "apt-get install docker.io");
    let text = ended(host, &behind("SYSTEM:'echo hello'"), 3).await;
    assert_hint(&text, "JUNIO-DOCKER-UNREACHABLE", "systemctl status docker");
}
