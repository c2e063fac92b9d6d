//! The client certificate is renewed by the live signer while the worker's pods run.

use std::time::{Duration, SystemTime};

use junio_lab::{LabHost, Suite};
use junio_pki::parsed::ParsedCertificate;

use super::{init_with, join_command};
use crate::scenarios::user::User;
use crate::support::{TestLab, wait_until};

const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// The certificate in force: the name of its file, and what it says.
async fn current(host: &LabHost) -> (String, ParsedCertificate) {
    let name = host.check(&["readlink", CURRENT]).await.expect("a link");
    let text = host.read_file(&name).await.expect("the file that the link names");
    let text = String::from_utf8(text).expect("PEM");
    (name, ParsedCertificate::from_pem(&text, CURRENT).expect("a certificate"))
}

async fn newer_than(host: &LabHost, old: &str) -> (String, ParsedCertificate) {
    wait_until(&format!("a newer file than {old}"), Duration::from_secs(75), async || {
        let (name, certificate) = current(host).await;
        if name.as_str() > old { Ok((name, certificate)) } else { Err(name) }
    })
    .await
}

// (The disk is the machine's, and how full it is none of this test's business.)
#[tokio::test]
async fn certificates_of_a_minute_are_renewed_and_nothing_restarts() {
    let lab = TestLab::hosts("join-rotation", Suite::Trixie, 2).await;
    let (control_plane, worker) = (lab.at(1), lab.at(2));
    worker.check(&["sh", "-c", "tar -C / -c bin/busybox | docker import - busy:1"]).await.expect("an image");
    init_with(
        control_plane,
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
         controllerManager: {extraArgs: [{name: cluster-signing-duration, value: 1m}]}\n\
         ---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
         imageGCHighThresholdPercent: 100\nevictionHard: {memory.available: 100Mi}\n",
    )
    .await;
    let command = join_command(control_plane).await;
    worker.check(&["sh", "-c", &format!("{command} 2>&1")]).await.expect("join");
    let (first_file, first) = current(worker).await;
    let life = first.not_after.duration_since(SystemTime::now()).expect("it lives");
    assert!(life < Duration::from_secs(60), "the signer heeds its flag: {life:?}");

    let user = User::on(control_plane);
    let node = worker.name();
    let pod = |name: &str| {
        format!(
            "kubectl run {name} --image=busy:1 --image-pull-policy=Never --overrides='{{\"spec\":{{\"nodeName\":\"{node}\",\
             \"terminationGracePeriodSeconds\":1}}}}' --command -- /bin/busybox sh -c 'echo here; exec busybox sleep 3600' \
             && kubectl wait pod {name} --for=condition=Ready --timeout=60s"
        )
    };
    user.types(&pod("before")).await;
    let lives = "docker ps --no-trunc --format '{{.ID}} {{.Names}}' | sort";
    let containers = worker.check(&["sh", "-c", lives]).await.expect("containers");
    let ready = format!(
        "kubectl get node {node} -o jsonpath='{{range .status.conditions[?(@.type==\"Ready\")]}}\
         {{.status}} {{.lastTransitionTime}}{{end}}'"
    );
    let was_ready = user.types(&ready).await;
    assert!(was_ready.starts_with("True "), "{was_ready}");

    let (second_file, _) = newer_than(worker, &first_file).await;
    let (_, third) = newer_than(worker, &second_file).await;
    assert!(third.not_after > SystemTime::now() && third.common_name == format!("system:node:{node}"), "{third:?}");
    wait_until("the first certificate to be over", Duration::from_secs(60), async || {
        first.not_after.elapsed().map(drop).map_err(|error| format!("{:?} left", error.duration()))
    })
    .await;

    // all that the kubelet says from now on is said with a later certificate
    let lease = format!("kubectl -n kube-node-lease get lease {node} -o jsonpath='{{.spec.renewTime}}'");
    let renewed = user.types(&lease).await;
    user.sees("the lease to be renewed", &lease, |text| text > renewed.as_str()).await;
    user.types(&pod("after")).await;
    assert_eq!(user.types("kubectl logs before").await.trim(), "here");
    user.types("kubectl delete pod after --timeout=60s").await;
    assert_eq!(user.types(&ready).await, was_ready, "Ready all the time");
    let later = worker.check(&["sh", "-c", lives]).await.expect("containers");
    assert_eq!(later, containers, "the same containers");
    let restarts = "kubectl get pod before -o jsonpath='{.status.containerStatuses[0].restartCount}'";
    assert_eq!(user.types(restarts).await, "0");

    // one request for each file: none was in vain
    let files =
        worker.check(&["sh", "-c", "ls /var/lib/kubelet/pki/kubelet-client-2*.pem | wc -l"]).await.expect("files");
    let requests =
        format!("kubectl get csr -o jsonpath='{{.items[*].spec.username}}' | tr ' ' '\\n' | grep -c :{node}$");
    let files: usize = files.trim().parse().expect("a number");
    let requests: usize = user.types(&requests).await.trim().parse().expect("a number");
    assert!(files.abs_diff(requests + 1) <= 1, "{files} files, {requests} requests besides the first");
    assert!((3..=5).contains(&files), "no more than due: {files}");
}
