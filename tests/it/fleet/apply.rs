//! A file becomes a cluster, whatever happens to one of its hosts; run again, what is left is done; what leaves the file leaves
//! the cluster.

use std::os::unix::fs::PermissionsExt;

use junio_lab::{LabHost, Suite};

use super::{Desk, junioadm, report, row, target};
use crate::scenarios::user::User;
use crate::support::TestLab;

/// Ends the connection of whoever sends, as soon as the first bytes of junioadm are on the host.
async fn cut_first_transfer(host: &LabHost) {
    let script = "setsid sh -c 'while ! [ -s /usr/local/bin/junioadm.part ]; do sleep 0.01; done; \
                  pkill -KILL -f \"^sshd(-session)?: root\"' >/dev/null 2>&1 &";
    host.check(&["sh", "-c", script]).await.expect("it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_a_cluster_and_a_host_that_was_cut_off_comes_in_with_the_next_run() {
    let lab = TestLab::plain("apply", Suite::Trixie, 3).await;
    let (first, second, third) = (lab.at(1), lab.at(2), lab.at(3));
    let desk = Desk::new();
    let control_plane = format!("{{ssh: {}, role: control-plane}}", target(first));
    let worker =
        format!("{{ssh: {}, labels: {{zone: a}}, taints: [{{key: gpu, effect: NoSchedule}}]}}", target(second));
    let hosts = [control_plane.clone(), worker.clone(), format!("{{ssh: {}, nodeName: third}}", target(third))];
    let file = desk.cluster(&lab, &hosts);

    // nothing is changed by a dry run, not even what it needs for itself
    let (code, planned, said) = desk.apply(&file, &["--dry-run"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(planned["hosts"].as_array().expect("rows").iter().all(|row| row["result"] == "planned"), "{planned:#}");
    assert!(!third.run(&["test", "-e", "/usr/local/bin/junioadm"]).await.expect("runs").success());

    cut_first_transfer(third).await;
    let (code, cut, said) = desk.apply(&file, &[]).await;
    assert_eq!(code, 5, "{cut:#}\n{said}");
    assert_eq!(row(&cut, first)["result"], "initialized", "{cut:#}");
    assert_eq!(row(&cut, second)["result"], "joined", "{cut:#}");
    assert_eq!(row(&cut, third)["result"], "failed", "{cut:#}");
    assert_eq!(row(&cut, third)["error"]["code"], "JUNIO-SSH-LOST", "{cut:#}");
    let mode = std::fs::metadata(desk.kubeconfig()).expect("the kubeconfig").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let user = User::on(first);
    let marks = user
        .types(&format!("kubectl get node {} -o jsonpath='{{.metadata.labels.zone}} {{.spec.taints}}'", second.name()))
        .await;
    assert!(marks.starts_with("a ") && marks.contains("gpu"), "{marks}");

    let arrived = third.check(&["stat", "-c", "%s", "/usr/local/bin/junioadm.part"]).await.expect("it stayed");
    let arrived: u64 = arrived.trim().parse().expect("a size");
    assert!(arrived > 0);
    let (code, rest, said) = desk.apply(&file, &[]).await;
    assert_eq!(code, 0, "{rest:#}\n{said}");
    assert_eq!(row(&rest, first)["result"], "already", "{rest:#}");
    assert_eq!(row(&rest, second)["result"], "already", "{rest:#}");
    assert_eq!(row(&rest, third)["result"], "joined", "{rest:#}");
    assert_eq!(row(&rest, third)["nodeName"], "third");
    // what was there of junioadm was not sent again; all else is what the other worker got
    let bytes = |report: &serde_json::Value, host| row(report, host)["bytesSent"].as_u64().expect("a number");
    assert!(bytes(&rest, third) < bytes(&cut, second) - arrived + 1_000_000, "{arrived} were there: {rest:#}");
    user.types("kubectl wait --for=condition=Ready node --all --timeout=30s").await;
    let tokens = user.types("junioadm token list").await;
    assert!(!tokens.contains(" alone"), "each host's token goes with its join:\n{tokens}");

    // other labels, and a host whose port is closed
    let closed = [
        control_plane.clone(),
        worker.replace("zone: a", "zone: b").replace(", taints: [{key: gpu, effect: NoSchedule}]", ""),
        format!("{{ssh: '{}:1', nodeName: third}}", target(third)),
    ];
    let (code, closed, said) = desk.apply(&desk.cluster(&lab, &closed), &[]).await;
    assert_eq!(code, 5, "{closed:#}\n{said}");
    assert_eq!(row(&closed, third)["error"]["code"], "JUNIO-SSH-REFUSED", "{closed:#}");
    assert_eq!(row(&closed, second)["result"], "already");
    assert!(bytes(&closed, second) < 100_000 && bytes(&closed, first) < 100_000, "{closed:#}");
    let marks = user
        .types(&format!("kubectl get node {} -o jsonpath='{{.metadata.labels.zone}} {{.spec.taints}}'", second.name()))
        .await;
    assert_eq!(marks.trim(), "b", "a taint that left the file left the node");

    leaves(&lab, &desk, &[control_plane, worker], &user).await;
}

/// The third host leaves the file: it is named, and with `--prune` it goes.
async fn leaves(lab: &TestLab, desk: &Desk, hosts: &[String], user: &User<'_>) {
    let third = lab.at(3);
    let deployment = "kubectl create deployment stays --image=registry.k8s.io/pause:3.10.2 && \
                      kubectl patch deployment stays -p '{\"spec\":{\"template\":{\"spec\":{\"nodeName\":\"third\",\
                      \"terminationGracePeriodSeconds\":0,\"containers\":[{\"name\":\"pause\",\"imagePullPolicy\":\"Never\"}]}}}}' && \
                      kubectl rollout status deployment stays --timeout=60s && kubectl delete deployment stays --cascade=orphan && \
                      kubectl delete replicaset -l app=stays --cascade=orphan";
    user.types(deployment).await;
    let file = desk.cluster(lab, hosts);
    let (code, named, said) = desk.apply(&file, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(named["notInFile"], serde_json::json!(["third"]));
    user.types("kubectl get node third").await;

    let (code, pruned, said) = desk.apply(&file, &["--prune", "--drain-timeout", "60s"]).await;
    assert_eq!(code, 0, "{pruned:#}\n{said}");
    assert_eq!(row(&pruned, third)["result"], "removed", "{pruned:#}");
    // those of its DaemonSets are the cluster's to collect
    let left = user.types("kubectl get nodes -o name; kubectl get pods -o name").await;
    assert!(!left.contains("third") && !left.contains("stays"), "{left}");
    for path in ["/etc/kubernetes", "/var/lib/kubelet", "/usr/local/bin/junioadm", "/var/lib/junioadm"] {
        assert!(!third.run(&["test", "-e", path]).await.expect("runs").success(), "{path} is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_of_another_cluster_is_not_written_over() {
    let lab = TestLab::plain("othercfg", Suite::Bookworm, 1).await;
    let desk = Desk::new();
    let file = desk.cluster(&lab, &[format!("{{ssh: {}, role: control-plane}}", target(lab.at(1)))]);
    let foreign = "apiVersion: v1\nkind: Config\nclusters:\n- {name: x, cluster: {server: 'https://192.0.2.1:6443'}}\n";
    std::fs::write(desk.kubeconfig(), foreign).expect("written");
    let (code, refused, _) = desk.apply(&file, &[]).await;
    assert_eq!(code, 5);
    assert_eq!(row(&refused, lab.at(1))["error"]["code"], "JUNIO-FLEET-KUBECONFIG", "{refused:#}");
    assert_eq!(std::fs::read_to_string(desk.kubeconfig()).expect("there"), foreign);
    let (path, text) = (file.display().to_string(), std::fs::read_to_string(&file).expect("there"));
    std::fs::write(
        &file,
        text.replace("role: control-plane}", "role: control-plane}\n    - {ssh: 192.0.2.9}\n    - {ssh: x@192.0.2.9}"),
    )
    .expect("written");
    let (code, _, said) = report(junioadm(&["apply", "-f", &path]).await);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("in spec.hosts[1] already, line 13") && said.contains(":14:"), "{said}");
}
