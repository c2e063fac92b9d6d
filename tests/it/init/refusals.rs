//! Bad input: a clear error with a stable code and a next step, and nothing changed on the host.

use junio_lab::{LabHost, Suite};

use crate::support::{Snapshot, TestLab};

/// Debug logs of refused runs are kept on purpose, and a shell leaves its processes for a moment.
fn expected(fact: &str) -> bool {
    fact.contains("/var/log/junioadm") || fact.contains("/run/junioadm") || fact.starts_with("process ")
}

/// Runs a line that must be refused with `status`; returns what it says.
async fn refused(host: &LabHost, line: &str, status: i64) -> String {
    let output = host.shell(line).await.expect("the host answers");
    let text = format!("{}\n{}", output.text(), output.error_text());
    assert_eq!(output.status, status, "$ {line}\n{text}");
    text
}

#[tokio::test]
async fn bad_input_is_refused_by_name_and_changes_nothing() {
    let lab = TestLab::hosts("refusals", Suite::Bookworm, 1).await;
    let host = lab.at(1);
    // files that the cases below need
    host.shell(
        "mkdir -p /srv/bad; cd /srv/bad; head -c 1000000 /var/lib/junioadm/bundle.jbundle > short.jbundle
         printf 'apiVersion: kubeadm.k8s.io/v1beta4\\nkind: ClusterConfiguration\\nnetworking:\\n  podSubnets: 10.0.0.0/8\\n' > unknown.yaml
         cp /usr/local/bin/junioadm /srv/bad/",
    )
    .await
    .expect("the files are made");
    let before = Snapshot::of(host).await;

    let text = refused(host, "junioadm init --config /srv/bad/unknown.yaml", 2).await;
    assert!(text.contains("podSubnets") && text.contains("unknown.yaml:4:3"), "no field, line and column in\n{text}");
    let text = refused(host, "junioadm init --pod-network-cidr=10.96.0.0/16", 2).await;
    assert!(text.contains("10.96.0.0/16") && text.contains("10.96.0.0/12"), "{text}");
    let text = refused(host, "junioadm init --no-such-flag", 2).await;
    assert!(text.contains("--no-such-flag"), "{text}");
    let text = refused(host, "junioadm init --bundle /srv/bad/short.jbundle", 3).await;
    assert!(text.contains("JUNIO-BUNDLE"), "{text}");
    let text = refused(host, "su nobody -s /bin/sh -c '/srv/bad/junioadm init'", 3).await;
    assert!(text.contains("root"), "{text}");
    let text = refused(
        host,
        "socat TCP-LISTEN:6443,fork /dev/null & listener=$!; sleep 0.3; junioadm init; status=$?; kill $listener; exit $status",
        3,
    )
    .await;
    assert!(text.contains("Port-6443") && text.contains("JUNIO-"), "{text}");

    before.difference(&Snapshot::of(host).await).without(expected).assert_empty("after six refusals");

    host.check(&["sh", "-c", "systemctl stop docker.socket docker"]).await.expect("Docker stops");
    let text = refused(host, "junioadm init", 3).await;
    assert!(text.contains("Docker") && text.contains("JUNIO-DOCKER"), "{text}");
    assert!(!host.shell("ls /etc/kubernetes").await.expect("the host answers").success(), "init left files behind");
}
