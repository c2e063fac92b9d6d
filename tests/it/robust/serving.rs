//! The serving certificate is the cluster's to sign and somebody's to approve, again and again.

use std::time::Duration;

use serde_json::json;

use super::node::Node;
use crate::support::wait_until;

const PENDING: &str = "kubectl get csr -o jsonpath='{range .items[?(@.spec.signerName==\"kubernetes.io/kubelet-serving\")]}\
                       {.metadata.name} {.status.conditions[*].type}{\"\\n\"}{end}'";
const SERVED: &str = "openssl s_client -connect 127.0.0.1:10250 </dev/null 2>/dev/null \
                      | openssl x509 -noout -issuer -serial -ext subjectAltName,extendedKeyUsage";

/// The request that nobody has decided about yet.
async fn pending(node: &Node) -> String {
    wait_until("a request for a serving certificate", Duration::from_secs(75), async || {
        let list = node.user().tries(PENDING).await?;
        let open = list.lines().map(str::trim).find(|line| !line.is_empty() && !line.contains(' '));
        open.map(str::to_owned).ok_or(list)
    })
    .await
}

#[tokio::test]
async fn a_serving_certificate_is_approved_used_and_renewed() {
    let node = Node::up_with(
        "serving",
        "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
         controllerManager: {extraArgs: [{name: cluster-signing-duration, value: 1m}]}\n",
    )
    .await;
    let (host, user) = (node.host(), node.user());
    node.runs("says", "echo here; exec busybox sleep 36000", json!({})).await;
    node.is_ready("says").await;
    assert_eq!(user.types("kubectl logs says").await.trim(), "here");
    node.configures("serverTLSBootstrap: true\nevictionHard: {memory.available: 100Mi}\n").await;
    let first = pending(&node).await;
    let refused = user.tries("kubectl logs says").await.expect_err("there is no certificate yet");
    assert!(refused.contains("tls"), "{refused}");

    user.types(&format!("kubectl certificate approve {first}")).await;
    user.sees("the log over the approved certificate", "kubectl logs says", |text| text.trim() == "here").await;
    let served = host.check(&["sh", "-c", SERVED]).await.expect("a certificate");
    for part in ["issuer=CN = kubernetes", &format!("DNS:{}", host.name()), &format!("IP Address:{}", host.address())] {
        assert!(served.replace("CN=", "CN = ").contains(part), "no {part} in\n{served}");
    }
    assert!(served.contains("TLS Web Server Authentication"), "{served}");
    host.check(&["test", "-L", "/var/lib/kubelet/pki/kubelet-server-current.pem"]).await.expect("kept");

    // a restart uses it again
    host.check(&["systemctl", "restart", "junio-kubelet"]).await.expect("restarted");
    user.sees("the log after the restart", "kubectl logs says", |text| text.trim() == "here").await;

    // renewed before its minute is over
    let second = pending(&node).await;
    assert_ne!(first, second);
    user.types(&format!("kubectl certificate approve {second}")).await;
    wait_until("the new certificate to be served", Duration::from_secs(20), async || {
        let now = host.check(&["sh", "-c", SERVED]).await.map_err(|error| error.to_string())?;
        if now.contains("CN") && now != served { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(user.types("kubectl logs says").await.trim(), "here");
}
