//! Our default documents against the ones that kubeadm v1.36.3 prints (`tests/reference`), parsed on both sides.

use junio_api::config::component::{kube_proxy_configuration, kubelet_configuration};
use junio_api::config::{Documents, Kind, defaults, load, samples};
use serde_json::{Value, json};

/// Differences from kubeadm that are meant: path, our value, reason.
fn accepted() -> [(&'static str, Value, &'static str); 3] {
    let docker = json!("unix:///run/docker.sock");
    [
        ("nodeRegistration.criSocket", docker.clone(), "junioadm drives Docker Engine, not a CRI socket"),
        ("criSocket", docker, "as above, in ResetConfiguration"),
        (
            "kubernetesVersion",
            json!("v1.36.3"),
            "the one version that the bundle carries; kubeadm prints its oldest patch release",
        ),
    ]
}

fn values(text: &str) -> Vec<Value> {
    text.split("---\n").map(|part| junio_api::yaml::from_str(part).expect("reference is YAML")).collect()
}

fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<(String, Value)>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (a.get(key), b.get(key)) {
                    (Some(x), Some(y)) => differences(&path, x, y, found),
                    (_, other) => found.push((path, other.cloned().unwrap_or(json!("<absent>")))),
                }
            }
        }
        (a, b) if a == b => {}
        (_, b) => found.push((path.to_owned(), b.clone())),
    }
}

fn check(reference: &str, ours: &[Value]) {
    let theirs = values(reference);
    assert_eq!(theirs.len(), ours.len(), "number of documents");
    for (theirs, ours) in theirs.iter().zip(ours) {
        let mut found = Vec::new();
        differences("", theirs, ours, &mut found);
        found.retain(|(path, value)| !accepted().iter().any(|(p, v, _)| p == path && v == value));
        assert!(found.is_empty(), "{} differs: {found:#?}", ours["kind"]);
    }
}

#[test]
fn init_defaults_are_kubeadms() {
    let documents = samples::init();
    let mut ours = Documents::from(documents.clone()).to_values().expect("emits");
    check(include_str!("reference/init-defaults.yaml"), &ours);
    ours.push(kubelet_configuration(&documents.cluster, None, "systemd"));
    ours.push(kube_proxy_configuration(&documents.init, &documents.cluster, None));
    check(include_str!("reference/init-defaults-with-component-configs.yaml"), &ours);
}

#[test]
fn join_reset_and_upgrade_defaults_are_kubeadms() {
    let join = Documents { join: Some(samples::join("hostname").join), ..Documents::default() };
    check(
        &include_str!("reference/join-defaults.yaml").replace("HOSTNAME", "hostname"),
        &join.to_values().expect("emits"),
    );
    let reset = Documents { reset: Some(samples::reset()), ..Documents::default() };
    check(include_str!("reference/reset-defaults.yaml"), &reset.to_values().expect("emits"));
    let upgrade = Documents { upgrade: Some(samples::upgrade()), ..Documents::default() };
    check(include_str!("reference/upgrade-defaults.yaml"), &upgrade.to_values().expect("emits"));
}

#[test]
fn what_kubeadm_prints_is_read_and_printed_again() {
    for reference in [
        include_str!("reference/init-defaults-with-component-configs.yaml"),
        include_str!("reference/join-defaults.yaml"),
        include_str!("reference/reset-defaults.yaml"),
        include_str!("reference/upgrade-defaults.yaml"),
    ] {
        let documents = load(reference).expect("kubeadm's own output");
        assert_eq!(documents.to_values().expect("emits"), values(reference));
    }
}

#[test]
fn a_user_document_wins_over_the_defaults_key_by_key() {
    let mut documents = load(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 42\nrotateCertificates: false\n\
         authentication: {anonymous: {enabled: true}}\n",
    )
    .expect("loads");
    let mut cluster = documents.cluster.take().unwrap_or_default();
    cluster.networking.service_subnet = "10.96.0.0/12,fd00::/112".into();
    let kubelet = kubelet_configuration(&cluster, documents.kubelet.as_ref(), "cgroupfs");
    assert_eq!(kubelet["maxPods"], 42);
    assert_eq!(kubelet["authentication"]["anonymous"]["enabled"], true);
    assert_eq!(kubelet["authentication"]["webhook"]["enabled"], true);
    assert_eq!(kubelet["clusterDNS"], json!(["10.96.0.10", "fd00::a"]));
    assert_eq!(kubelet["rotateCertificates"], true, "forced, as kubeadm does");
    assert_eq!(kubelet["kind"], Kind::KubeletConfiguration.to_string());
    assert_eq!(defaults::CERTIFICATES_DIR, "/etc/kubernetes/pki");
}
