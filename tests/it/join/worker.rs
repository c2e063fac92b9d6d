//! A worker joins, its pods reach those of the other host, it joins again, and leaves without a trace.

use junio_lab::{LabHost, Suite};

use super::{argument, init, join_command};
use crate::scenarios::user::User;
use crate::support::{Snapshot, TestLab};

/// What outlives a reset for a reason (as in `init/reset.rs`).
fn expected(fact: &str) -> bool {
    ["/var/log/junioadm", "/run/junioadm", "/var/log/journal", "/run/systemd", "/var/lib/systemd"]
        .iter()
        .any(|path| fact.contains(path))
        || fact.starts_with("process ")
        || matches!(fact, "iptables *mangle" | "nft table ip mangle" | "iptables *mangle6" | "nft table ip6 mangle")
        || fact.ends_with(" /run/xtables.lock")
        || fact.ends_with(" /usr/lib/modules")
        || fact.contains(" /run/docker/netns/default ")
}

/// A pod on a host, not by the scheduler: it answers `/cgi-bin/who` with the address of the caller.
async fn server(user: &User<'_>, name: &str, node: &str) {
    let script = "mkdir -p /www/cgi-bin; printf '#!/bin/busybox sh\\necho Content-Type: text/plain; echo; echo $REMOTE_ADDR\\n' \
                  >/www/cgi-bin/who; busybox chmod 755 /www/cgi-bin/who; exec busybox httpd -f -p 8080 -h /www";
    let script = script.replace("mkdir", "busybox mkdir");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0, "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "web", "image": "busy:1", "imagePullPolicy": "Never",
                "command": ["/bin/busybox", "sh", "-c", script],
                "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
            }],
        },
    });
    user.types(&format!("kubectl apply -f - <<'POD'\n{pod}\nPOD")).await;
    user.types(&format!("kubectl wait pod {name} --for=condition=Ready --timeout=60s")).await;
}

/// A pod asks a server who it is. (`wget -T` of Debian 12's static busybox ends with a segmentation fault.)
fn asks(from: &str, host: &str, port: u16) -> String {
    let request = r"GET /cgi-bin/who HTTP/1.0\r\n\r\n";
    let script = format!("printf '{request}' | /bin/busybox nc -w 5 {host} {port}");
    format!("kubectl exec {from} -- /bin/busybox sh -c \"{script}\"")
}

/// The address in what the server answers, behind its headers; busybox writes it as IPv6.
fn caller(answer: &str) -> &str {
    let address = answer.trim().lines().last().unwrap_or_default();
    address.trim().trim_start_matches("[::ffff:").trim_end_matches(']')
}

async fn import_busybox(host: &LabHost) {
    host.check(&["sh", "-c", "tar -C / -c bin/busybox | docker import - busy:1"]).await.expect("an image");
}

async fn a_worker_joins_and_leaves(purpose: &str, suite: Suite) {
    let lab = TestLab::hosts(purpose, suite, 2).await;
    let (control_plane, worker) = (lab.at(1), lab.at(2));
    import_busybox(worker).await;
    let before = Snapshot::of(worker).await;
    init(control_plane).await;
    import_busybox(control_plane).await;
    let command = join_command(control_plane).await;
    let report = worker.check(&["sh", "-c", &format!("{command} -o json")]).await.expect("join");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["ready"], &report["already"]), (&true.into(), &false.into()), "{report}");

    let user = User::on(control_plane);
    let nodes = user.types("kubectl get nodes --no-headers").await;
    assert_eq!(nodes.matches(" Ready ").count(), 2, "{nodes}");
    let files = worker.check(&["sh", "-c", "cd /etc/kubernetes; find . -type f | sort"]).await.expect("files");
    assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["./kubelet.conf", "./pki/ca.crt"], "as with kubeadm");
    let images = worker.check(&["docker", "images", "--format", "{{.Repository}}"]).await.expect("images");
    assert!(!images.contains("kube-apiserver") && !images.contains("etcd"), "a worker gets what it needs:\n{images}");

    // pods on different hosts: no address translation, services, names
    server(&user, "near", control_plane.name()).await;
    server(&user, "far", worker.name()).await;
    let address = async |pod: &str| user.types(&format!("kubectl get pod {pod} -o jsonpath='{{.status.podIP}}'")).await;
    for (from, to) in [("near", "far"), ("far", "near")] {
        let (own, other) = (address(from).await, address(to).await);
        assert_eq!(caller(&user.types(&asks(from, &other, 8080)).await), own, "{to} sees {from} under its own address");
        user.types(&format!("kubectl expose pod {to} --port=80 --target-port=8080")).await;
        let service = user.types(&format!("kubectl get service {to} -o jsonpath='{{.spec.clusterIP}}'")).await;
        for host in [service.as_str(), to, &format!("{to}.default.svc.cluster.local")] {
            user.sees("the service from the other host", &asks(from, host, 80), |text| caller(text) == own).await;
        }
    }
    user.types("kubectl delete pod near far --now; kubectl delete service near far").await;

    // again: the same cluster is fine and quick, another one is not
    let again = worker.check(&["sh", "-c", &format!("{command} 2>&1")]).await.expect("a second join");
    assert!(again.contains("already") && again.contains("nothing had to be done"), "{again}");
    let other =
        command.replace(&argument(&command, "--discovery-token-ca-cert-hash"), &format!("sha256:{}", "00".repeat(32)));
    let text = super::refused(worker, &other, 3).await;
    assert!(text.contains("JUNIO-OTHER-CLUSTER") && text.contains("junioadm reset"), "{text}");
    worker.check(&["systemctl", "stop", "junio-kubelet"]).await.expect("stopped");
    worker.check(&["sh", "-c", &format!("{command} 2>&1")]).await.expect("a join that starts the kubelet again");
    assert_eq!(worker.check(&["systemctl", "is-active", "junio-kubelet"]).await.expect("active"), "active");

    worker.check(&["sh", "-c", "junioadm reset --force 2>&1"]).await.expect("reset");
    before.difference(&Snapshot::of(worker).await).without(expected).assert_empty("after join and reset");
    user.sees("the node to be missed", "kubectl get nodes --no-headers", |text| text.contains("NotReady")).await;

    // it comes back under its old name, killed in the middle the first time
    worker
        .shell(&format!("{command} >/dev/null 2>&1 & sleep 1; kill -9 $!; wait $!; true"))
        .await
        .expect("join starts");
    worker.check(&["sh", "-c", &format!("{command} 2>&1")]).await.expect("a join after a killed one");
    let nodes = user.types("kubectl get nodes --no-headers").await;
    assert_eq!(nodes.matches(" Ready ").count(), 2, "{nodes}");
}

#[tokio::test]
async fn a_worker_joins_and_leaves_on_trixie() {
    a_worker_joins_and_leaves("join-trixie", Suite::Trixie).await;
}

#[tokio::test]
async fn a_worker_joins_and_leaves_on_bookworm() {
    a_worker_joins_and_leaves("join-bookworm", Suite::Bookworm).await;
}
