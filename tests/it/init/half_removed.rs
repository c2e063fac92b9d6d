//! An earlier cluster of which somebody removed a part by hand: `init` refuses by name, `reset` cleans, `init` works.

use junio_lab::Suite;

use super::{assert_hint, ended, expected};
use crate::support::{Snapshot, TestLab};

/// What goes on changing while the rest of a cluster runs.
fn alive(fact: &str) -> bool {
    expected(fact)
        || fact.starts_with("container ")
        || fact.starts_with("cgroup ")
        || ["/var/lib/etcd", "/var/lib/kubelet", "/var/log/pods", "iptables"].iter().any(|place| fact.contains(place))
}

#[tokio::test]
async fn a_half_removed_cluster_is_refused_and_reset_cleans_it() {
    let lab = TestLab::hosts("half-removed", Suite::Bookworm, 1).await;
    let host = lab.at(1);
    ended(host, "mv /var/lib/junioadm/bundle.jbundle /srv/ && junioadm init --bundle /srv/bundle.jbundle", 0).await;

    // the record is there, the certificates are gone; a kubelet would make the directory anew for a pod that it starts
    ended(host, "systemctl stop junio-kubelet && mv /etc/kubernetes/pki /etc/kubernetes/away", 0).await;
    let before = Snapshot::of(host).await;
    let text = ended(host, "junioadm init --bundle /srv/bundle.jbundle", 3).await;
    assert_hint(&text, "JUNIO-LEFTOVERS", "junioadm reset");
    assert!(text.contains("whose certificates in /etc/kubernetes/pki are gone"), "{text}");
    before.difference(&Snapshot::of(host).await).without(alive).assert_empty("after a refused init");
    ended(host, "mv /etc/kubernetes/away /etc/kubernetes/pki && systemctl start junio-kubelet", 0).await;

    // the record and the kubelet's unit are gone, and all the rest runs
    ended(host, "rm -rf /var/lib/junioadm /etc/systemd/system/junio-kubelet.service; systemctl daemon-reload", 0).await;
    let before = Snapshot::of(host).await;
    let text = ended(host, "junioadm init --bundle /srv/bundle.jbundle", 3).await;
    assert_hint(&text, "JUNIO-LEFTOVERS", "junioadm reset");
    assert!(
        text.contains("which an earlier cluster left running") && text.contains("containers of a kubelet"),
        "{text}"
    );
    before.difference(&Snapshot::of(host).await).without(alive).assert_empty("after a refused init");

    ended(host, "junioadm reset --force", 0).await;
    let running =
        "docker ps -aq; pgrep -a junio-kubelet; find /etc/systemd -name 'junio*'; ls -A /etc/kubernetes/pki /var/lib/etcd /var/lib/kubelet | grep -v :$;
        iptables-save | grep KUBE-; ip -o link | grep -E 'cni0|flannel'; true";
    assert_eq!(ended(host, running, 0).await.trim(), "", "reset left something");
    ended(host, "junioadm init --bundle /srv/bundle.jbundle", 0).await;
    ended(host, "junioadm reset --force", 0).await;
}
