//! Whole files of ssh_config.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::ssh::SshError;

fn source(directory: &TempDir, text: &[u8]) -> Source {
    let file = directory.path().join("config");
    std::fs::write(&file, text).expect("written");
    Source { file, includes: directory.path().to_owned(), required: true, private: false }
}

fn tokens() -> Tokens {
    Tokens {
        home: "/home/me".into(),
        host: "web.example".to_owned(),
        original: "web".to_owned(),
        port: 2222,
        remote_user: "root".to_owned(),
        local_user: "me".to_owned(),
        local_host: "desk.example".to_owned(),
        ..Tokens::default()
    }
}

fn config_of(host: &str, text: &str) -> Result<HostConfig, SshError> {
    let directory = TempDir::new().expect("a directory");
    read(&[source(&directory, text.as_bytes())], host, &tokens())
}

#[test]
fn the_first_value_counts_and_files_add_up() {
    let text = "Port 1\nHost web *.lab !x.lab\n  User=a\n  Port 2\n  IdentityFile ~/a\nHost *\n  User b\n  IdentityFile \"b c\"\n  identityfile ~/a\n";
    let config = config_of("web", text).expect("read");
    assert_eq!((config.user.as_deref(), config.port), (Some("a"), Some(1)));
    assert_eq!(config.identity_files.as_deref(), Some(&["~/a".to_owned(), "b c".to_owned()][..]));
    assert_eq!(config_of("x.lab", text).expect("read").user.as_deref(), Some("b"));
    assert_eq!(config_of("y.lab", text).expect("read").user.as_deref(), Some("a"));
}

#[test]
fn keywords_have_their_kinds() {
    let text = "HostName %h.example\nIdentitiesOnly yes\nUserKnownHostsFile a b\nGlobalKnownHostsFile none\nHashKnownHosts no\n\
                StrictHostKeyChecking accept-new\nConnectTimeout 1m30s\nServerAliveInterval 5\nHostKeyAlias Web\n\
                ProxyJump me@a:22,ssh://[fd00::1]:23\nIdentityAgent none\nIdentityFile none\nSendEnv LANG\nNoSuch thing\n";
    let config = config_of("web", text).expect("read");
    assert_eq!(config.host_name.as_deref(), Some("%h.example"));
    assert_eq!((config.identities_only, config.hash_known_hosts), (Some(true), Some(false)));
    assert_eq!(config.user_known_hosts.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!(config.host_keys, Some(HostKeyPolicy::AcceptNew));
    assert_eq!(
        (config.connect_timeout, config.keep_alive),
        (Some(Duration::from_secs(90)), Some(Duration::from_secs(5)))
    );
    let jumps: Vec<String> = config.proxy_jump.expect("jumps").iter().map(ToString::to_string).collect();
    assert_eq!(jumps, ["me@a:22", "[fd00::1]:23"]);
    assert_eq!(config.identity_files, Some(Vec::new()));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn whichever_of_jump_and_command_comes_first_counts() {
    let jump = config_of("web", "ProxyJump a\nProxyCommand nc %h %p").expect("read");
    assert!(jump.proxy_command.is_none() && jump.proxy_jump.is_some());
    let command = config_of("web", "ProxyCommand nc %h %p\nProxyJump a").expect("read");
    assert_eq!(command.proxy_command.map(|(_, line)| line), Some(1));
    assert!(command.proxy_jump.is_none());
    let none = config_of("web", "ProxyCommand none\nProxyCommand nc\nProxyJump a").expect("read");
    assert_eq!((none.proxy_command, none.proxy_jump), (None, Some(Vec::new())));
}

#[test]
fn wrong_lines_are_named() {
    for (line, reason) in [
        ("Port x", "is no port"),
        ("Port 0", "is no port"),
        ("Port", "has no value"),
        ("User \"", "not closed"),
        ("IdentitiesOnly maybe", "neither yes nor no"),
        ("StrictHostKeyChecking sometimes", "no way to check"),
        ("ConnectTimeout soon", "is no time"),
        ("ConnectTimeout 99999999999999999999", "is no time"),
        ("ConnectTimeout 9999999999999999999w", "is no time"),
        ("ProxyJump a,,b", "is no SSH target"),
        ("Include", "has no value"),
    ] {
        let error = config_of("web", &format!("# one\n{line}\n")).expect_err(line);
        assert!(
            matches!(&error, SshError::Config { line: 2, reason: why, .. } if why.contains(reason)),
            "{line}: {error}"
        );
        // elsewhere it does not count, whatever it says
        if !reason.contains("not closed") && line != "Include" {
            config_of("web", &format!("Host other\n{line}\n")).expect("not ours");
        }
    }
}

#[test]
fn match_all_counts_and_other_conditions_are_warned_about() {
    let config =
        config_of("web", "Match host web\n User a\nMatch all\n User b\nMatch exec \"true\"\n User c\n").expect("read");
    assert_eq!(config.user.as_deref(), Some("b"));
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].contains("config:1: Match host web"), "{:?}", config.warnings);
}

