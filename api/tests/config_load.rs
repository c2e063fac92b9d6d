//! Strict loading: every mistake is found at its line and column.

use junio_api::Hint;
use junio_api::config::{
    ConfigError, HostFacts, InitDocuments, Kind, Place, defaults, load, load_init, locate, validate,
};
use proptest::prelude::*;

const HEADER: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";

fn error(text: &str) -> ConfigError {
    load(text).expect_err("must be refused")
}

fn place(line: u64, column: u64) -> Option<Place> {
    Some(Place { line, column })
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_a_suggestion() {
    let found = error(&format!("{HEADER}networking:\n  podSubnets: 10.244.0.0/16\n"));
    assert_eq!(found.to_string(), "unknown field \"podSubnets\" in ClusterConfiguration, did you mean \"podSubnet\"?");
    assert_eq!(found.place, place(4, 3));
    assert_eq!(found.code().to_string(), "JUNIO-CONFIG-UNKNOWN-FIELD");
}

#[test]
fn line_numbers_are_those_of_the_whole_text() {
    let text = format!(
        "# a comment\n---\n{HEADER}---\n\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration:\n  nam: x\n"
    );
    let found = error(&text);
    assert_eq!(found.place, place(11, 3));
    assert!(found.to_string().contains("did you mean \"name\""), "{found}");
}

#[test]
fn a_repeated_field_is_refused() {
    let found = error(&format!("{HEADER}clusterName: a\nclusterName: b\n"));
    assert_eq!(found.place, place(4, 1), "{found}");
    assert!(found.to_string().contains("clusterName"), "{found}");
}

#[test]
fn an_unknown_field_of_a_component_is_refused() {
    let found = error("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxpod: 3\n");
    assert_eq!(found.to_string(), "KubeletConfiguration: unknown field \"maxpod\", did you mean \"maxPods\"?");
    assert_eq!(found.place, place(3, 1));
    assert_eq!(found.code().to_string(), "JUNIO-CONFIG-UNKNOWN-FIELD");
}

#[test]
fn a_components_fields_are_checked_at_every_depth() {
    let header = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    let unknown = error(&format!("---\n{header}iptables:\n  syncPeriodd: 30s\n"));
    assert_eq!(unknown.place, place(5, 3));
    assert!(unknown.to_string().contains("\"syncPeriodd\" in iptables, did you mean \"syncPeriod\"?"), "{unknown}");
    let wrong = error(&format!("{header}iptables: {{masqueradeBit: fourteen}}\n"));
    assert_eq!((wrong.place, wrong.code().to_string().as_str()), (place(3, 27), "JUNIO-CONFIG-MALFORMED"));
    let good = format!("{header}conntrack: {{maxPerCore: 0}}\niptables: {{syncPeriod: 30s}}\n");
    let documents = load(&good).expect("loads");
    assert_eq!(documents.kube_proxy.expect("there").get(&["iptables", "syncPeriod"]), Some(&"30s".into()));
}

#[test]
fn a_repeated_field_of_a_component_is_refused() {
    let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nlogging:\n  verbosity: 3\n  verbosity: 4\n";
    assert_eq!(error(text).place, place(5, 3));
}

#[test]
fn the_same_kind_twice_is_refused() {
    let found = error(&format!("{HEADER}---\n{HEADER}"));
    assert_eq!((found.to_string().as_str(), found.place), ("ClusterConfiguration appears twice", place(5, 7)));
}

#[test]
fn unknown_and_old_kinds_are_told_apart() {
    assert_eq!(error("apiVersion: v1\nkind: Pod\n").code().to_string(), "JUNIO-CONFIG-KIND");
    assert_eq!(error("apiVersion: kubeadm.k8s.io/v1\nkind: Banana\n").code().to_string(), "JUNIO-CONFIG-KIND");
    let old =
        error("apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: {extraArgs: {v: \"4\"}}\n");
    assert_eq!(old.code().to_string(), "JUNIO-CONFIG-OLD-VERSION");
    assert!(old.next_step().and_then(|s| s.command).is_some_and(|c| c.contains("migrate")));
    assert_eq!(error("# nothing\n---\nfoo: bar\n").place, place(3, 1));
}

#[test]
fn syntax_errors_have_a_place() {
    let found = error(&format!("{HEADER}networking: [unclosed\n"));
    assert!(found.place.is_some(), "{found:?}");
    let wrong_type = error(&format!("{HEADER}dns: {{disabled: maybe}}\n"));
    assert_eq!(wrong_type.place, place(3, 17), "{wrong_type}");
}

#[test]
fn json_and_flow_style_are_yaml_too() {
    let json = r#"{"apiVersion":"kubeadm.k8s.io/v1beta4","kind":"ClusterConfiguration","networking":{"podSubnet":"10.244.0.0/16"},"scheduler":null}"#;
    let (documents, _) = load_init(json).expect("JSON is YAML");
    assert_eq!(documents.cluster.networking.pod_subnet, "10.244.0.0/16");
}

#[test]
fn a_block_scalar_may_hold_what_looks_like_a_marker() {
    let text = format!("{HEADER}apiServer:\n  extraArgs:\n  - name: x\n    value: |\n      ---\n      y\n");
    let (documents, _) = load_init(&text).expect("loads");
    assert_eq!(documents.cluster.api_server.extra_args[0].value, "---\ny\n");
}

#[test]
fn documents_of_other_commands_are_left_aside_with_a_warning() {
    let text = format!("{HEADER}---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n");
    let (_, warnings) = load_init(&text).expect("loads");
    assert!(warnings[0].text.contains("ResetConfiguration"));
    assert!(load_init("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n").is_err());
}

#[test]
fn fields_can_be_located_after_loading() {
    let text = format!("---\n{HEADER}apiServer:\n  certSANs:\n  - good.example\n  - \"b@d\"\n");
    assert_eq!(locate(&text, Kind::ClusterConfiguration, "apiServer.certSANs[1]"), place(7, 5));
    assert_eq!(locate(&text, Kind::ClusterConfiguration, "networking.podSubnet"), None);
    assert_eq!(locate(&text, Kind::InitConfiguration, "nodeRegistration"), None);
}

fn facts() -> HostFacts {
    HostFacts {
        hostname: "Node-1\n".into(),
        default_address: "192.0.2.7".parse().ok(),
        token: junio_api::Token::generate(),
    }
}

fn problems(text: &str) -> Vec<String> {
    let (mut documents, _) = load_init(text).expect("loads");
    defaults::apply(&mut documents, &facts());
    validate(&documents).iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_alone_are_valid() {
    let mut documents = InitDocuments::default();
    let warnings = defaults::apply(&mut documents, &facts());
    assert_eq!((warnings.len(), validate(&documents)), (0, vec![]));
    assert_eq!(documents.init.node_registration.name, "node-1");
    assert_eq!(documents.endpoint(), "192.0.2.7:6443");
}

#[test]
fn each_rule_finds_its_mistake() {
    let cases = [
        ("networking: {serviceSubnet: 10.96.0.0/29}", "too small"),
        ("networking: {serviceSubnet: 10.0.0.0/8}", "too large"),
        ("networking: {serviceSubnet: 'nonsense'}", "not a subnet"),
        ("networking: {serviceSubnet: '10.96.0.0/16,10.97.0.0/16'}", "one of each IP family"),
        ("networking: {podSubnet: 10.244.0.0/25}", "too small"),
        ("networking: {podSubnet: 10.0.0.0/7, serviceSubnet: 192.168.0.0/16}", "too large"),
        ("networking: {podSubnet: 10.100.0.0/16}", "overlaps"),
        ("networking: {dnsDomain: 'under_score'}", "not a DNS domain"),
        ("controlPlaneEndpoint: Upper.Example", "small letters"),
        ("controlPlaneEndpoint: 'lb.example:99999'", "not a port"),
        ("kubernetesVersion: v1.35.0", "carries v1.36.3 only"),
        (
            "etcd: {local: {dataDir: /x}, external: {endpoints: ['https://a:2379'], caFile: /c, certFile: /d, keyFile: /e}}",
            "exclude",
        ),
        ("etcd: {external: {endpoints: ['http://a:2379'], caFile: /c, certFile: /d, keyFile: /e}}", "https://"),
        ("etcd: {external: {endpoints: [], caFile: '', certFile: '/x', keyFile: ''}}", "belong together"),
        ("etcd: {local: {dataDir: relative}}", "absolute"),
        ("certificatesDir: pki", "absolute"),
        ("apiServer: {certSANs: ['b@d']}", "neither"),
        ("apiServer: {extraArgs: [{name: --v, value: '4'}]}", "without dashes"),
        ("scheduler: {extraVolumes: [{name: a, hostPath: x, mountPath: /y}]}", "absolute"),
        ("featureGates: {Banana: true}", "feature gate"),
        ("featureGates: {RootlessControlPlane: true}", "not supported"),
        ("certificateValidityPeriod: 0s", "longer than nothing"),
    ];
    for (line, expected) in cases {
        let found = problems(&format!("{HEADER}{line}\n"));
        assert!(found.iter().any(|p| p.contains(expected)), "{line}: {found:?}");
    }
}

#[test]
fn each_rule_of_init_finds_its_mistake() {
    let header = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n";
    let cases = [
        ("nodeRegistration: {name: Under_Score}", "valid node name"),
        ("nodeRegistration: {criSocket: /run/docker.sock}", "unix://"),
        ("nodeRegistration: {imagePullPolicy: Sometimes}", "IfNotPresent"),
        ("nodeRegistration: {taints: [{key: a, effect: Maybe}]}", "NoExecute"),
        ("nodeRegistration: {ignorePreflightErrors: [all, Swap]}", "alone"),
        ("localAPIEndpoint: {advertiseAddress: 127.0.0.1}", "other hosts"),
        ("localAPIEndpoint: {advertiseAddress: here}", "not an IP"),
        ("certificateKey: abc", "64 hexadecimal"),
        (
            "bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 1h, expires: 2027-01-01T00:00:00Z}]",
            "exclude each other",
        ),
        ("bootstrapTokens: [{usages: [eating]}]", "unknown usage"),
        ("bootstrapTokens: [{groups: [system:masters]}]", "no bootstrap group"),
        ("bootstrapTokens: [{token: abcdef.0123456789abcdef}, {token: abcdef.0123456789abcdee}]", "used twice"),
    ];
    for (line, expected) in cases {
        let found = problems(&format!("{header}{line}\n"));
        assert!(found.iter().any(|p| p.contains(expected)), "{line}: {found:?}");
    }
}

#[test]
fn what_kubeadm_cannot_do_works() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{expires: 2027-01-01T00:00:00Z}]\n";
    assert_eq!(problems(text), Vec::<String>::new(), "expires alone is usable");
}

