//! The way to a host: ssh_config, jump hosts, hosts that are not there.

use std::time::Duration;

use junio_api::duration::GoDuration;
use junio_host::ssh::{Connection, NoPrompter, Settings, SshError, Target};
use junio_lab::Suite;
use tempfile::TempDir;

use super::{connect, known_hosts, path, settings, target, who};
use crate::support::TestLab;

#[tokio::test]
async fn a_host_is_reached_through_another_and_each_is_verified() {
    let lab = TestLab::plain("sshway", Suite::Bookworm, 2).await;
    let (bastion, inner) = (lab.at(1), lab.at(2));
    let directory = TempDir::new().expect("a directory");
    let bare = settings(&lab);
    let through = Settings { proxy_jump: vec![target("root", bastion)], ..bare.clone() };
    let connection = connect("root", inner, &through).await.expect("through the first host");
    let host = connection.run(&["sh", "-c", "hostname; echo $SSH_CONNECTION"], None).await.expect("runs").stdout_text();
    assert!(host.starts_with(&format!("{}\n{}", inner.name(), bastion.address())), "{host}");
    assert_eq!(connection.identities().count(), 2);
    connection.close().await;

    // by ssh_config alone: aliases, an include, a jump with an alias of its own, keys and known hosts with tokens
    let known = std::fs::read_to_string(lab.known_hosts()).expect("text");
    known_hosts(&directory, "known_22", &known);
    std::fs::write(
        directory.path().join("more.conf"),
        format!("Host inner\n  HostName {}\n  ProxyJump way\n  User=root\n", inner.address()),
    )
    .expect("written");
    let config = directory.path().join("config");
    let text = format!(
        "Include {0}/more.*\nMatch exec true\n  User nobody\nHost way\n  HostName {1}\nHost *\n  User root\n  IdentitiesOnly yes\n  \
         IdentityFile \"{2}\"\n  UserKnownHostsFile {0}/known_%p\n  GlobalKnownHostsFile none\n  Unheard of\n",
        path(directory.path()),
        bastion.address(),
        path(&lab.ssh_key()),
    );
    std::fs::write(&config, text).expect("written");
    let by_config = Settings { config_file: Some(config), ..Settings::default() };
    let alias: Target = "inner".parse().expect("a target");
    let connection = Connection::connect(&alias, &by_config, &NoPrompter).await.expect("by ssh_config");
    assert_eq!(who(&connection).await, "root");
    assert!(connection.warnings().iter().any(|warning| warning.contains("config:2")), "{:?}", connection.warnings());

    // the jump host is verified as strictly as the target
    let only_inner: String =
        known.lines().filter(|line| line.contains(inner.name())).map(|line| format!("{line}\n")).collect();
    let file = known_hosts(&directory, "inner_only", &only_inner);
    let error =
        connect("root", inner, &Settings { known_hosts: vec![file], ..through.clone() }).await.expect_err("unknown");
    assert!(
        matches!(&error, SshError::UnknownHostKey { host, .. } if *host == bastion.address().to_string()),
        "{error}"
    );
    let swapped = known.replace(bastion.name(), "nobody").replace(&inner.address().to_string(), "1.2.3.4");
    let file = known_hosts(&directory, "swapped", &swapped);
    let error =
        connect("root", inner, &Settings { known_hosts: vec![file], ..through.clone() }).await.expect_err("unknown");
    assert!(matches!(&error, SshError::UnknownHostKey { host, .. } if *host == inner.address().to_string()), "{error}");

    nobody_there(&lab, &through).await;
}

/// Each kind of absence has its own error, and none takes longer than it may.
async fn nobody_there(lab: &TestLab, through: &Settings) {
    let (bastion, inner) = (lab.at(1), lab.at(2));
    let bare = Settings { connect_timeout: Some(GoDuration::from_secs(2)), ..settings(lab) };
    let go = async |target: &str, settings: &Settings| {
        let target: Target = target.parse().expect("a target");
        let connecting = Connection::connect(&target, settings, &NoPrompter);
        let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await.expect("it ends");
        connected.expect_err("nobody is there")
    };
    let error = go(&format!("root@{}:1", bastion.address()), &bare).await;
    assert!(matches!(error, SshError::Refused { port: 1, .. }), "{error}");
    let error = go("root@no-such-host.invalid", &bare).await;
    assert!(matches!(&error, SshError::Resolve { host, .. } if host == "no-such-host.invalid"), "{error}");
    let error = go(&format!("root@{}:1", inner.address()), through).await;
    assert!(matches!(&error, SshError::Unreachable { via: Some(_), .. }), "{error}");
    // something that listens and is no SSH server, and something that listens and says nothing
    bastion.check(&["sh", "-c", "socat TCP-LISTEN:81,fork,reuseaddr SYSTEM:'echo hello; sleep 1' & socat TCP-LISTEN:82,fork,reuseaddr SYSTEM:'sleep 60' & exit 0"])
        .await
        .expect("listening");
    let silent = go(&format!("root@{}:82", bastion.address()), &bare).await;
    assert!(matches!(silent, SshError::Timeout { port: 82, .. }), "{silent}");
    let error = go(&format!("root@{}:81", bastion.address()), &bare).await;
    assert!(matches!(error, SshError::Handshake { port: 81, .. } | SshError::Timeout { port: 81, .. }), "{error}");
    inner.power_off().await.expect("the plug is pulled");
    let error = go(&format!("root@{}", inner.address()), &bare).await;
    assert!(matches!(error, SshError::Timeout { .. } | SshError::Unreachable { .. }), "{error}");
}
