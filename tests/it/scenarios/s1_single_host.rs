//! S1: one host, one command, and then what a user types.

use junio_lab::Suite;

use super::user::{AGNHOST, NGINX, User, browses};
use crate::support::TestLab;

async fn the_single_host_cluster(purpose: &str, suite: Suite) {
    let lab = TestLab::cluster(purpose, suite).await;
    let user = User::on(lab.at(1));
    user.loads_test_images().await;

    let nodes = user.types("kubectl get nodes --no-headers").await;
    assert!(nodes.contains(" Ready ") && nodes.contains("v1.36.3"), "{nodes}");
    user.removes_taints().await;

    // a bare pod and a deployment behind a NodePort, reached from another machine
    user.types(&format!("kubectl run nginx --image={NGINX} --port=80 && kubectl expose pod nginx")).await;
    user.types(&format!("kubectl create deployment web --image={NGINX} --replicas=2 --port=80")).await;
    user.types("kubectl expose deployment web --port=80 --type=NodePort").await;
    user.types("kubectl rollout status deployment web --timeout=90s").await;
    user.types("kubectl wait pod nginx --for=condition=Ready --timeout=90s").await;
    let port = user.types("kubectl get service web -o jsonpath='{.spec.ports[0].nodePort}'").await;
    let page = browses(lab.at(1).address(), port.parse().expect("a port")).await;
    assert!(page.contains("nginx"), "{page}");

    // names, as a pod sees them
    user.types(&format!("kubectl run shell --image={AGNHOST} --command -- sleep 1000000")).await;
    user.types("kubectl wait pod shell --for=condition=Ready --timeout=90s").await;
    let resolver = user.types("kubectl exec shell -- cat /etc/resolv.conf").await;
    assert!(resolver.contains("search default.svc.cluster.local svc.cluster.local cluster.local"), "{resolver}");
    assert!(resolver.contains("nameserver 10.96.0.10") && resolver.contains("ndots:5"), "{resolver}");
    let address = user.types("kubectl get service web -o jsonpath='{.spec.clusterIP}'").await;
    for name in ["web", "web.default.svc.cluster.local"] {
        let line = format!("kubectl exec shell -- dig +search +short {name}");
        user.sees("the name of a service", &line, |text| text == address).await;
    }
    let expected = "80 web.default.svc.cluster.local.";
    let line = "kubectl patch service web -p '{\"spec\":{\"ports\":[{\"port\":80,\"name\":\"http\"}]}}' >/dev/null; \
                kubectl exec shell -- dig +short SRV _http._tcp.web.default.svc.cluster.local";
    user.sees("the SRV record of a service", line, |text| text.ends_with(expected)).await;
    let page = user.types("kubectl exec shell -- curl -sS http://nginx/").await;
    assert!(page.contains("nginx"), "{page}");

    // output, streams and terminals
    let logs = user.types("kubectl logs nginx --tail=5").await;
    assert!(logs.contains("GET / HTTP"), "{logs}");
    assert_eq!(user.types("echo typed | kubectl exec -i shell -- cat").await, "typed");
    assert!(
        user.tries("kubectl exec shell -- sh -c 'exit 7'").await.expect_err("it exits with 7").contains("exit code 7")
    );
    let line = "script -qec \"kubectl exec -it shell -- sh -c 'tty; stty size'\" /dev/null < /dev/null";
    let terminal = user.types(line).await;
    assert!(terminal.contains("/dev/pts/"), "{terminal}");
    user.types(&format!(
        "kubectl run echo --image={AGNHOST} -i --restart=Never --command -- sh -c 'while read line; do echo got:$line; done' <<<hello"
    ))
    .await;
    user.sees("what was typed into an attached pod", "kubectl logs echo", |text| text.contains("got:hello")).await;
    let forwarded = user
        .types(
            "kubectl port-forward pod/nginx 18080:80 >/tmp/forward.log 2>&1 & forward=$!; \
             until grep -q Forwarding /tmp/forward.log; do kill -0 $forward || exit 1; done; \
             curl -sS http://127.0.0.1:18080/; kill $forward",
        )
        .await;
    assert!(forwarded.contains("nginx"), "{forwarded}");
}

#[tokio::test]
async fn s1_on_bookworm_with_docker_20() {
    the_single_host_cluster("s1-bookworm", Suite::Bookworm).await;
}

#[tokio::test]
async fn s1_on_trixie_with_docker_26() {
    the_single_host_cluster("s1-trixie", Suite::Trixie).await;
}