#[test]
fn a_cri_socket_of_another_engine_is_replaced_with_a_warning() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {criSocket: 'unix:///run/containerd/containerd.sock'}\n";
    let (mut documents, _) = load_init(text).expect("loads");
    let warnings = defaults::apply(&mut documents, &facts());
    assert!(warnings[0].text.contains("containerd.sock"));
    assert_eq!(documents.init.node_registration.cri_socket, defaults::DOCKER_SOCKET);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever can be written is read back as it was, strings that look like other YAML types included.
    #[test]
    fn documents_survive_writing_and_reading(
        name in "[a-z0-9._-]{0,12}|yes|no|on|off|null|~|1_000|0644|1e3|\\PC{0,16}",
        value in "\\PC{0,24}",
        port in 1u16..,
        taints in proptest::option::of(proptest::collection::vec("[a-z]{1,8}", 0..3)),
        serial in proptest::option::of(any::<bool>()),
        sans in proptest::collection::vec("\\PC{0,12}", 0..4),
        gates in proptest::collection::btree_map("[A-Za-z]{1,10}", any::<bool>(), 0..3),
        seconds in proptest::option::of(0u64..10_000_000),
    ) {
        let mut documents = InitDocuments::default();
        documents.init.node_registration.name.clone_from(&name);
        documents.init.node_registration.taints = taints.map(|keys| {
            keys.into_iter().map(|key| junio_api::config::Taint { key, effect: "NoSchedule".into(), value: value.clone() }).collect()
        });
        documents.init.node_registration.image_pull_serial = serial;
        documents.init.local_api_endpoint.bind_port = port;
        documents.cluster.api_server.extra_args.push(junio_api::config::Arg::new(name, value));
        documents.cluster.api_server.cert_sans = sans;
        documents.cluster.feature_gates = gates;
        documents.cluster.certificate_validity_period = seconds.map(junio_api::duration::GoDuration::from_secs);
        let text = documents.to_yaml().expect("emits");
        let (read, warnings) = load_init(&text).map_err(|e| TestCaseError::fail(format!("{e} {:?}\n{text}", e.place)))?;
        prop_assert_eq!(read, documents, "{}", text);
        prop_assert!(warnings.is_empty());
    }
}
