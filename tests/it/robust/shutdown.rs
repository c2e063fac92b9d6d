//! A host that is shut down ends its pods in the order of their priority and tells the API server.

use std::time::Duration;

use serde_json::json;

use super::node::Node;
use crate::support::wait_until;

/// Says when it is asked to end, takes two seconds for it, and says when it has.
fn farewell(name: &str) -> String {
    format!(
        "trap 'echo {name} asked >> /h/order; busybox sleep 2; echo {name} ended >> /h/order; exit 0' TERM; \
         while true; do busybox sleep 0.1; done"
    )
}

fn on_host(priority_class: Option<&str>) -> serde_json::Value {
    json!({
        "priorityClassName": priority_class,
        "volumes": [{ "name": "h", "hostPath": { "path": "/root/shutdown", "type": "DirectoryOrCreate" } }],
        "containers": [{ "volumeMounts": [{ "name": "h", "mountPath": "/h" }] }],
    })
}

#[tokio::test]
async fn pods_end_in_order_before_the_host_does() {
    let node = Node::up("down").await;
    let (host, user) = (node.host(), node.user());
    // lab hosts do without it
    let unmask =
        "rm /etc/systemd/system/systemd-logind.service; systemctl daemon-reload; systemctl start systemd-logind";
    host.check(&["sh", "-c", unmask]).await.expect("logind runs");
    user.types("kubectl create priorityclass high --value=1000").await;
    node.configures(
        "shutdownGracePeriodByPodPriority:\n- {priority: 0, shutdownGracePeriodSeconds: 10}\n\
         - {priority: 1000, shutdownGracePeriodSeconds: 10}\n- {priority: 2000000000, shutdownGracePeriodSeconds: 10}\n",
    )
    .await;
    node.waits_for_condition("Ready", "True", Duration::from_secs(30)).await;
    node.runs("low", &farewell("low"), on_host(None)).await;
    node.runs("high", &farewell("high"), on_host(Some("high"))).await;
    node.is_ready("low").await;
    node.is_ready("high").await;
    let locks =
        "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager ListInhibitors";
    wait_until("the lock", Duration::from_secs(30), async || {
        let list = host.check(&["sh", "-c", locks]).await.map_err(|error| error.to_string())?;
        if list.contains("kubelet") { Ok(()) } else { Err(list) }
    })
    .await;

    // asks logind, as `systemctl poweroff` does
    let down =
        "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager PowerOff b false";
    host.check(&["sh", "-c", down]).await.expect("logind shuts down");
    let told = node.waits_for_condition("Ready", "False", Duration::from_secs(10)).await;
    assert!(told.contains("node is shutting down"), "{told}");
    wait_until("the host to be down", Duration::from_secs(90), async || match host.shell("true").await {
        Ok(output) if output.success() => Err("it answers".to_owned()),
        _ => Ok(()),
    })
    .await;

    host.start().await.expect("the host starts again");
    wait_until("the order that was written", Duration::from_secs(60), async || {
        let order = host.check(&["cat", "/root/shutdown/order"]).await.map_err(|error| error.to_string())?;
        if order.lines().collect::<Vec<_>>() == ["low asked", "low ended", "high asked", "high ended"] {
            Ok(())
        } else {
            Err(order)
        }
    })
    .await;
    node.waits_for_condition("Ready", "True", Duration::from_secs(120)).await;
    for name in ["low", "high"] {
        assert_eq!(node.pod(name, ".status.phase").await, "Failed");
        assert_eq!(node.pod(name, ".status.reason").await, "Terminated");
        assert_eq!(
            node.pod(name, ".status.message").await,
            "Pod was terminated in response to imminent node shutdown."
        );
    }
}
