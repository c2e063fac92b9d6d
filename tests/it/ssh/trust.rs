//! Which hosts are trusted, by the files of known_hosts and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use junio_host::ssh::{HostKeyPolicy, Settings, SshError, Target};
use junio_lab::Suite;
use tempfile::TempDir;

use super::{connect, known_hosts, new_key, path, settings, ssh_keygen, who};
use crate::support::TestLab;

#[tokio::test]
async fn a_host_is_trusted_by_its_known_key_alone() {
    let lab = TestLab::plain("sshtrust", Suite::Trixie, 1).await;
    let host = lab.at(1);
    let directory = TempDir::new().expect("a directory");
    let address = host.address().to_string();
    let key = host.check(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).await.expect("the host's key");
    let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let (_, other) = new_key(&directory, "other", "ed25519", "");
    let other = other.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let with = |file: PathBuf| Settings { known_hosts: vec![file], ..settings(&lab) };
    let of = |name: &str, content: String| known_hosts(&directory, name, &content);

    let known =
        connect("root", host, &with(of("right", format!("# mine\nweb,{address} {key}\n")))).await.expect("known");
    assert_eq!(who(&known).await, "root");
    assert_eq!(known.identity().algorithm, "ssh-ed25519");
    assert!(known.identity().known_by.ends_with("right:2") && !known.identity().pinned, "{:?}", known.identity());
    known.close().await;

    let hashed = of("hashed", format!("elsewhere {other}\n{address} {key}\n"));
    ssh_keygen(&["-H", "-f", path(&hashed)]);
    assert!(!std::fs::read_to_string(&hashed).expect("text").contains(&address), "it is not hashed");
    connect("root", host, &with(hashed)).await.expect("known by a hashed name");

    let several = of("several", format!("{address} {other}\n172.* {key}\n10.* {key}\n192.168.* {key}\n"));
    connect("root", host, &with(several)).await.expect("known by one of two keys and a pattern");

    let unknown = connect("root", host, &with(of("empty", String::new()))).await.expect_err("unknown");
    assert!(matches!(&unknown, SshError::UnknownHostKey { port: 22, .. }), "{unknown}");
    assert!(unknown.to_string().contains(&address) && unknown.to_string().contains("SHA256:"), "{unknown}");

    let changed =
        connect("root", host, &with(of("changed", format!("\n{address} {other}\n")))).await.expect_err("changed");
    assert!(matches!(&changed, SshError::ChangedHostKey { name, .. } if *name == address), "{changed}");
    assert!(changed.to_string().contains("changed:2 has ssh-ed25519 SHA256:"), "{changed}");

    let revoked = of("revoked", format!("{address} {key}\n@revoked * {key}\n"));
    let revoked = connect("root", host, &with(revoked)).await.expect_err("revoked");
    assert!(matches!(&revoked, SshError::RevokedHostKey { at, .. } if at.ends_with("revoked:2")), "{revoked}");

    first_use(&lab, &directory, &key, &other).await;
    authority(&lab, &directory, &key).await;
}

