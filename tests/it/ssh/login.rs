//! Who is let in with which key, and how commands become root.

use std::os::unix::fs::PermissionsExt;

use junio_host::ssh::{Connection, NoPrompter, Settings, SshError, SudoPolicy};
use junio_lab::{LabHost, Suite};
use tempfile::TempDir;

use super::{Agent, Answers, add_user, connect, new_key, path, settings, ssh_keygen, target, who};
use crate::support::TestLab;

#[tokio::test]
async fn keys_let_in_and_sudo_makes_root() {
    let lab = TestLab::plain("sshlogin", Suite::Trixie, 1).await;
    let host = lab.at(1);
    keys(&lab, host).await;
    sudo(&lab, host).await;
}

async fn keys(lab: &TestLab, host: &LabHost) {
    let directory = TempDir::new().expect("a directory");
    let (_, stranger) = new_key(&directory, "stranger", "ed25519", "");
    let (locked, locked_public) = new_key(&directory, "locked", "ed25519", "open sesame");
    let (ecdsa, ecdsa_public) = new_key(&directory, "ecdsa", "ecdsa", "");
    let (rsa, rsa_public) = new_key(&directory, "rsa", "rsa", "");
    add_user(host, "keys", &[locked_public, ecdsa_public, rsa_public].concat()).await;
    assert!(!stranger.is_empty());
    let base = Settings { sudo: SudoPolicy::Never, ..settings(lab) };
    let with = |file: &std::path::Path| Settings { identity_files: vec![file.to_owned()], ..base.clone() };

    for file in [&ecdsa, &rsa] {
        assert_eq!(who(&connect("keys", host, &with(file)).await.expect("let in")).await, "keys");
    }

    let refused = connect("keys", host, &with(&directory.path().join("stranger"))).await.expect_err("a stranger");
    let SshError::NoKeyAccepted { user, port: 22, tried, methods, .. } = &refused else { panic!("{refused}") };
    assert_eq!((user.as_str(), methods.as_slice()), ("keys", &["publickey".to_owned()][..]), "{refused}");
    assert!(tried.len() == 1 && tried[0].ends_with("stranger"), "{refused}");

    // the passphrase is asked for, and only for a key that the host would take
    let asking = Answers { passphrase: Some("open sesame"), ..Answers::default() };
    let connection = Connection::connect(&target("keys", host), &with(&locked), &asking).await.expect("let in");
    assert_eq!(who(&connection).await, "keys");
    let refused =
        Connection::connect(&target("root", host), &with(&locked), &NoPrompter).await.expect_err("not root's");
    assert!(matches!(refused, SshError::NoKeyAccepted { .. }), "{refused}");
    for (answers, expected) in [(None, false), (Some("wrong"), true)] {
        let asking = Answers { passphrase: answers, ..Answers::default() };
        let error = Connection::connect(&target("keys", host), &with(&locked), &asking).await.expect_err("locked");
        assert!(matches!(&error, SshError::KeyEncrypted { wrong, .. } if *wrong == expected), "{error}");
    }
    // another key that opens is enough
    let both = Settings { identity_files: vec![locked.clone(), ecdsa.clone()], ..base.clone() };
    connect("keys", host, &both).await.expect("let in with the second key");

    // a certificate beside a key lets in where the key alone does not
    let (signed, _) = new_key(&directory, "signed", "ed25519", "");
    let (ca, ca_public) = new_key(&directory, "userca", "ed25519", "");
    host.write_file("/etc/ssh/user_ca.pub", 0o644, ca_public.as_bytes()).await.expect("written");
    let trust =
        "echo 'TrustedUserCAKeys /etc/ssh/user_ca.pub' > /etc/ssh/sshd_config.d/ca.conf && systemctl restart ssh";
    host.check(&["sh", "-c", trust]).await.expect("sshd trusts the authority");
    let error = connect("keys", host, &with(&signed)).await.expect_err("not signed yet");
    assert!(matches!(error, SshError::NoKeyAccepted { .. }), "{error}");
    ssh_keygen(&["-q", "-s", path(&ca), "-I", "me", "-n", "keys", path(&signed.with_extension("pub"))]);
    assert_eq!(who(&connect("keys", host, &with(&signed)).await.expect("let in")).await, "keys");

    std::fs::set_permissions(&ecdsa, std::fs::Permissions::from_mode(0o640)).expect("ours");
    let error = connect("keys", host, &with(&ecdsa)).await.expect_err("readable by others");
    assert!(matches!(error, SshError::KeyMode { mode: 0o640, .. }), "{error}");
    let error = connect("keys", host, &with(&directory.path().join("missing"))).await.expect_err("missing");
    assert!(matches!(error, SshError::Key { .. }), "{error}");

    // an agent with more keys than the host has patience: the named one is tried first
    let mut agents_keys = vec![rsa.clone()];
    for number in 0..7 {
        agents_keys.insert(0, new_key(&directory, &format!("agent{number}"), "ed25519", "").0);
    }
    let agents_keys: Vec<_> = agents_keys.iter().map(std::path::PathBuf::as_path).collect();
    let agent = Agent::with(&directory, &agents_keys).await;
    let by_agent = Settings { use_agent: true, agent: Some(agent.socket.clone()), ..base.clone() };
    let named = Settings { identity_files: vec![rsa.clone()], ..by_agent.clone() };
    assert_eq!(who(&connect("keys", host, &named).await.expect("let in")).await, "keys");
    let unnamed = Settings { identity_files: vec![directory.path().join("stranger")], ..by_agent };
    let error = connect("keys", host, &unnamed).await.expect_err("too many keys");
    assert!(matches!(&error, SshError::NoKeyAccepted { tried, .. } if tried.len() == 6), "{error}");
    // without its file, from the agent alone
    let few = TempDir::new().expect("a directory");
    let agent = Agent::with(&few, &[&rsa]).await;
    let config = few.path().join("config");
    std::fs::write(&config, format!("Host *\n IdentityFile none\n IdentityAgent {}\n", agent.socket.display()))
        .expect("written");
    let alone = Settings { config_file: Some(config), identity_files: Vec::new(), use_agent: true, ..base };
    assert_eq!(who(&connect("keys", host, &alone).await.expect("let in by the agent")).await, "keys");
}

