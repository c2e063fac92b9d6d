//! The binary as a user meets it: output, streams, exit codes. Needs no root, no Docker and no bundle.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn junioadm(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_junioadm"));
    command.args(arguments).env_remove("JUNIOADM_BUNDLE").env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command
}

fn with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("takes its input");
    child.wait_with_output().expect("ends")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("ended by itself")
}

#[test]
fn help_goes_to_stdout_and_names_the_commands() {
    let output = junioadm(&["--help"]);
    assert_eq!(code(&output), 0);
    for word in ["init", "reset", "token", "config", "lab", "explain", "export KUBECONFIG=/etc/kubernetes/admin.conf"] {
        assert!(out(&output).contains(word), "{word}");
    }
    assert_eq!(err(&output), "");
}

#[test]
fn init_help_has_every_flag_of_kubeadm_init() {
    let help = out(&junioadm(&["init", "--help"]));
    for flag in
        "apiserver-advertise-address apiserver-bind-port apiserver-cert-extra-sans cert-dir certificate-key config \
                 control-plane-endpoint cri-socket dry-run feature-gates ignore-preflight-errors image-repository \
                 kubernetes-version node-name patches pod-network-cidr service-cidr service-dns-domain \
                 skip-certificate-key-print skip-phases skip-token-print token token-ttl upload-certs"
            .split_whitespace()
    {
        assert!(help.contains(&format!("--{flag} ")) || help.contains(&format!("--{flag}\n")), "--{flag} is missing");
    }
}

#[test]
fn phase_help_lists_phases_in_order() {
    let help = out(&junioadm(&["init", "phase", "--help"]));
    let places: Vec<usize> = ["preflight", "/apiserver-kubelet-client", "wait-control-plane", "/flannel"]
        .iter()
        .map(|name| help.find(name).expect(name))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in
        [&["banana"][..], &["init", "--banana"], &["init", "--token", "short"], &["token", "delete"], &["lab", "down"]]
    {
        let output = junioadm(arguments);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{arguments:?}");
    }
    let refused = err(&junioadm(&["init", "--token", "tiny.secret"]));
    assert!(refused.contains("abcdef.0123456789abcdef"), "{refused}");
}

#[test]
fn version_has_all_forms() {
    assert!(out(&junioadm(&["version"])).contains("Kubernetes v1.36.3"));
    assert_eq!(out(&junioadm(&["version", "-o", "short"])).trim(), env!("CARGO_PKG_VERSION"));
    let json: Value = serde_json::from_str(&out(&junioadm(&["version", "-o", "json"]))).expect("JSON");
    assert_eq!(json["kubernetes"], "v1.36.3");
    assert!(out(&junioadm(&["version", "-o", "yaml"])).contains("kubernetes: v1.36.3"));
}

#[test]
fn printed_defaults_are_valid_input() {
    let printed = out(&junioadm(&[
        "config",
        "print",
        "init-defaults",
        "--component-configs",
        "KubeletConfiguration,KubeProxyConfiguration",
    ]));
    assert_eq!(printed.matches("\nkind: ").count(), 4, "{printed}");
    for kind in ["init-defaults", "join-defaults", "reset-defaults", "upgrade-defaults"] {
        let printed = out(&junioadm(&["config", "print", kind]));
        let checked = with_input(&["config", "validate", "--config", "-"], &printed);
        assert_eq!((code(&checked), out(&checked).as_str()), (0, "ok\n"), "{kind}: {}", err(&checked));
    }
}

#[test]
fn a_misspelt_field_is_shown_with_its_line() {
    let text =
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  podSubnets: 10.244.0.0/16\n";
    let output = with_input(&["config", "validate", "--config", "-"], text);
    assert_eq!(code(&output), 2);
    let shown = err(&output);
    for part in [
        "did you mean \"podSubnet\"?",
        "--> -:4:3",
        "4 |   podSubnets: 10.244.0.0/16",
        "JUNIO-CONFIG-UNKNOWN-FIELD",
        "next: ",
    ] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
}

#[test]
fn all_wrong_values_are_shown_at_once_each_with_its_line() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  podSubnet: 10.96.0.0/16\nclusterName: x\n\
                certificatesDir: relative\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {name: UPPER}\n";
    let output = with_input(&["init", "--dry-run", "--config", "-"], text);
    assert_eq!(code(&output), 2);
    let shown = err(&output);
    for part in
        ["3 mistakes", "overlaps the service subnet", "--> -:4:3", "--> -:6:1", "--> -:10:20", "JUNIO-CONFIG-INVALID"]
    {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
}

#[test]
fn a_secret_in_a_wrong_line_is_not_shown() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: abcdef.NOT-A-TOKEN-BUT-SECRET\n";
    let shown = err(&with_input(&["config", "validate", "--config", "-"], text));
    assert!(shown.contains("[REDACTED]") && !shown.contains("BUT-SECRET"), "{shown}");
}

