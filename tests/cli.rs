//! The binary as a user meets it: output, streams, exit codes. Needs no root, no Docker and no bundle.

use std::collections::BTreeSet;
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
fn join_help_has_every_flag_of_kubeadm_join_for_workers() {
    let help = out(&junioadm(&["join", "--help"]));
    for flag in "config cri-socket discovery-file discovery-token discovery-token-ca-cert-hash \
                 discovery-token-unsafe-skip-ca-verification dry-run ignore-preflight-errors node-name patches \
                 skip-phases tls-bootstrap-token token output"
        .split_whitespace()
    {
        assert!(help.contains(&format!("--{flag} ")) || help.contains(&format!("--{flag}\n")), "--{flag} is missing");
    }
    for phase in ["preflight", "kubelet-start", "kubelet-wait-bootstrap"] {
        assert!(help.contains(&format!("\n  {phase} ")), "{phase} is missing");
    }
}

#[test]
fn join_without_a_way_to_find_the_cluster_says_what_is_missing() {
    let output = junioadm(&["join"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--discovery-token-ca-cert-hash"), "{}", err(&output));
    let output = junioadm(&["join", "10.0.0.1:6443", "--token", "abcdef.0123456789abcdef"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--discovery-token-unsafe-skip-ca-verification"), "{}", err(&output));
    assert!(!err(&output).contains("0123456789abcdef"), "{}", err(&output));
    let output = junioadm(&["join", "phase", "certs"]);
    assert_eq!(code(&output), 2);
}

#[test]
fn a_token_can_be_planned_without_a_cluster() {
    let output = junioadm(&["token", "create", "abcdef.0123456789abcdef", "--dry-run"]);
    assert_eq!((code(&output), out(&output).trim()), (0, "abcdef.0123456789abcdef"), "{}", err(&output));
    let file = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: abcdef.0123456789abcdef\n";
    let output = with_input(&["token", "create", "--config", "-", "--dry-run"], file);
    assert_eq!((code(&output), out(&output).trim()), (0, "abcdef.0123456789abcdef"), "{}", err(&output));
    assert_eq!(code(&junioadm(&["token", "create", "--config", "-", "--ttl", "1h"])), 2);
    assert_eq!(code(&junioadm(&["token", "create", "--groups", "system:masters", "--dry-run"])), 2);
}

#[test]
fn phase_help_lists_phases_in_order() {
    let help = out(&junioadm(&["init", "phase", "--help"]));
    let help = help.split_once("Phases, in order:").expect("a list").1;
    let places: Vec<usize> = ["preflight", "/apiserver-kubelet-client", "wait-control-plane", "/flannel"]
        .iter()
        .map(|name| help.find(name).expect(name))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// The flags that a help text shows.
fn flags(help: &str) -> BTreeSet<String> {
    let shown = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    shown
        .filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("--")))
        .map(|flag| flag.trim_end_matches(',').to_owned())
        .collect()
}

#[test]
fn each_phase_has_the_flags_that_kubeadm_gives_it() {
    // What concerns how we run, and the bundle, which kubeadm has not.
    const OURS: [&str; 5] = ["help", "output", "bundle", "rootfs", "v"];
    for line in include_str!("reference/fixtures/phase-flags.txt").lines() {
        let (phase, theirs) = line.split_once(':').expect("PHASE: FLAGS");
        let arguments: Vec<&str> = ["init", "phase"].into_iter().chain(phase.split('/')).collect();
        let help = out(&junioadm(&[&arguments[..], &["--help"]].concat()));
        let mut ours = flags(&help);
        ours.retain(|flag| !OURS.contains(&flag.as_str()));
        let (deprecated, mut theirs): (BTreeSet<String>, BTreeSet<String>) =
            theirs.split_whitespace().map(str::to_owned).partition(|flag| flag.ends_with("-extra-args"));
        if ["wait-control-plane", "show-join-command"].contains(&phase) {
            // kubeadm cannot run these two alone; ours can, and then need to know for which configuration.
            theirs.extend(["config".to_owned(), "dry-run".to_owned()]);
        }
        assert_eq!(ours, theirs, "{phase}");
        for flag in ["apiserver-extra-args", "controller-manager-extra-args", "scheduler-extra-args"] {
            // Flags are looked at before files, and a file that is not there stops everything.
            let given = format!("--{flag}=a=b");
            let output = junioadm(&[&arguments[..], &[&given, "--config", "/dev/null/none"]].concat());
            let expected = if deprecated.contains(flag) { "cannot read /dev/null/none" } else { "unexpected argument" };
            assert!(code(&output) == 2 && err(&output).contains(expected), "{phase}: {}", err(&output));
        }
    }
}

#[test]
fn a_flag_of_another_phase_is_refused() {
    for arguments in [
        &["init", "phase", "certs", "ca", "--pod-network-cidr", "10.0.0.0/16"][..],
        &["init", "phase", "control-plane", "scheduler", "--apiserver-extra-args", "v=4"],
        &["init", "phase", "upload-config", "kubelet", "--print-manifest"],
        &["init", "phase", "addon", "all", "--print-manifest"],
        &["init", "--print-manifest"],
        &["init", "phase", "certs", "banana"],
        &["init", "phase"],
    ] {
        let output = junioadm(arguments);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{arguments:?}");
    }
    let shown = err(&junioadm(&["init", "phase", "certs", "ca", "--pod-network-cidr", "10.0.0.0/16"]));
    assert!(
        shown.contains("unexpected argument '--pod-network-cidr'") && shown.contains("init phase certs ca --help"),
        "{shown}"
    );
}

const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {advertiseAddress: 10.78.0.11}\n\
    nodeRegistration: {name: n1}\n";

#[test]
fn an_addon_is_printed_as_it_would_be_applied() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("corednsdeployment+json.yaml"),
        "- {op: replace, path: /spec/replicas, value: 5}\n",
    )
    .expect("writable");
    let config = format!(
        "{CONFIG}patches: {{directory: {}}}\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
         networking: {{dnsDomain: example.test}}\n",
        directory.path().display()
    );
    let printed = with_input(&["init", "phase", "addon", "coredns", "--print-manifest", "--config", "-"], &config);
    assert_eq!(code(&printed), 0, "{}", err(&printed));
    let text = out(&printed);
    assert!(text.starts_with("---\n"), "{text}");
    let objects: Vec<Value> =
        text[4..].split("\n---\n").map(|part| junio_api::yaml::from_str(part).expect("YAML")).collect();
    let kinds: Vec<_> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Service"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").expect("there");
    assert_eq!(deployment["spec"]["replicas"], 5);
    assert!(text.contains("kubernetes example.test in-addr.arpa"), "{text}");
    let proxy =
        out(&with_input(&["init", "phase", "addon", "kube-proxy", "--print-manifest", "--config", "-"], CONFIG));
    assert!(proxy.contains("kind: DaemonSet") && proxy.contains("https://10.78.0.11:6443"), "{proxy}");
}

