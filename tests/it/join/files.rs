//! Discovery by file in its kinds, the phases one by one, the dry run.

use junio_lab::Suite;

use super::{argument, expected, init, join_command};
use crate::scenarios::user::User;
use crate::support::{Snapshot, TestLab};

#[tokio::test]
async fn files_name_the_cluster_and_phases_run_one_by_one() {
    let lab = TestLab::hosts("join-files", Suite::Trixie, 2).await;
    let (control_plane, worker) = (lab.at(1), lab.at(2));
    init(control_plane).await;
    let user = User::on(control_plane);
    let command = join_command(control_plane).await;
    let token = argument(&command, "--token");
    let info = user.types("kubectl -n kube-public get configmap cluster-info -o jsonpath='{.data.kubeconfig}'").await;
    worker.write_file("/srv/info.conf", 0o600, info.as_bytes()).await.expect("written");
    let ca = control_plane.read_file("/etc/kubernetes/pki/ca.crt").await.expect("the CA");
    worker.write_file("/srv/ca.crt", 0o644, &ca).await.expect("written");
    let with_files = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: \"https://{}:6443\", certificate-authority: ca.crt}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n",
        control_plane.address()
    );
    worker.write_file("/srv/files.conf", 0o600, with_files.as_bytes()).await.expect("written");
    worker.write_file("/srv/token", 0o600, token.as_bytes()).await.expect("written");
    let before = Snapshot::of(worker).await;

    // without credentials it cannot be used
    let text = super::refused(worker, "junioadm join --discovery-file /srv/info.conf", 4).await;
    assert!(text.contains("JUNIO-JOIN-FILE") && text.contains("--tls-bootstrap-token"), "{text}");
    let dry = format!(
        "KUBEADM_JOIN_DRYRUN_DIR=/tmp/dry junioadm join --dry-run --discovery-file /srv/info.conf --tls-bootstrap-token {token}"
    );
    worker.check(&["sh", "-c", &format!("{dry} 2>&1")]).await.expect("a dry run");
    let names = worker.check(&["sh", "-c", "ls /tmp/dry; rm -r /tmp/dry"]).await.expect("files");
    let names: Vec<&str> = names.split_whitespace().collect();
    assert_eq!(
        names,
        ["bootstrap-kubelet.conf", "ca.crt", "config.yaml", "instance-config.yaml", "kubeadm-flags.env"],
        "what would be written"
    );
    before.difference(&Snapshot::of(worker).await).without(expected).assert_empty("after a dry run");

    // embedded nothing, token by flag; phase by phase
    let flags = format!("--discovery-file /srv/info.conf --tls-bootstrap-token {token}");
    for phase in ["preflight", "images", "kubelet-start", "kubelet-wait-bootstrap", "verify"] {
        worker.check(&["sh", "-c", &format!("junioadm join phase {phase} {flags} 2>&1")]).await.expect(phase);
    }
    user.sees("two Ready nodes", "kubectl get nodes --no-headers", |text| text.matches(" Ready ").count() == 2).await;
    worker.check(&["sh", "-c", "junioadm reset --force 2>&1"]).await.expect("reset");
    user.types(&format!("kubectl delete node {}", worker.name())).await;

    // external files, which must not be needed any more afterwards
    worker
        .check(&["sh", "-c", "junioadm join --discovery-file file:///srv/files.conf --node-name renamed 2>&1"])
        .await
        .expect("join");
    worker.check(&["rm", "/srv/token", "/srv/ca.crt"]).await.expect("removed");
    worker.check(&["systemctl", "restart", "junio-kubelet"]).await.expect("restarted");
    let nodes = user.types("kubectl get nodes --no-headers").await;
    assert!(nodes.contains("renamed"), "{nodes}");
    let flags = worker.check(&["cat", "/var/lib/kubelet/kubeadm-flags.env"]).await.expect("flags");
    assert!(flags.contains("--hostname-override=renamed"), "{flags}");
}
