//! A node that runs short of disk: conditions, evictions in order, refusals, and the way back.

use std::time::Duration;

use serde_json::json;

use super::node::{Node, import_busybox};

const SLEEPS: &str = "exec busybox sleep 36000";

fn writes(megabytes: u32) -> String {
    format!("busybox dd if=/dev/zero of=/d/file bs=1048576 count={megabytes} 2>/dev/null; {SLEEPS}")
}

/// A directory on disk, with or without a limit.
fn volume(limit: Option<&str>) -> serde_json::Value {
    json!({
        "volumes": [{ "name": "d", "emptyDir": { "sizeLimit": limit } }],
        "containers": [{ "volumeMounts": [{ "name": "d", "mountPath": "/d" }] }],
    })
}

#[tokio::test]
async fn a_node_short_of_disk_evicts_in_order_refuses_and_recovers() {
    let node = Node::up("evict").await;
    let (host, user) = (node.host(), node.user());
    node.runs("greedy", &writes(3), volume(Some("1Mi"))).await;
    node.runs("small", SLEEPS, volume(None)).await;
    node.runs("large", &writes(64), volume(None)).await;
    node.is_ready("small").await;
    node.is_ready("large").await;

    // a limit of a pod's own (texts end with a space, which the shell's output loses here)
    user.sees("the greedy pod to be evicted", "kubectl get pod greedy -o jsonpath='{.status.reason}'", |text| {
        text == "Evicted"
    })
    .await;
    assert_eq!(
        node.pod("greedy", ".status.message").await,
        "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\"."
    );
    let system = "kubectl -n kube-system get pods -o jsonpath='{range .items[*]}{.metadata.uid} \
                  {.status.containerStatuses[*].containerID}{\"\\n\"}{end}' | sort";
    let critical = user.types(system).await;

    // more than there is: every look finds it crossed
    let free = host.check(&["sh", "-c", "df --output=size -B1 /var/lib/kubelet | tail -n 1"]).await.expect("a size");
    node.configures(&format!(
        "evictionHard: {{nodefs.available: \"{}\"}}\nevictionPressureTransitionPeriod: 1s\n",
        free.trim()
    ))
    .await;
    let told = node.waits_for_condition("DiskPressure", "True", Duration::from_secs(30)).await;
    assert_eq!(told, "True KubeletHasDiskPressure kubelet has disk pressure");
    for name in ["large", "small"] {
        let line = format!("kubectl get pod {name} -o jsonpath='{{.status.phase}} {{.status.reason}}'");
        user.sees("the pod to be evicted", &line, |text| text == "Failed Evicted").await;
        let message = node.pod(name, ".status.message").await;
        assert!(
            message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: "),
            "{message}"
        );
        let condition = ".status.conditions[?(@.type==\"DisruptionTarget\")]";
        let reason = node.pod(name, &format!("{condition}.reason")).await;
        assert_eq!(
            (node.pod(name, &format!("{condition}.status")).await.as_str(), reason.as_str()),
            ("True", "TerminationByKubelet")
        );
    }
    let message = node.pod("large", ".status.message").await;
    assert!(message.contains("Container c was using ") && message.contains("request is 0"), "{message}");
    let ended = async |name: &str| node.pod(name, ".status.containerStatuses[0].state.terminated.finishedAt").await;
    let (large, small) = (ended("large").await, ended("small").await);
    assert!(large < small, "the one that uses more is ended first, and the next only then: {large}, {small}");
    let events = user.types("kubectl get events -o jsonpath='{.items[*].reason}'").await;
    assert!(events.contains("Evicted") && events.contains("EvictionThresholdMet"), "{events}");

    // a new one is refused, critical ones live on
    node.runs("refused", SLEEPS, json!({})).await;
    user.sees("the new pod to be refused", "kubectl get pod refused -o jsonpath='{.status.reason}'", |text| {
        text == "Evicted"
    })
    .await;
    assert_eq!(
        node.pod("refused", ".status.message").await,
        "Pod was rejected: The node had condition: [DiskPressure]."
    );
    assert_eq!(user.types(system).await, critical, "no critical pod was touched");

    // back
    node.configures("evictionHard: {memory.available: 100Mi}\n").await;
    node.waits_for_condition("DiskPressure", "False", Duration::from_secs(30)).await;
    import_busybox(host).await;
    user.types("kubectl delete pod greedy small large refused --timeout=60s").await;
    node.runs("again", SLEEPS, json!({})).await;
    node.is_ready("again").await;
    user.types("kubectl delete pod again --now --timeout=60s").await;
    node.has_no_leftovers().await;
}