#[test]
fn errors_are_json_where_output_is() {
    let output = with_input(&["init", "-o", "json", "--config", "-"], "apiVersion: v1\nkind: Pod\n");
    assert_eq!(code(&output), 2);
    let shown = err(&output);
    let last: Value = serde_json::from_str(shown.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["type"], &last["code"], &last["exitCode"]),
        (&"error".into(), &"JUNIO-CONFIG-KIND".into(), &2.into())
    );
    assert_eq!(last["problems"][0]["line"], 2);
}

#[test]
fn flags_that_a_file_says_itself_cannot_stand_beside_it() {
    let output = junioadm(&["init", "--config", "x.yaml", "--pod-network-cidr", "10.0.0.0/16", "--dry-run"]);
    assert_eq!(code(&output), 2);
    // the file does not exist, which is found first; with one that does, the mix is refused
    let text = out(&junioadm(&["config", "print", "init-defaults"]));
    let mixed = with_input(
        &["init", "--config", "-", "--pod-network-cidr", "10.0.0.0/16", "--token-ttl", "1h", "--dry-run"],
        &text,
    );
    assert_eq!(code(&mixed), 2);
    assert!(
        err(&mixed).contains("can not mix '--config' with arguments [pod-network-cidr token-ttl]"),
        "{}",
        err(&mixed)
    );
}

#[test]
fn an_old_version_is_refused_and_can_be_migrated() {
    let old = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer:\n  timeoutForControlPlane: 6m0s\n  extraArgs:\n    v: \"4\"\n";
    let refused = with_input(&["init", "--dry-run", "--config", "-"], old);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("JUNIO-CONFIG-OLD-VERSION") && err(&refused).contains("config migrate"),
        "{}",
        err(&refused)
    );
    let migrated = with_input(&["config", "migrate", "--old-config", "-"], old);
    assert_eq!(code(&migrated), 0, "{}", err(&migrated));
    assert!(out(&migrated).contains("controlPlaneComponentHealthCheck: 6m0s"), "{}", out(&migrated));
    let checked = with_input(&["config", "validate", "--config", "-"], &out(&migrated));
    assert_eq!(out(&checked), "ok\n", "{}", err(&checked));
}

#[test]
fn images_are_listed_without_a_bundle() {
    let plain = out(&junioadm(&["config", "images", "list"]));
    assert!(plain.starts_with("registry.k8s.io/kube-apiserver:v1.36.3\n"), "{plain}");
    assert_eq!(plain.lines().count(), 8);
    let named = out(&junioadm(&["config", "images", "list", "--image-repository", "example.org/k8s"]));
    assert!(named.lines().all(|line| line.starts_with("example.org/k8s/")), "{named}");
    let file = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nimageRepository: example.net/x\n";
    let json = out(&with_input(&["config", "images", "list", "--config", "-", "-o", "json"], file));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["images"][0], "example.net/x/kube-apiserver:v1.36.3");
}

#[test]
fn generated_secrets_have_the_right_form_and_differ() {
    let token = || out(&junioadm(&["token", "generate"]));
    let (first, second) = (token(), token());
    assert!(first.trim().parse::<junio_api::Token>().is_ok() && first != second);
    let key = out(&junioadm(&["certs", "certificate-key"]));
    assert!(junio_api::config::validate::is_certificate_key(key.trim()), "{key}");
}

#[test]
fn unknown_phases_are_refused_before_anything_happens() {
    for arguments in [
        &["init", "--skip-phases", "banana"][..],
        &["init", "phase", "certs", "banana"],
        &["reset", "--skip-phases", "certs"],
    ] {
        let output = junioadm(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(err(&output).contains("invalid phase name"), "{}", err(&output));
    }
}

#[test]
fn reset_asks_and_takes_no_for_an_answer() {
    let output = with_input(&["reset"], "n\n");
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("[y/N]") && err(&output).contains("nothing was changed"), "{}", err(&output));
}

#[test]
fn codes_are_explained_with_and_without_prefix() {
    let long = junioadm(&["explain", "JUNIO-CONFIG-UNKNOWN-FIELD"]);
    let short = junioadm(&["explain", "config-unknown-field"]);
    assert_eq!((code(&long), out(&long)), (0, out(&short)));
    assert!(out(&long).contains("case-sensitive"));
    assert_eq!(code(&junioadm(&["explain", "JUNIO-BANANA"])), 2);
    assert!(out(&junioadm(&["explain"])).lines().count() > 40);
}

#[test]
fn completion_scripts_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&junioadm(&["completion", shell])).contains("junioadm"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = command(&["config", "print", "init-defaults"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = command(&["version"]).stdout(full).output().expect("runs");
    assert_ne!(code(&output), 0);
    assert!(err(&output).contains("JUNIO-STDOUT"), "{}", err(&output));
}

#[test]
fn expiration_of_an_empty_directory_shows_everything_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = junioadm(&["certs", "check-expiration", "--cert-dir", &directory.path().display().to_string()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("!MISSING! apiserver") && out(&output).contains("RESIDUAL TIME"), "{}", out(&output));
}
