//! One host with a cluster, pods that must not be disturbed, and a look at what pods left on the host.

use std::time::Duration;

use junio_lab::{LabHost, Suite};

use crate::scenarios::user::User;
use crate::support::{TestLab, wait_until};

/// A host of a lab with a cluster of its own, on which ordinary pods may run.
pub struct Node {
    lab: TestLab,
}

/// The disk is the machine's, and how full that is must not matter.
const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n---\n\
    apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
    imageGCHighThresholdPercent: 100\nevictionHard: {memory.available: 100Mi}\n";

/// Every pod's containers that run: name, ID and process, one per line.
const RUNNING: &str = "docker ps -q | xargs docker inspect -f \
    '{{index .Config.Labels \"io.kubernetes.pod.name\"}}/{{index .Config.Labels \"io.kubernetes.container.name\"}} {{.Id}} {{.State.Pid}}' \
    | sort";

impl Node {
    pub async fn up(purpose: &str) -> Self {
        Self::up_with(purpose, "").await
    }

    /// `documents` are added to the configuration of `init`.
    pub async fn up_with(purpose: &str, documents: &str) -> Self {
        let lab = TestLab::hosts(purpose, Suite::Trixie, 1).await;
        let host = lab.at(1);
        host.write_file("/srv/init.yaml", 0o600, format!("{CONFIG}{documents}").as_bytes())
            .await
            .expect("the file is written");
        host.check(&["sh", "-c", "junioadm init --config /srv/init.yaml 2>&1"]).await.expect("init");
        import_busybox(host).await;
        let node = Self { lab };
        node.user().removes_taints().await;
        node.user().types("kubectl -n kube-system rollout status deployment coredns --timeout=120s").await;
        node
    }

    pub fn host(&self) -> &LabHost {
        self.lab.at(1)
    }

    pub fn user(&self) -> User<'_> {
        User::on(self.host())
    }

    /// Runs a pod of busybox with this script, bound to the node without the scheduler; does not wait for it.
    pub async fn runs(&self, name: &str, script: &str, extra: serde_json::Value) {
        let mut spec = serde_json::json!({
            "nodeName": self.host().name(), "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "c", "image": "busy:1", "imagePullPolicy": "Never", "command": ["/bin/busybox", "sh", "-c", script],
            }],
        });
        merge(&mut spec, extra);
        let pod = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
        self.user().types(&format!("kubectl apply -f - <<'POD'\n{pod}\nPOD")).await;
    }

    pub async fn is_ready(&self, pod: &str) {
        self.user().types(&format!("kubectl wait pod {pod} --for=condition=Ready --timeout=60s")).await;
    }

    /// What runs now, for a comparison later.
    pub async fn running(&self) -> String {
        self.host().check(&["sh", "-c", RUNNING]).await.expect("containers")
    }

    /// A field of a pod.
    pub async fn pod(&self, name: &str, path: &str) -> String {
        self.user().types(&format!("kubectl get pod {name} -o jsonpath='{{{path}}}'")).await
    }

    /// `STATUS REASON MESSAGE` of a condition of the node.
    pub async fn condition(&self, type_: &str) -> Result<String, String> {
        let path =
            format!("{{range .status.conditions[?(@.type==\"{type_}\")]}}{{.status}} {{.reason}} {{.message}}{{end}}");
        self.user().tries(&format!("kubectl get node {} -o jsonpath='{path}'", self.host().name())).await
    }

    pub async fn waits_for_condition(&self, type_: &str, begins: &str, deadline: Duration) -> String {
        wait_until(&format!("{type_} to be {begins}"), deadline, async || {
            let now = self.condition(type_).await?;
            if now.starts_with(begins) { Ok(now) } else { Err(now) }
        })
        .await
    }

    /// Puts top-level fields into the kubelet's configuration, in the place of what it was born with, and starts it anew.
    pub async fn configures(&self, fields: &str) {
        let keys = fields.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key);
        let keys = keys.filter(|key| key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let without: String = keys.map(|key| format!(" -e '/^{key}:/,/^[^ ]/{{/^{key}:/d;/^ /d}}'")).collect();
        let script = format!(
            "set -e; cd /root; [ -e config.yaml ] || cp /var/lib/kubelet/config.yaml .\n\
             sed {without} config.yaml > /var/lib/kubelet/config.yaml\n\
             cat >> /var/lib/kubelet/config.yaml <<'FIELDS'\n{fields}FIELDS\nsystemctl restart junio-kubelet"
        );
        self.host().check(&["sh", "-c", &script]).await.expect("the kubelet starts again");
    }

    /// Waits until the host has nothing of pods that the API server does not know.
    pub async fn has_no_leftovers(&self) {
        wait_until("nothing to be left of gone pods", Duration::from_secs(120), async || {
            let found = self.user().tries(include_str!("leftovers.sh")).await?;
            if found.trim().is_empty() { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

/// The image `busy:1` of the host's own busybox: there is no registry to pull from.
pub async fn import_busybox(host: &LabHost) {
    host.check(&["sh", "-c", "tar -C / -c bin/busybox | docker import - busy:1"]).await.expect("an image");
}

fn merge(base: &mut serde_json::Value, extra: serde_json::Value) {
    match (base, extra) {
        (serde_json::Value::Object(base), serde_json::Value::Object(extra)) => {
            for (key, value) in extra {
                merge(base.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (serde_json::Value::Array(base), serde_json::Value::Array(extra)) => {
            base.iter_mut().zip(extra).for_each(|(base, extra)| merge(base, extra));
        }
        (base, extra) => *base = extra,
    }
}
