//! What `--upload-certs` stores is what a real kubeadm v1.36.3 on another host fetches and decrypts.

use std::process::Command;

use junio_lab::{LabHost, Suite};
use serde_json::Value;

use crate::support::TestLab;

const SHARED: &str = "ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub etcd/ca.crt etcd/ca.key";

/// kubeadm itself, built from its pinned module.
fn kubeadm() -> Vec<u8> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/reference-kubeadm.sh");
    let output = Command::new(script).output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(String::from_utf8_lossy(&output.stdout).trim()).expect("kubeadm was built")
}

async fn kubectl(host: &LabHost, arguments: &str) -> Value {
    let text = host
        .check(&["sh", "-c", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {arguments} -o json")])
        .await;
    serde_json::from_str(&text.expect("kubectl answers")).expect("JSON")
}

async fn digests(host: &LabHost) -> String {
    host.check(&["sh", "-c", &format!("cd /etc/kubernetes/pki && sha256sum {SHARED}")])
        .await
        .expect("the files are there")
}

/// Fetches with kubeadm on a host that has nothing yet.
async fn fetch(host: &LabHost, endpoint: &str, token: &str, pin: &str, key: &str) -> Result<String, String> {
    let config = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ncontrolPlane: {{certificateKey: \"{key}\"}}\n\
         nodeRegistration: {{criSocket: \"unix:///run/containerd/containerd.sock\"}}\n\
         discovery: {{bootstrapToken: {{token: {token}, apiServerEndpoint: \"{endpoint}\", caCertHashes: [\"{pin}\"]}}}}\n"
    );
    host.write_file("/srv/join.yaml", 0o600, config.as_bytes()).await.expect("the file is written");
    let line =
        "rm -rf /etc/kubernetes; /srv/kubeadm join phase control-plane-prepare download-certs --config /srv/join.yaml";
    let output = host.shell(line).await.expect("the host answers");
    let text = format!("{}{}", output.text(), output.error_text());
    if output.success() { Ok(text) } else { Err(text) }
}

#[tokio::test]
async fn kubeadm_fetches_what_was_uploaded() {
    let lab = TestLab::hosts("upload-certs", Suite::Trixie, 2).await;
    let (first, second) = (lab.at(1), lab.at(2));
    second.write_file("/srv/kubeadm", 0o755, &kubeadm()).await.expect("kubeadm is copied");
    let endpoint = format!("{}:6443", first.address());
    let chosen = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let said = first
        .check(&[
            "junioadm",
            "init",
            "--control-plane-endpoint",
            &endpoint,
            "--upload-certs",
            "--certificate-key",
            chosen,
        ])
        .await
        .expect("init");
    assert!(said.contains(&format!("--control-plane --certificate-key {chosen}")), "{said}");
    let word = |flag: &str| {
        let words: Vec<&str> = said.split_whitespace().collect();
        let at = words.iter().position(|word| *word == flag).unwrap_or_else(|| panic!("no {flag} in {said}"));
        words[at + 1].to_owned()
    };
    let (token, pin) = (word("--token"), word("--discovery-token-ca-cert-hash"));

    fetch(second, &endpoint, &token, &pin, chosen).await.expect("kubeadm decrypts");
    assert_eq!(digests(second).await, digests(first).await, "the files are the same on both hosts");

    // As kubeadm: the Secret goes with a token of two hours that nobody can join with.
    let secret = kubectl(first, "-n kube-system get secret kubeadm-certs").await;
    let owner = &secret["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["controller"]), (&"Secret".into(), &true.into()), "{owner}");
    let name = owner["name"].as_str().expect("a name");
    let proxy = kubectl(first, &format!("-n kube-system get secret {name}")).await;
    assert_eq!(proxy["metadata"]["uid"], owner["uid"]);
    let keys: Vec<_> = proxy["data"].as_object().expect("data").keys().cloned().collect();
    assert_eq!(keys, ["description", "expiration", "token-id", "token-secret"], "neither usages nor groups");

    // Uploaded again with a new key, which is the last line as scripts expect it; the old key opens nothing any more.
    let said =
        first.check(&["sh", "-c", "junioadm init phase upload-certs --upload-certs 2>/dev/null"]).await.expect("again");
    let key = said.trim().lines().last().expect("a line").to_owned();
    assert!(junio_api::config::validate::is_certificate_key(&key) && key != chosen, "{said}");
    fetch(second, &endpoint, &token, &pin, chosen).await.expect_err("the old key is void");
    fetch(second, &endpoint, &token, &pin, &key).await.expect("the new key");
    assert_eq!(digests(second).await, digests(first).await);
    let log = first
        .check(&["sh", "-c", &format!("grep -rlE '{chosen}|{key}' /var/log/junioadm /var/lib/junioadm || true")])
        .await;
    assert_eq!(log.expect("grep runs").trim(), "", "keys are in no log and no journal");
}
