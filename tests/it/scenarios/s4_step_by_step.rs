//! S4: the step-by-step lab of someone who comes from kubeadm.

use junio_lab::Suite;

use super::user::{AGNHOST, User};
use crate::support::TestLab;

/// kubeadm's sections, in its order.
const SECTIONS: [&str; 11] = [
    "[preflight]",
    "[certs]",
    "[kubeconfig]",
    "[etcd]",
    "[control-plane]",
    "[kubelet-start]",
    "[wait-control-plane]",
    "[upload-config]",
    "[mark-control-plane]",
    "[bootstrap-token]",
    "[addons]",
];

#[tokio::test]
async fn s4_step_by_step() {
    let lab = TestLab::hosts("s4", Suite::Trixie, 1).await;
    let user = User::on(lab.at(1));
    let address = lab.at(1).address();
    user.loads_test_images().await;

    assert!(user.types("junioadm version").await.contains("v1.36.3"));
    let help = user.types("junioadm --help").await;
    assert!(help.contains("junioadm init") && help.contains("junioadm join") || help.contains("init"), "{help}");

    // init without a network: sections in kubeadm's order
    let line = format!(
        "junioadm init --apiserver-advertise-address={address} --pod-network-cidr=10.244.0.0/16 --skip-phases=addon/flannel 2>&1"
    );
    let output = user.types(&line).await;
    let mut rest = output.as_str();
    for section in SECTIONS {
        let at = rest.find(section).unwrap_or_else(|| panic!("{section} is missing or out of order in\n{output}"));
        rest = &rest[at..];
    }
    assert!(output.contains("--discovery-token-ca-cert-hash"), "the join command is missing in\n{output}");

    // what it left on the host
    assert_eq!(user.types("systemctl is-active junio-kubelet").await, "active");
    assert!(
        user.types("systemctl cat junio-kubelet; cat /var/lib/kubelet/config.yaml")
            .await
            .contains("KubeletConfiguration")
    );
    assert_eq!(
        user.types("ls /etc/kubernetes/manifests").await,
        "etcd.yaml\nkube-apiserver.yaml\nkube-controller-manager.yaml\nkube-scheduler.yaml"
    );
    let pki = user.types("cd /etc/kubernetes/pki && find . -type f | sort | tr '\\n' ' '").await;
    for file in [
        "./apiserver.crt",
        "./apiserver-etcd-client.key",
        "./ca.key",
        "./etcd/peer.crt",
        "./front-proxy-client.crt",
        "./sa.pub",
    ] {
        assert!(pki.contains(file), "{file} is missing in {pki}");
    }
    let view = user.types("kubectl config view").await;
    assert!(view.contains("DATA+OMITTED") || view.contains("REDACTED"), "keys are shown: {view}");
    assert_eq!(user.types("kubectl config current-context").await, "kubernetes-admin@kubernetes");

    // without a network the node is not ready and says why; DNS waits
    let reason = "kubectl get node -o jsonpath='{.items[0].status.conditions[?(@.type==\"Ready\")]}'";
    let condition = user.sees("the node's Ready condition", reason, |text| text.contains("\"status\":\"False\"")).await;
    assert!(condition.contains("network"), "the reason does not name the network: {condition}");
    let dns = "kubectl -n kube-system get pods -l k8s-app=kube-dns --no-headers";
    user.sees("CoreDNS to wait", dns, |text| text.matches("Pending").count() == 2).await;

    // the network comes later and heals both
    user.types("junioadm init phase addon flannel 2>&1").await;
    user.types("kubectl wait node --all --for=condition=Ready --timeout=90s").await;
    user.types("kubectl -n kube-system rollout status deployment coredns --timeout=90s").await;
    let taints = user.types("kubectl get nodes -o jsonpath='{.items[0].spec.taints}'").await;
    assert!(taints.contains("node-role.kubernetes.io/control-plane"), "{taints}");
    user.removes_taints().await;
    user.sees("events", "kubectl -n kube-system get events", |text| text.contains("Started")).await;
    assert!(user.types("kubectl -n kube-system logs -l k8s-app=kube-dns").await.contains("CoreDNS"));

    // a bare pod, an interactive client that survives its terminal, a deployment, a service
    user.types(&format!("kubectl run bare --image={AGNHOST} -- netexec --http-port=8080")).await;
    // `timeout` is the terminal that is closed; the input stays open longer, or `script` would type ^D at its end
    let first = user
        .types(&format!(
            "script -qec 'timeout --foreground 10 kubectl run client --image={AGNHOST} -it --leave-stdin-open --restart=Never \
             --command -- bash' /dev/null < <(sleep 5; echo 'echo first-$((40+2))'; sleep 20) || true"
        ))
        .await;
    assert!(first.contains("first-42"), "the terminal does not answer: {first}");
    user.types("kubectl wait pod client bare --for=condition=Ready --timeout=60s").await;
    let again = user
        .types(
            "script -qec 'timeout --foreground 6 kubectl attach -it client' /dev/null \
             < <(sleep 3; echo 'echo again-$((40+2))'; sleep 20) || true",
        )
        .await;
    assert!(again.contains("again-42"), "the re-attached terminal does not answer: {again}");

    user.types(&format!(
        "kubectl create deployment web --image={AGNHOST} --replicas=2 -- /agnhost netexec --http-port=8080"
    ))
    .await;
    user.types("kubectl label deployment web tier=front && kubectl rollout status deployment web --timeout=90s").await;
    assert!(user.types("kubectl get replicaset -l app=web --no-headers").await.contains("web-"));
    let pod = user.types("kubectl get pod -l app=web -o jsonpath='{.items[0].status.podIP}'").await;
    let name = user.types(&format!("kubectl exec client -- curl -sS http://{pod}:8080/hostname")).await;
    assert!(name.starts_with("web-"), "{name}");
    user.types("kubectl expose deployment web --port=80 --target-port=8080").await;
    let slice =
        "kubectl get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints[*].addresses}'";
    user.sees("two endpoints", slice, |text| text.split_whitespace().count() == 2).await;
    let service = user.types("kubectl get service web -o jsonpath='{.spec.clusterIP}'").await;
    for host in [service.as_str(), "web"] {
        let line = format!("kubectl exec client -- curl -sS -m 5 http://{host}/hostname");
        user.sees("the service", &line, |text| text.starts_with("web-")).await;
    }

    // a second init finds everything done and restarts nothing
    let containers = user.types("docker ps -q --no-trunc | sort").await;
    let again = user
        .types(&format!("junioadm init --apiserver-advertise-address={address} --pod-network-cidr=10.244.0.0/16 2>&1"))
        .await;
    assert_eq!(user.types("docker ps -q --no-trunc | sort").await, containers, "{again}");

    // restarting the kubelet restarts no container
    user.types("systemctl restart junio-kubelet").await;
    user.types("kubectl wait node --all --for=condition=Ready --timeout=60s").await;
    user.types("kubectl delete pod bare --wait --timeout=60s").await;
    let left = user.types("docker ps -q --no-trunc | sort").await;
    assert!(left.lines().all(|id| containers.contains(id)), "containers were restarted:\n{containers}\n{left}");
}
