//! Bad input to `join`: a stable code, a next command, and a host that is as it was.

use junio_lab::Suite;

use super::{argument, expected, init, join_command, refused};
use crate::support::{Snapshot, TestLab};

#[tokio::test]
async fn what_cannot_join_is_told_why_and_left_as_it_was() {
    let lab = TestLab::hosts("join-refusals", Suite::Trixie, 2).await;
    let (control_plane, worker) = (lab.at(1), lab.at(2));
    init(control_plane).await;
    let command = join_command(control_plane).await;
    let (endpoint, token) = (argument(&command, "join"), argument(&command, "--token"));
    let pin = argument(&command, "--discovery-token-ca-cert-hash");
    let before = Snapshot::of(worker).await;

    let join = |endpoint: &str, token: &str, pin: &str| {
        format!("junioadm join {endpoint} --token {token} --discovery-token-ca-cert-hash {pin}")
    };
    let text = refused(worker, &join(&endpoint, "tooshort", &pin), 2).await;
    assert!(!text.contains("tooshort") && text.contains("abcdef.0123456789abcdef"), "{text}");
    let text = refused(worker, &join(&endpoint, &token, "sha256:12"), 2).await;
    assert!(text.contains("caCertHashes[0]"), "{text}");
    let text = refused(worker, &join(&endpoint, "zzzzzz.0123456789abcdef", &pin), 4).await;
    assert!(text.contains("JUNIO-JOIN-TOKEN") && text.contains("wrong, expired or deleted"), "{text}");
    let mistyped = format!("{}.0123456789abcdef", token.split('.').next().expect("an id"));
    let text = refused(worker, &join(&endpoint, &mistyped, &pin), 4).await;
    assert!(text.contains("JUNIO-JOIN-TOKEN") && text.contains("secret half"), "{text}");
    let text = refused(worker, &join(&endpoint, &token, &format!("sha256:{}", "00".repeat(32))), 4).await;
    assert!(text.contains("JUNIO-JOIN-CA-PIN") && text.contains(&pin), "{text}");

    // a deleted token, one that only signs, one that is over
    let create = |flags: &str| format!("junioadm token create {flags}");
    let deleted = control_plane.check(&["sh", "-c", &create("")]).await.expect("a token");
    control_plane.check(&["junioadm", "token", "delete", &deleted]).await.expect("deleted");
    let text = refused(worker, &join(&endpoint, &deleted, &pin), 4).await;
    assert!(text.contains("JUNIO-JOIN-TOKEN"), "{text}");
    let signs = control_plane.check(&["sh", "-c", &create("--usages signing")]).await.expect("a token");
    let text = refused(worker, &join(&endpoint, &signs, &pin), 4).await;
    assert!(text.contains("JUNIO-JOIN-REFUSED"), "{text}");
    let over = control_plane.check(&["sh", "-c", &create("--ttl 1s")]).await.expect("a token");
    let text = refused(worker, &format!("sleep 2; {}", join(&endpoint, &over, &pin)), 4).await;
    assert!(text.contains("JUNIO-JOIN-TOKEN") || text.contains("JUNIO-JOIN-REFUSED"), "{text}");

    // nobody there, with the time to try set short
    let config = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ntimeouts: {discovery: 2s}\n\
                  discovery:\n  bootstrapToken: {apiServerEndpoint: \"ENDPOINT\", token: TOKEN, caCertHashes: [\"PIN\"]}\n";
    let config = config.replace("ENDPOINT", &format!("{}:7443", control_plane.address()));
    let config = config.replace("TOKEN", &token).replace("PIN", &pin);
    let line = format!("printf '%s' '{config}' | junioadm join --config -");
    let text = refused(worker, &line, 4).await;
    assert!(text.contains("JUNIO-JOIN-UNREACHABLE") && text.contains(":7443"), "{text}");

    // a name that a Ready node has; a clock that is an hour behind
    let name = control_plane.name();
    let text = refused(worker, &format!("{} --node-name {name}", join(&endpoint, &token, &pin)), 4).await;
    assert!(text.contains("JUNIO-JOIN-NODE-NAME") && text.contains(name), "{text}");
    let text = refused(worker, &join(&endpoint, &token, &pin).replace("join ", "join --no-such-flag "), 2).await;
    assert!(text.contains("--no-such-flag"), "{text}");

    before.difference(&Snapshot::of(worker).await).without(expected).assert_empty("after the refusals");

    // what another cluster left
    worker.shell("mkdir -p /etc/kubernetes && echo theirs > /etc/kubernetes/kubelet.conf").await.expect("a file");
    let text = refused(worker, &join(&endpoint, &token, &pin), 3).await;
    assert!(text.contains("FileAvailable--etc-kubernetes-kubelet.conf") && text.contains("JUNIO-LEFTOVERS"), "{text}");
    assert_eq!(worker.check(&["cat", "/etc/kubernetes/kubelet.conf"]).await.expect("still there"), "theirs");

    let text = refused(control_plane, &join(&endpoint, &token, &pin), 3).await;
    assert!(text.contains("JUNIO-OTHER-CLUSTER") && text.contains("control plane"), "{text}");
}