async fn sudo(lab: &TestLab, host: &LabHost) {
    let directory = TempDir::new().expect("a directory");
    let (key, public) = new_key(&directory, "admin", "ed25519", "");
    for user in ["free", "asked", "nobody2"] {
        add_user(host, user, &public).await;
    }
    let rights = "printf 'free ALL=(ALL) NOPASSWD: ALL\\nasked ALL=(ALL) ALL\\n' > /etc/sudoers.d/lab && \
                  echo 'asked:the password' | chpasswd && echo 'nobody2:the password' | chpasswd";
    host.check(&["sh", "-c", rights]).await.expect("rights");
    let settings = Settings { identity_files: vec![key], ..settings(lab) };

    let free = connect("free", host, &settings).await.expect("let in");
    assert_eq!((who(&free).await.as_str(), free.user()), ("root", "free"));

    let knows = Answers { sudo: Some("the password"), ..Answers::default() };
    let asked = Connection::connect(&target("asked", host), &settings, &knows).await.expect("let in");
    // the input reaches the command whole, and the password does not, however often sudo asks
    for _ in 0..2 {
        let output = asked
            .run(&["sh", "-c", "id -u; cat; ps -ww -eo args >&2"], Some(b"first line\nsecond"))
            .await
            .expect("runs");
        assert_eq!(output.stdout_text(), "0\nfirst line\nsecond", "{}", output.stderr_text());
        assert!(!output.stderr_text().contains("the password"), "it is among the arguments of a process");
    }
    // where sudo does not ask after all, the command still gets its input and nothing else
    host.check(&["sh", "-c", "echo 'asked ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz"]).await.expect("rights");
    let output = asked.run(&["cat"], Some(b"payload")).await.expect("runs");
    assert_eq!(output.stdout, b"payload");
    host.check(&["rm", "/etc/sudoers.d/zz"]).await.expect("removed");

    let error = connect("asked", host, &settings).await.expect_err("nobody to ask");
    assert!(matches!(error, SshError::SudoPassword { .. }), "{error}");
    let wrong = Answers { sudo: Some("another"), ..Answers::default() };
    let error = Connection::connect(&target("asked", host), &settings, &wrong).await.expect_err("wrong");
    assert!(matches!(&error, SshError::SudoRefused { reason, .. } if reason.contains("wrong")), "{error}");
    let error = Connection::connect(&target("nobody2", host), &settings, &knows).await.expect_err("no right");
    assert!(matches!(&error, SshError::SudoRefused { reason, .. } if reason.contains("sudoers")), "{error}");
    let never = Settings { sudo: SudoPolicy::Never, ..settings };
    assert_eq!(who(&connect("nobody2", host, &never).await.expect("let in")).await, "nobody2");
}
