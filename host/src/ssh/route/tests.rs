//! Precedence of settings, and routes through other hosts.

use tempfile::TempDir;

use super::*;

fn environment(home: &TempDir) -> Environment {
    Environment {
        home: home.path().to_owned(),
        user: "me".to_owned(),
        uid: getuid().as_raw(),
        agent: Some("/run/agent".into()),
        local_host: "desk".to_owned(),
    }
}

fn with_config(text: &str) -> (TempDir, Settings) {
    let home = TempDir::new().expect("a directory");
    let file = home.path().join("config");
    std::fs::write(&file, text).expect("written");
    (home, Settings { config_file: Some(file), ..Settings::default() })
}

fn names(hops: &[Hop]) -> Vec<String> {
    hops.iter().map(|hop| format!("{}@{}:{}", hop.user, hop.host, hop.port)).collect()
}

#[test]
fn target_before_settings_before_ssh_config_before_defaults() {
    let (home, mut settings) = with_config("Host web\n HostName %h.example\n User config\n Port 1\n");
    let go = |target: &str, settings: &Settings| {
        let (hops, _) = plan(&target.parse().expect("a target"), settings, &environment(&home)).expect("a way");
        names(&hops)
    };
    assert_eq!(go("other", &settings), ["me@other:22"]);
    assert_eq!(go("web", &settings), ["config@web.example:1"]);
    settings.user = Some("settings".to_owned());
    settings.port = Some(2);
    assert_eq!(go("web", &settings), ["settings@web.example:2"]);
    assert_eq!(go("root@web:3", &settings), ["root@web.example:3"]);
}

#[test]
fn defaults_are_those_of_ssh() {
    let home = TempDir::new().expect("a directory");
    let settings = Settings { config_file: Some("none".into()), ..Settings::default() };
    let (hops, _) = plan(&"web".parse().expect("a target"), &settings, &environment(&home)).expect("a way");
    let [hop] = hops.as_slice() else { panic!("{hops:?}") };
    assert_eq!(hop.host_keys, HostKeyPolicy::Strict);
    assert_eq!(hop.agent.as_deref(), Some(Path::new("/run/agent")));
    assert_eq!(hop.known_hosts[0], home.path().join(".ssh/known_hosts"));
    assert_eq!(hop.known_hosts[2], Path::new("/etc/ssh/ssh_known_hosts"));
    assert!(hop.keys.iter().all(|key| key.origin == Origin::Default) && hop.keys.len() == 3, "{:?}", hop.keys);
}

#[test]
fn jumps_have_their_own_blocks_and_the_first_its_own_jump() {
    let (home, settings) = with_config(
        "Host inner\n ProxyJump a,b:5\nHost a\n ProxyJump outer\n User a\nHost b\n ProxyJump never\n User b\nHost outer\n HostName o.example\n",
    );
    let settings = Settings { user: Some("root".to_owned()), port: Some(9), ..settings };
    let (hops, _) = plan(&"inner".parse().expect("a target"), &settings, &environment(&home)).expect("a way");
    assert_eq!(names(&hops), ["me@o.example:22", "a@a:22", "b@b:5", "root@inner:9"]);
    let other = Settings { proxy_jump: vec!["x@c".parse().expect("a target")], ..settings };
    let (hops, _) = plan(&"inner".parse().expect("a target"), &other, &environment(&home)).expect("a way");
    assert_eq!(names(&hops), ["x@c:22", "root@inner:9"]);
}

#[test]
fn circles_and_proxy_commands_are_refused() {
    for text in ["Host *\n ProxyJump way\n", "Host way\n ProxyJump web\nHost web\n ProxyJump way\n"] {
        let (home, settings) = with_config(text);
        let error = plan(&"web".parse().expect("a target"), &settings, &environment(&home)).expect_err("a circle");
        assert!(matches!(error, SshError::JumpLoop { .. }), "{error}");
    }
    let (home, settings) = with_config("Host *\n ProxyCommand nc %h %p\n");
    let error = plan(&"web".parse().expect("a target"), &settings, &environment(&home)).expect_err("not supported");
    assert!(matches!(error, SshError::Config { line: 2, .. }), "{error}");
    let direct = Settings { proxy_jump: vec!["way".parse().expect("a target")], ..settings };
    let error =
        plan(&"web".parse().expect("a target"), &direct, &environment(&home)).expect_err("for the jump host too");
    assert!(matches!(error, SshError::Config { line: 2, .. }), "{error}");
}

#[test]
fn settings_are_read_from_a_document_and_unknown_ones_are_refused() {
    let text =
        r#"{"user":"root","hostKeys":"accept-new","proxyJump":["me@way:2222"],"connectTimeout":"3s","sudo":"never"}"#;
    let settings: Settings = serde_json::from_str(text).expect("settings");
    assert_eq!(settings.host_keys, Some(HostKeyPolicy::AcceptNew));
    assert_eq!(settings.proxy_jump[0].port, Some(2222));
    assert!(settings.use_agent);
    let again: Settings = serde_json::from_str(&serde_json::to_string(&settings).expect("text")).expect("settings");
    assert_eq!(again, settings);
    assert!(serde_json::from_str::<Settings>(r#"{"password":"x"}"#).is_err());
}