/// Only when asked, written down, and then it is the only one.
async fn first_use(lab: &TestLab, directory: &TempDir, key: &str, other: &str) {
    let host = lab.at(1);
    let file = directory.path().join("new/known_hosts");
    let accepting =
        Settings { known_hosts: vec![file.clone()], host_keys: Some(HostKeyPolicy::AcceptNew), ..settings(lab) };
    let all = futures::future::join_all((0..4).map(|_| connect("root", host, &accepting))).await;
    let pinned = all.into_iter().map(|connected| connected.expect("accepted").identity().pinned);
    assert_eq!(pinned.filter(|pinned| *pinned).count(), 1, "one of them writes it down");
    let text = std::fs::read_to_string(&file).expect("it is written down");
    assert_eq!(text, format!("{} {key}\n", host.address()), "once, however many met the host at the same time");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let strict = Settings { host_keys: Some(HostKeyPolicy::Strict), ..accepting.clone() };
    assert!(!connect("root", host, &strict).await.expect("known now").identity().pinned);
    std::fs::write(&file, format!("{} {other}", host.address())).expect("writable");
    let changed = connect("root", host, &accepting).await.expect_err("changed");
    assert!(matches!(changed, SshError::ChangedHostKey { .. }), "{changed}");

    // OpenSSH reads what we write, also with a port
    host.check(&[
        "sh",
        "-c",
        "printf 'Port 22\\nPort 2222\\n' > /etc/ssh/sshd_config.d/ports.conf && systemctl reset-failed ssh && systemctl restart ssh",
    ])
    .await
    .expect("sshd has a second port");
    let port = Target { user: Some("root".to_owned()), host: host.address().to_string(), port: Some(2222) };
    std::fs::remove_file(&file).expect("there");
    junio_host::ssh::Connection::connect(&port, &accepting, &junio_host::ssh::NoPrompter).await.expect("accepted");
    assert_eq!(std::fs::read_to_string(&file).expect("text"), format!("[{}]:2222 {key}\n", host.address()));
    let ssh = std::process::Command::new("ssh")
        .args([
            "-F",
            "/dev/null",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-p",
            "2222",
        ])
        .args(["-o", &format!("UserKnownHostsFile={}", path(&file)), "-i", path(&lab.ssh_key())])
        .args(["-o", "IdentitiesOnly=yes", &format!("root@{}", host.address()), "true"])
        .output()
        .expect("ssh starts");
    assert!(ssh.status.success(), "{}", String::from_utf8_lossy(&ssh.stderr));
}

/// A host certificate is good for the host it names while it lasts, and only from an authority that is trusted for it.
async fn authority(lab: &TestLab, directory: &TempDir, key: &str) {
    let host = lab.at(1);
    let address = host.address().to_string();
    let (ca, ca_public) = new_key(directory, "ca", "ed25519", "");
    let ca_public = ca_public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let trusting = Settings {
        known_hosts: vec![known_hosts(directory, "ca_known", &format!("@cert-authority 1*,!1.1.1.1 {ca_public}\n"))],
        ..settings(lab)
    };
    let host_key = directory.path().join("host.pub");
    std::fs::write(&host_key, format!("{key}\n")).expect("written");
    let certify = async |arguments: &[&str]| {
        let _ = std::fs::remove_file(directory.path().join("host-cert.pub"));
        ssh_keygen(&[&["-q", "-s", path(&ca), "-I", "lab", "-h"][..], arguments, &[path(&host_key)]].concat());
        let certificate = std::fs::read(directory.path().join("host-cert.pub")).expect("the certificate");
        host.write_file("/etc/ssh/host-cert.pub", 0o644, &certificate).await.expect("on the host");
        let config = "echo 'HostCertificate /etc/ssh/host-cert.pub' > /etc/ssh/sshd_config.d/certificate.conf && systemctl reset-failed ssh && systemctl restart ssh";
        host.check(&["sh", "-c", config]).await.expect("sshd shows the certificate");
    };
    certify(&["-n", &address]).await;
    let trusted = connect("root", host, &trusting).await.expect("certified");
    assert!(trusted.identity().known_by.ends_with("ca_known:1"), "{:?}", trusted.identity());
    // who knows the key and no authority is shown the key, as always
    connect("root", host, &settings(lab)).await.expect("known by its key");
    let revoked = format!("@cert-authority * {ca_public}\n@revoked * {ca_public}\n");
    let revoked = Settings { known_hosts: vec![known_hosts(directory, "ca_revoked", &revoked)], ..settings(lab) };
    let error = connect("root", host, &revoked).await.expect_err("a revoked authority");
    assert!(matches!(error, SshError::RevokedHostKey { .. }), "{error}");

    for (arguments, reason) in [
        (&["-n", "elsewhere"][..], "it is for elsewhere"),
        (&["-n", &address, "-V", "20200101:20200102"][..], "it was valid until"),
        (&[][..], "it is for no host"),
    ] {
        certify(arguments).await;
        let error = connect("root", host, &trusting).await.expect_err(reason);
        assert!(matches!(&error, SshError::HostCertificate { reason: why, .. } if why.contains(reason)), "{error}");
    }
}
