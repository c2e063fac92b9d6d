//! The kubelet is killed at random moments while pods come and go.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::node::Node;

/// Pods come and go until the file is gone, four at a time, some with a volume in memory and some that end by themselves.
const CHURN: &str = r#"
export KUBECONFIG=/etc/kubernetes/admin.conf
echo $$ > /run/churn.pid
touch /run/churn
n=0
while [ -e /run/churn ]; do
  n=$((n + 1))
  script='exec busybox sleep 3600'; [ $((n % 3)) = 0 ] && script='exit 0'
  kubectl apply -f - <<POD || true
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"churn-$n"},"spec":{"nodeName":"NODE","restartPolicy":"OnFailure",
 "terminationGracePeriodSeconds":1,"tolerations":[{"operator":"Exists"}],
 "volumes":[{"name":"m","emptyDir":{"medium":"Memory"}},{"name":"d","emptyDir":{}}],
 "containers":[{"name":"c","image":"busy:1","imagePullPolicy":"Never","command":["/bin/busybox","sh","-c","$script"],
 "volumeMounts":[{"name":"m","mountPath":"/m"},{"name":"d","mountPath":"/d"}]}]}}
POD
  [ $n -le 4 ] || kubectl delete pod churn-$((n - 4)) --wait=false --ignore-not-found
done
"#;

/// Enough for moments; the seed is in the message of a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn a_killed_kubelet_restarts_no_container_and_leaves_nothing() {
    let kills = std::env::var("JUNIO_SOAK_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(10);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut random = Random(seed);
    let node = Node::up("kills").await;
    let (host, user) = (node.host(), node.user());
    for name in ["stay-1", "stay-2"] {
        let probe =
            json!({ "exec": { "command": ["/bin/busybox", "true"] }, "periodSeconds": 1, "timeoutSeconds": 30 });
        let container = json!({ "readinessProbe": probe, "livenessProbe": probe });
        node.runs(name, "exec busybox sleep 36000", json!({ "containers": [container] })).await;
        node.is_ready(name).await;
    }
    let before = node.running().await;
    let script = CHURN.replace("NODE", host.name());
    host.write_file("/root/churn.sh", 0o755, script.as_bytes()).await.expect("written");
    host.shell("setsid bash /root/churn.sh >/run/churn.log 2>&1 </dev/null & sleep 3").await.expect("churn");
    for kill in 1..=kills {
        let moment = 200 + random.below(3000);
        let script = format!(
            "sleep {}.{:03}; pid=$(pgrep -x junio-kubelet) && kill -9 $pid && tail --pid=$pid -f /dev/null",
            moment / 1000,
            moment % 1000
        );
        let output = host.shell(&script).await.expect("the host answers");
        assert!(output.success(), "kill {kill} (seed {seed}) met no kubelet: {}", output.error_text());
        // it is gone, and the next one must be up before it can be killed
        let up = "until pgrep -x junio-kubelet >/dev/null; do sleep 0.05; done";
        host.check(&["timeout", "30", "sh", "-c", up]).await.expect("systemd starts it again");
    }
    host.shell("rm /run/churn; tail --pid=$(cat /run/churn.pid) -f /dev/null").await.expect("churn ends");
    let churned = host.check(&["grep", "-c", "created", "/run/churn.log"]).await.expect("pods were made");
    assert!(churned.trim().parse::<u64>().is_ok_and(|pods| pods >= kills), "{churned} pods for {kills} kills");

    let names = user.types("kubectl get pods -o name | grep churn- | tr '\\n' ' '").await;
    user.types(&format!("kubectl delete {names} --ignore-not-found --timeout=120s")).await;
    node.waits_for_condition("Ready", "True", Duration::from_secs(30)).await;
    // What the engine was still starting when its pod went is found by the next look for leftovers.
    node.has_no_leftovers().await;
    let after = node.running().await;
    assert_eq!(after, before, "no container that stayed was started anew (seed {seed})");
    let restarts =
        user.types("kubectl get pods -A -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}'").await;
    assert!(restarts.split_whitespace().all(|count| count == "0"), "restarts: {restarts} (seed {seed})");
}

/// The moment is inside of its start, again and again: a unit that gives up would end here.
#[tokio::test]
async fn the_unit_does_not_give_up_on_a_kubelet_that_dies_at_once() {
    let node = Node::up("dies").await;
    let host = node.host();
    for _ in 0..12 {
        host.check(&["timeout", "30", "sh", "-c", "until pkill -9 -x junio-kubelet; do sleep 0.05; done"])
            .await
            .expect("killed");
    }
    let active = "until systemctl is-active --quiet junio-kubelet; do sleep 0.1; done";
    host.check(&["timeout", "30", "sh", "-c", active]).await.expect("it is there again");
    node.waits_for_condition("Ready", "True", Duration::from_secs(30)).await;
}