/// `init phase ARGUMENTS --dry-run --config -` into a directory.
fn dry_run(directory: &std::path::Path, arguments: &[&str], config: &str) -> Output {
    let mut child = command(&[&["init", "phase"], arguments, &["--dry-run", "--config", "-"]].concat())
        .env("KUBEADM_INIT_DRYRUN_DIR", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(config.as_bytes()).expect("takes its input");
    child.wait_with_output().expect("ends")
}

#[test]
fn a_phase_alone_renders_only_its_own_files_with_their_patches() {
    let (patches, rendered) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let patch = "spec:\n  containers:\n  - name: kube-scheduler\n    resources: {requests: {cpu: 900m}}\n";
    std::fs::write(patches.path().join("kube-scheduler.yaml"), patch).expect("writable");
    let config = format!("{CONFIG}patches: {{directory: {}}}\n", patches.path().display());
    let output = dry_run(rendered.path(), &["control-plane", "scheduler"], &config);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let files: Vec<_> =
        std::fs::read_dir(rendered.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(files, ["kube-scheduler.yaml"]);
    let manifest = std::fs::read_to_string(rendered.path().join("kube-scheduler.yaml")).expect("readable");
    assert!(manifest.contains("900m"), "{manifest}");
}

#[test]
fn a_bad_patch_is_shown_with_its_line_and_stops_everything() {
    let (patches, rendered) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let cases = [
        (
            "etcd.yaml",
            "spec:\n  containers:\n  - name: etcd\n    imag: x\n",
            "etcd.yaml:4:5: unknown field \"imag\"",
            "JUNIO-PATCH-FILE",
        ),
        ("etcd+banana.yaml", "a: b\n", "patch type after '+'", "JUNIO-PATCH-FILE"),
        (
            "kube-scheduler+json.json",
            "[\n{\"op\": \"remove\", \"path\": \"/spec/none\"}]",
            "+json.json:2:1: this json patch cannot be applied",
            "JUNIO-PATCH-APPLY",
        ),
        (
            "kubeletconfiguration.yaml",
            "maxPods: many\n",
            "kubeletconfiguration.yaml:1:10: maxPods must be",
            "JUNIO-PATCH-FILE",
        ),
    ];
    for (name, text, shown, stable) in cases {
        let path = patches.path().join(name);
        std::fs::write(&path, text).expect("writable");
        let config = format!("{CONFIG}patches: {{directory: {}}}\n", patches.path().display());
        let output = dry_run(rendered.path(), &["control-plane", "all"], &config);
        assert_eq!(code(&output), 2, "{name}: {}", err(&output));
        assert!(err(&output).contains(shown) && err(&output).contains(stable), "{name}: {}", err(&output));
        assert_eq!(std::fs::read_dir(rendered.path()).expect("there").count(), 0, "{name}: nothing may be written");
        std::fs::remove_file(path).expect("removable");
    }
    let output =
        dry_run(rendered.path(), &["control-plane", "all"], &format!("{CONFIG}patches: {{directory: /no/such}}\n"));
    assert!(code(&output) == 2 && err(&output).contains("JUNIO-PATCH-DIRECTORY"), "{}", err(&output));
}

#[test]
fn deprecated_extra_arguments_still_work() {
    let rendered = tempfile::tempdir().expect("a directory");
    let output = command(&[
        "init",
        "phase",
        "control-plane",
        "apiserver",
        "--dry-run",
        "--apiserver-advertise-address",
        "10.78.0.11",
    ])
    .args(["--apiserver-extra-args", "v=4,audit-log-path=/x"])
    .env("KUBEADM_INIT_DRYRUN_DIR", rendered.path())
    .output()
    .expect("the binary runs");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(err(&output).contains("--apiserver-extra-args is deprecated"), "{}", err(&output));
    let manifest = std::fs::read_to_string(rendered.path().join("kube-apiserver.yaml")).expect("readable");
    assert!(manifest.contains("--v=4") && manifest.contains("--audit-log-path=/x"), "{manifest}");
}

#[test]
fn exit_codes_are_listed() {
    let help = out(&junioadm(&["--help"]));
    for line in ["Exit codes:", "    2   the command line", "    5   of several hosts", "    130 interrupted"] {
        assert!(help.contains(line), "{line}");
    }
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
    for arguments in [&["init", "--skip-phases", "banana"][..], &["reset", "--skip-phases", "certs"]] {
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

#[test]
fn a_cluster_that_is_printed_is_valid_and_one_with_mistakes_shows_their_lines() {
    let printed = out(&junioadm(&["config", "print", "cluster-defaults"]));
    let valid = with_input(&["config", "validate", "--config", "-"], &printed);
    assert_eq!((code(&valid), out(&valid).as_str()), (0, "ok\n"), "{printed}\n{}", err(&valid));

    let unknown = printed.replace("nodeName: node-2", "nodename: node-2");
    let refused = with_input(&["config", "validate", "--config", "-"], &unknown);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("unknown field \"nodename\" in Cluster, did you mean \"nodeName\"?"),
        "{}",
        err(&refused)
    );

    let twice = printed.replace("192.0.2.3", "root@192.0.2.2:22");
    let refused = with_input(&["apply", "-f", "-"], &twice);
    assert_eq!(code(&refused), 2);
    let line = |text: &str| twice.lines().position(|line| line.contains(text)).expect(text) + 1;
    let (first, second) = (line("192.0.2.2"), line("root@192.0.2.2:22"));
    let said = err(&refused);
    assert!(said.contains("is in spec.hosts[1] already") && said.contains(&format!("line {first}")), "{said}");
    assert!(said.contains(&format!("--> -:{second}:")), "{said}");
}

#[test]
fn embedded_documents_are_as_strict_as_files() {
    let text = "apiVersion: junioadm.io/v1alpha1\nkind: Cluster\nmetadata: {name: demo}\nspec:\n  hosts:\n  \
                - {ssh: a, role: control-plane}\n  kubeadm:\n    kubeletConfiguration:\n      maxpod: 3\n";
    let refused = with_input(&["config", "validate", "--config", "-"], text);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("KubeletConfiguration: unknown field \"maxpod\", did you mean \"maxPods\"?"),
        "{}",
        err(&refused)
    );
    assert!(err(&refused).contains("--> -:9:7"), "{}", err(&refused));

    let value = text
        .replace("kubeletConfiguration:\n      maxpod: 3", "clusterConfiguration:\n      networking: {podSubnet: x}");
    let refused = with_input(&["apply", "-f", "-"], &value);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("Cluster.spec.kubeadm.clusterConfiguration.networking.podSubnet"),
        "{}",
        err(&refused)
    );
    assert!(err(&refused).contains("--> -:9:"), "{}", err(&refused));

    let token = text.replace(
        "kubeletConfiguration:\n      maxpod: 3",
        "joinConfiguration:\n      discovery: {tlsBootstrapToken: abcdef.0123456789abcdef}",
    );
    let refused = with_input(&["apply", "-f", "-"], &token);
    assert!(code(&refused) == 2 && err(&refused).contains("a token of its own"), "{}", err(&refused));
    assert!(!err(&refused).contains("0123456789abcdef"), "{}", err(&refused));
}

#[test]
fn a_host_is_named_once_and_what_does_not_go_together_is_refused() {
    let refused = |arguments: &[&str], words: &str| {
        let output = junioadm(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    };
    refused(&["join", "--ssh", "a,root@A:22"], "is the same host as a");
    refused(&["join", "10.0.0.1:6443", "--ssh", "a"], "can not mix '--ssh' with arguments [ENDPOINT]");
    refused(&["join", "--ssh", "a", "--ssh", "b", "--node-name", "n"], "--node-name names one host");
    refused(&["join", "phase", "images", "--ssh", "a"], "a phase alone is run on its host");
    refused(&["join", "--kubeconfig", "x"], "--ssh");
    refused(&["reset", "--ssh=-oProxyCommand=x"], "SSH target");
    refused(&["apply", "-f", "x", "--drain-timeout", "1m"], "--prune");
}
