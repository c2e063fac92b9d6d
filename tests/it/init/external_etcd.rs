//! A cluster whose etcd somebody else runs, on another host, with certificates of its own authority.

use junio_lab::{LabHost, Suite};

use crate::support::TestLab;

/// Makes the authority and certificates of an etcd on this host, and loads its image.
async fn prepare(host: &LabHost) {
    let address = host.address();
    let config = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: {address}}}\n"
    );
    host.write_file("/srv/etcd.yaml", 0o600, config.as_bytes()).await.expect("the file is written");
    let lines = "export KUBEADM_INIT_DRYRUN_DIR=/srv/pki
        junioadm init phase certs all --dry-run --config /srv/etcd.yaml && junioadm init phase images";
    let output = host.shell(lines).await.expect("the host answers");
    assert!(output.success(), "{}", output.error_text());
}

async fn start(host: &LabHost) {
    let url = format!("https://{}:2379", host.address());
    let line = format!(
        "image=$(docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep /etcd:) &&
         docker run -d --name etcd --network host -v /srv/pki/etcd:/pki:ro --entrypoint etcd $image --name external \
           --data-dir /var/lib/etcd --listen-client-urls {url} --advertise-client-urls {url} --client-cert-auth \
           --trusted-ca-file /pki/ca.crt --cert-file /pki/server.crt --key-file /pki/server.key"
    );
    let output = host.shell(&line).await.expect("the host answers");
    assert!(output.success(), "{}", output.error_text());
}

#[tokio::test]
async fn a_cluster_keeps_its_state_in_an_etcd_elsewhere() {
    let lab = TestLab::hosts("external-etcd", Suite::Trixie, 2).await;
    let (host, etcd) = (lab.at(1), lab.at(2));
    prepare(etcd).await;
    let url = format!("https://{}:2379", etcd.address());
    let config = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd:\n  external:\n    endpoints: [\"{url}\"]\n    \
         caFile: /etc/etcd-client/ca.crt\n    certFile: /etc/etcd-client/client.crt\n    keyFile: /etc/etcd-client/client.key\n\
         scheduler:\n  extraArgs: [{{name: secure-port, value: \"10300\"}}]\n"
    );
    host.write_file("/srv/init.yaml", 0o600, config.as_bytes()).await.expect("the file is written");
    let init = "junioadm init --config /srv/init.yaml 2>&1";

    let output = host.shell(init).await.expect("the host answers");
    let text = output.text();
    assert_eq!(output.status, 3, "{text}");
    assert_eq!(text.matches("[ERROR ExternalEtcdClientCertificates]").count(), 3, "{text}");

    for (theirs, ours) in [
        ("etcd/ca.crt", "ca.crt"),
        ("apiserver-etcd-client.crt", "client.crt"),
        ("apiserver-etcd-client.key", "client.key"),
    ] {
        let content = etcd.read_file(&format!("/srv/pki/{theirs}")).await.expect("it was made");
        host.shell("mkdir -p /etc/etcd-client").await.expect("the host answers");
        host.write_file(&format!("/etc/etcd-client/{ours}"), 0o600, &content).await.expect("the file is written");
    }
    let output = host.shell(init).await.expect("the host answers");
    assert_eq!(output.status, 3, "{}", output.text());
    assert!(
        output.text().contains("ExternalEtcdVersion") && output.text().contains("JUNIO-ETCD-UNREACHABLE"),
        "{}",
        output.text()
    );
    assert!(!host.shell("ls /etc/kubernetes").await.expect("the host answers").success(), "a refused init left files");

    start(etcd).await;
    let output = host.shell(init).await.expect("the host answers");
    assert!(output.success(), "{}", output.text());
    let look = |line: &'static str| async move { host.check(&["sh", "-c", line]).await.expect("the host answers") };
    assert!(!look("ls /etc/kubernetes/manifests").await.contains("etcd"), "no etcd here");
    assert_eq!(
        look("ls /etc/kubernetes/pki | grep -c etcd || true").await.trim(),
        "0",
        "no certificates of an etcd here"
    );
    let manifest = look("cat /etc/kubernetes/manifests/kube-apiserver.yaml").await;
    for part in [&*format!("--etcd-servers={url}"), "--etcd-cafile=/etc/etcd-client/ca.crt", "etcd-certs-0"] {
        assert!(manifest.contains(part), "{part} is missing in\n{manifest}");
    }
    // The scheduler serves elsewhere: init found it there, and so do its probes.
    assert_eq!(look("curl -sk https://127.0.0.1:10300/livez").await, "ok");
    assert!(look("cat /etc/kubernetes/manifests/kube-scheduler.yaml").await.contains("containerPort: 10300"));
    let nodes = look("kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes --no-headers").await;
    assert!(nodes.contains(" Ready "), "{nodes}");
    let keys = etcd
        .check(&["sh", "-c", "docker exec etcd etcdctl --endpoints $0 --cacert /pki/ca.crt --cert /pki/server.crt --key /pki/server.key get --prefix --keys-only /registry/minions", &url])
        .await
        .expect("etcd answers");
    assert!(keys.contains("/registry/minions/"), "{keys}");

    // Certificates for joining hosts are those of the etcd's clients, and reset leaves what is not ours.
    let output = host
        .shell("junioadm init phase upload-certs --upload-certs --config /srv/init.yaml 2>&1")
        .await
        .expect("answers");
    assert!(output.success(), "{}", output.text());
    let stored = look(
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get secret kubeadm-certs -o jsonpath='{.data}'",
    )
    .await;
    assert!(stored.contains("external-etcd.key") && !stored.contains("etcd-ca.key\""), "{stored}");
    look("junioadm reset --force 2>&1").await;
    assert!(look("ls /etc/etcd-client").await.contains("client.key"));
    assert!(etcd.shell("docker inspect etcd").await.expect("answers").success());
}