#[test]
fn includes_are_read_in_order_where_they_count() {
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
    write("a.conf", "User a\nHost other\n Port 5\n");
    write("b.conf", "User b\nPort 6\n");
    write(".c.conf", "Port 7\n");
    let config = read(
        &[source(&directory, b"Host nobody\n Include b.conf\nHost web\n Include *.conf none.*\n Port 8\n")],
        "web",
        &tokens(),
    );
    let config = config.expect("read");
    assert_eq!((config.user.as_deref(), config.port), (Some("a"), Some(6)));
    let endless = read(&[source(&directory, b"Include config\n")], "web", &tokens()).expect_err("a circle");
    assert!(endless.to_string().contains("too deeply"), "{endless}");
}

#[test]
fn files_are_there_when_they_must_be_and_belong_to_us() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("missing");
    let missing = Source { file, includes: directory.path().to_owned(), required: false, private: true };
    assert_eq!(read(std::slice::from_ref(&missing), "web", &tokens()).expect("not needed"), HostConfig::default());
    assert!(matches!(
        read(&[Source { required: true, ..missing }], "web", &tokens()),
        Err(SshError::ConfigFile { .. })
    ));
    let own = Source { private: true, ..source(&directory, b"User a\n") };
    let tokens = Tokens { uid: nix::unistd::getuid().as_raw(), ..tokens() };
    read(std::slice::from_ref(&own), "web", &tokens).expect("ours");
    std::fs::set_permissions(&own.file, std::fs::Permissions::from_mode(0o664)).expect("ours");
    let error = read(&[own], "web", &tokens).expect_err("others may write it");
    assert!(error.to_string().contains("not trusted"), "{error}");
}

#[test]
fn tokens_are_replaced() {
    let tokens = tokens();
    let path = |text: &str| tokens.path(text).map(|path| path.display().to_string());
    assert_eq!(path("~/.ssh/%h-%p-%r-%u-%n-%%").expect("known"), "/home/me/.ssh/web.example-2222-root-me-web-%");
    assert_eq!(path("%d/%L").expect("known"), "/home/me/desk");
    assert_eq!(path("~").expect("known"), "/home/me");
    for text in ["%C", "100%", "~other/key", "${NO_SUCH_VARIABLE}/x", "${"] {
        assert!(tokens.path(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_stop_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let directory = TempDir::new().expect("a directory");
        let _ = read(&[source(&directory, &bytes)], "web", &tokens());
    }

    /// Nearer to the real thing than bytes.
    #[test]
    fn no_words_stop_the_reader(
        lines in proptest::collection::vec(
            ("(Host|Match|Include|Port|User|IdentityFile|ProxyJump|ConnectTimeout|StrictHostKeyChecking|HostName)", "[ =\t\"]{0,3}", "[a-z0-9*?!%~$,@:\"'\\\\ ]{0,20}"),
            0..6,
        ),
    ) {
        let directory = TempDir::new().expect("a directory");
        let text: String = lines.iter().map(|(keyword, gap, rest)| format!("{keyword}{gap}{rest}\n")).collect();
        let _ = read(&[source(&directory, text.as_bytes())], "web", &tokens());
    }

    #[test]
    fn no_token_stops_the_reader(text in ".{0,40}") {
        let _ = tokens().path(&text);
        let _ = Path::new(&text);
    }
}
