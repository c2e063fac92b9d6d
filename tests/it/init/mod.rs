//! `init` and `reset` on hosts of their own: what is refused, what is taken back, what an interruption leaves.

mod external_etcd;
mod half_removed;
mod refusals;
mod reset;
mod supervised;
mod upload_certs;

use junio_lab::LabHost;

/// Waits until the host's node is Ready. kubectl's cache goes where no snapshot looks.
const READY: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf --cache-dir=/tmp/kubectl \
    wait --for=condition=Ready node --all --timeout=60s";

/// What outlives `init` and `reset` for a reason: the debug logs, the journals of services, what the shell that looks runs,
/// and a handle of Docker's own for containers in the host's network, which is the engine's to remove.
fn expected(fact: &str) -> bool {
    ["/var/log/junioadm", "/var/log/journal", "/run/systemd", "/var/lib/systemd", " /run/docker/netns/default "]
        .iter()
        .any(|path| fact.contains(path))
        || fact.starts_with("process ")
}

/// Runs a line that must end with `status`; returns all that it says.
async fn ended(host: &LabHost, line: &str, status: i64) -> String {
    let output = host.shell(line).await.expect("the host answers");
    let text = format!("{}\n{}", output.text(), output.error_text());
    assert_eq!(output.status, status, "$ {line}\n{text}");
    text
}

/// Asserts that an error has this code and says this next step.
fn assert_hint(text: &str, code: &str, next: &str) {
    assert!(text.contains(&format!("code: {code} ")), "no {code} in\n{text}");
    assert!(text.contains(&format!("next: {next}")), "no next step {next:?} in\n{text}");
}
