//! A prepared host joins and leaves from here: hardly anything is sent, and nobody on it sees the token.

use junio_lab::Suite;

use super::{junioadm, report, row, ssh_flags, target};
use crate::scenarios::user::User;
use crate::support::TestLab;

/// Arguments and environment of every process on the host, over and over, until it is told to stop.
const SPY: &str = "setsid sh -c 'while ! [ -e /root/stop ]; do \
                   cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; done >/root/seen; touch /root/stopped' \
                   >/dev/null 2>&1 &";

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_host_joins_with_little_sent_and_no_secret_shown_and_leaves_again() {
    let lab = TestLab::hosts("onehost", Suite::Bookworm, 2).await;
    let (first, second) = (lab.at(1), lab.at(2));
    let config = "kind: InitConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\n---\nkind: KubeProxyConfiguration\n\
                  apiVersion: kubeproxy.config.k8s.io/v1alpha1\nconntrack: {maxPerCore: 0}\n";
    first.write_file("/root/init.yaml", 0o600, config.as_bytes()).await.expect("written");
    let (init, prepared) = tokio::join!(
        first.check(&["junioadm", "init", "--config", "/root/init.yaml"]),
        second.check(&["junioadm", "join", "phase", "images"])
    );
    init.expect("a control plane");
    prepared.expect("images");
    // its images and programs are there; the bundle that they came from is not
    second.check(&["rm", "/var/lib/junioadm/bundle.jbundle"]).await.expect("removed");
    second.check(&["sh", "-c", SPY]).await.expect("it looks");
    let watch = "setsid kubectl get secrets -n kube-system --watch -o jsonpath='{.data.token-secret}{\"\\n\"}' \
                 >/root/tokens 2>/dev/null &";
    let user = User::on(first);
    user.types(watch).await;

    let kubeconfig = lab.kubeconfig().await.expect("fetched").display().to_string();
    let (title, flags) = (target(second), ssh_flags(&lab));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let join = [&["join", "--ssh", &title, "--kubeconfig", &kubeconfig, "--output", "json"][..], &flags].concat();
    let (code, joined, said) = report(junioadm(&join).await);
    assert_eq!(code, 0, "{joined:#}\n{said}");
    assert_eq!(row(&joined, second)["result"], "joined");
    let sent = row(&joined, second)["bytesSent"].as_u64().expect("a number");
    assert!(sent < 1_000_000, "{sent} bytes were sent to a host that had everything");
    user.types(&format!("kubectl wait --for=condition=Ready node {} --timeout=5s", second.name())).await;

    second
        .check(&["sh", "-c", "touch /root/stop; while ! [ -e /root/stopped ]; do sleep 0.05; done"])
        .await
        .expect("stops");
    let seen =
        second.check(&["sh", "-c", "tr '\\0' ' ' </root/seen | grep -ao 'junioadm join --config -' | head -n 1"]).await;
    assert_eq!(seen.expect("it looked").trim(), "junioadm join --config -", "the spy did not see the join");
    let tokens =
        user.types("base64 -d </dev/null; for t in $(sort -u /root/tokens); do echo $t | base64 -d; echo; done").await;
    let tokens: Vec<&str> = tokens.split_whitespace().collect();
    assert!(tokens.len() >= 2, "the token of init and that of the join: {tokens:?}");
    for token in tokens {
        let look = format!(
            "rm -f /root/look; printf %s {token} >/root/look; grep -acF -f /root/look /root/seen; rm /root/look"
        );
        let times = second.run(&["sh", "-c", &look]).await.expect("runs").text();
        assert_eq!(times.trim(), "0", "a token was in arguments or environment of a process");
        let files =
            format!("grep -rlF {token} /etc /var/lib/junioadm /var/lib/kubelet /var/log /root /run 2>/dev/null");
        let files = second.run(&["sh", "-c", &files]).await.expect("runs").text();
        assert_eq!(files.trim(), "", "a token stayed in a file");
    }

    let (code, again, said) = report(junioadm(&join).await);
    assert_eq!((code, row(&again, second)["result"].as_str()), (0, Some("already")), "{said}");

    let reset =
        [&["reset", "--ssh", &title, "--kubeconfig", &kubeconfig, "--force", "--output", "json"][..], &flags].concat();
    let (code, gone, said) = report(junioadm(&reset).await);
    assert_eq!(code, 0, "{gone:#}\n{said}");
    assert_eq!(row(&gone, second)["result"], "reset");
    let nodes = user.types("kubectl get nodes -o name").await;
    assert!(!nodes.contains(second.name()), "{nodes}");
    assert!(!second.run(&["test", "-e", "/etc/kubernetes"]).await.expect("runs").success());
    // it was on the host before
    second.check(&["junioadm", "version"]).await.expect("junioadm stays where it was not sent");
    let (code, again, said) = report(junioadm(&reset).await);
    assert_eq!((code, row(&again, second)["result"].as_str()), (0, Some("already")), "{said}");
}
