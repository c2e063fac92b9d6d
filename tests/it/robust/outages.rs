//! The API server or the engine is away for a while.

use std::time::Duration;

use serde_json::json;

use super::node::Node;
use crate::support::wait_until;

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

fn seconds(name: &str, short: u64) -> Duration {
    Duration::from_secs(std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(short))
}

/// Containers of `running()` whose pod is not one of these.
fn without(running: &str, pods: &[&str]) -> String {
    running.lines().filter(|line| !pods.iter().any(|pod| line.starts_with(pod))).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn pods_do_not_care_whether_there_is_an_api_server() {
    let node = Node::up("noapi").await;
    let (host, user) = (node.host(), node.user());
    node.runs("stays", "exec busybox sleep 36000", json!({})).await;
    node.runs("dies", "while ! [ -e /die ]; do busybox sleep 0.2; done; exit 1", json!({})).await;
    node.is_ready("stays").await;
    node.is_ready("dies").await;
    let before = node.running().await;

    host.check(&["mv", MANIFEST, "/root/"]).await.expect("the manifest is moved");
    wait_until("the API server to end", Duration::from_secs(60), async || match user.tries("kubectl version").await {
        Ok(text) => Err(text),
        Err(_) => Ok(()),
    })
    .await;
    // what restarts without it is told later
    let kill = "docker exec $(docker ps -q --filter label=io.kubernetes.pod.name=dies \
                --filter label=io.kubernetes.container.name=c) /bin/busybox touch /die";
    host.check(&["sh", "-c", kill]).await.expect("the container ends");
    let away = seconds("JUNIO_SOAK_OUTAGE", 60);
    tokio::time::sleep(away).await;
    let meanwhile = node.running().await;
    // those two end by themselves when they lose their lease
    let others = ["dies/", "kube-apiserver-", "kube-controller-manager-", "kube-scheduler-"];
    assert_eq!(without(&meanwhile, &others), without(&before, &others), "nothing restarts for want of an API server");
    assert!(meanwhile.contains("dies/c "), "its kubelet starts it again:\n{meanwhile}");

    host.check(&["mv", "/root/kube-apiserver.yaml", MANIFEST]).await.expect("the manifest is back");
    let line = "kubectl get pod dies -o jsonpath='{.status.containerStatuses[0].restartCount}'";
    user.sees("the restart to be told", line, |text| text.parse::<u32>().is_ok_and(|count| count >= 1)).await;
    node.waits_for_condition("Ready", "True", Duration::from_secs(60)).await;
    assert_eq!(node.pod("stays", ".status.containerStatuses[0].restartCount").await, "0");
    // and new pods run
    node.runs("later", "exec busybox sleep 36000", json!({})).await;
    node.is_ready("later").await;
    user.types("kubectl delete pod stays dies later --now --timeout=60s").await;
    node.has_no_leftovers().await;
}

#[tokio::test]
async fn an_engine_that_hangs_makes_the_node_not_ready_and_comes_back() {
    let node = Node::up("hangs").await;
    let (host, user) = (node.host(), node.user());
    node.runs("stays", "exec busybox sleep 36000", json!({})).await;
    node.is_ready("stays").await;
    let before = node.running().await;
    let kubelet = host.check(&["pgrep", "-x", "junio-kubelet"]).await.expect("a kubelet");

    host.check(&["sh", "-c", "kill -STOP $(pidof dockerd)"]).await.expect("stopped");
    let told = node.waits_for_condition("Ready", "False", Duration::from_secs(100)).await;
    assert!(told.contains("KubeletNotReady") && told.contains("container runtime is down"), "{told}");
    // a pod that comes meanwhile waits
    node.runs("waits", "exec busybox sleep 36000", json!({})).await;
    let healthz = host.check(&["curl", "-sf", "http://127.0.0.1:10248/healthz"]).await.expect("it is healthy");
    assert_eq!(healthz, "ok");
    host.check(&["sh", "-c", "kill -CONT $(pidof dockerd)"]).await.expect("goes on");
    node.waits_for_condition("Ready", "True", Duration::from_secs(60)).await;
    node.is_ready("waits").await;
    assert_eq!(host.check(&["pgrep", "-x", "junio-kubelet"]).await.expect("a kubelet"), kubelet, "the same process");
    assert_eq!(without(&node.running().await, &["waits/"]), before, "the same containers");
    user.types("kubectl delete pod stays waits --now --timeout=60s").await;
    node.has_no_leftovers().await;
}

#[tokio::test]
async fn an_engine_that_restarts_loses_no_pod() {
    let node = Node::up("restarts").await;
    let (host, user) = (node.host(), node.user());
    for name in ["one", "two"] {
        node.runs(name, "exec busybox sleep 36000", json!({})).await;
        node.is_ready(name).await;
    }
    let before = user.types("kubectl get pods -A -o jsonpath='{.items[*].metadata.uid}'").await;
    host.check(&["systemctl", "restart", "docker"]).await.expect("the engine restarts");
    node.waits_for_condition("Ready", "True", Duration::from_secs(120)).await;
    let ready = "kubectl get pods -A --no-headers | awk '{ split($3, n, \"/\"); if (n[1] != n[2] || $4 != \"Running\") print }'";
    wait_until("all pods to run again", Duration::from_secs(120), async || match user.tries(ready).await {
        Ok(text) if text.trim().is_empty() => Ok(()),
        Ok(text) | Err(text) => Err(text),
    })
    .await;
    let mut uids: [Vec<&str>; 2] = [before.split_whitespace().collect(), Vec::new()];
    let after = user.types("kubectl get pods -A -o jsonpath='{.items[*].metadata.uid}'").await;
    uids[1] = after.split_whitespace().collect();
    uids.iter_mut().for_each(|list| list.sort_unstable());
    assert_eq!(uids[0], uids[1], "the same pods");
    for name in ["one", "two"] {
        let state = node.pod(name, ".status.containerStatuses[0].restartCount").await;
        assert_eq!(state, "1", "{name} was restarted once");
    }
    user.types("kubectl delete pod one two --now --timeout=60s").await;
    node.has_no_leftovers().await;
}
