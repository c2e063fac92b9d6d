//! Our manifests, kubelet files and API objects against those of a real kubeadm v1.36.3 (`fixtures/`), both sides parsed.
//! Every difference is in `accepted.yaml` with its reason, and every entry there is needed.

mod accepted;
mod diff;
mod patches;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use accepted::Accepted;
use junio_api::config::component::{kube_proxy_configuration, kubelet_configuration};
use junio_api::config::{HostFacts, InitDocuments, Kind, defaults, emit, load_init};
use junio_api::{Secret, yaml};
use junio_templates::coredns::CoreDnsOptions;
use junio_templates::flannel::{Backend, FlannelOptions};
use junio_templates::kubelet_files::KubeletFlags;
use junio_templates::{
    CA_DIRECTORIES, ControlPlaneHost, EtcdBackend, EtcdCluster, EtcdOptions, Extra, Object, bootstrap,
    component_config, control_plane, coredns, etcd, flannel, kube_proxy, kubelet_files, node, upload_config,
};
use serde_json::Value;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/", $name))
    };
}

const SERVER: &str = "https://10.78.0.11:6443";

/// The documents of the reference run, completed for its host.
fn documents() -> InitDocuments {
    let (mut documents, _) = load_init(fixture!("kubeadm.yaml")).expect("kubeadm took it too");
    let token = "abcdef.0123456789abcdef".parse().expect("a token");
    let facts = HostFacts {
        hostname: "ka-1".to_owned(),
        default_address: Some(IpAddr::V4(Ipv4Addr::new(10, 78, 0, 11))),
        token,
    };
    defaults::apply(&mut documents, &facts);
    documents
}

fn host() -> ControlPlaneHost {
    let documents = documents();
    ControlPlaneHost {
        node_name: documents.init.node_registration.name.clone(),
        advertise_address: documents.init.local_api_endpoint.advertise_address.parse().expect("an address"),
        bind_port: documents.init.local_api_endpoint.bind_port,
        image_repository: documents.cluster.image_repository.clone(),
        kubernetes_dir: "/etc/kubernetes".to_owned(),
        certificates_dir: documents.cluster.certificates_dir.clone(),
        // Those that the reference host had.
        host_ca_dirs: CA_DIRECTORIES[2..].iter().map(ToString::to_string).collect(),
        proxy_env: Vec::new(),
        health_timeout: documents.init.timeouts.control_plane_component_health_check(),
    }
}

fn parse(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|document| yaml::from_str(document).expect("YAML")).collect()
}

/// Texts inside ConfigMaps that are YAML themselves become values, so that only their meaning counts.
fn unfold(mut object: Value) -> Value {
    if object["kind"] == "ConfigMap"
        && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
    {
        for (_, value) in
            data.iter_mut().filter(|(key, _)| *key != "Corefile" && !key.starts_with("jws-") && !key.ends_with(".json"))
        {
            *value = yaml::from_str(value.as_str().expect("text")).expect("YAML inside");
        }
    }
    object
}

fn manifests() -> Vec<(&'static str, &'static str, String)> {
    let host = host();
    let extra = Extra::default();
    let cluster = EtcdCluster::default();
    let options = EtcdOptions { data_dir: "/var/lib/etcd", image: None, cluster: &cluster };
    let network = documents().cluster.networking;
    let service = &network.service_subnet;
    let api = control_plane::api_server(&host, service, &network.dns_domain, &EtcdBackend::Local, &extra);
    let manager =
        control_plane::controller_manager(&host, "kubernetes", service, Some(&network.pod_subnet), false, &extra);
    vec![
        ("etcd.yaml", fixture!("manifests/etcd.yaml"), etcd::etcd(&host, &options, &extra).expect("renders")),
        ("kube-apiserver.yaml", fixture!("manifests/kube-apiserver.yaml"), api.expect("renders")),
        ("kube-controller-manager.yaml", fixture!("manifests/kube-controller-manager.yaml"), manager.expect("renders")),
        (
            "kube-scheduler.yaml",
            fixture!("manifests/kube-scheduler.yaml"),
            control_plane::scheduler(&host, &extra).expect("renders"),
        ),
    ]
}

fn kubelet_shared() -> Value {
    let documents = documents();
    kubelet_configuration(&documents.cluster, documents.kubelet.as_ref(), "systemd")
}

/// Every API object of an `init`.
fn objects() -> Vec<Object> {
    let documents = documents();
    let cluster_configuration = emit::to_yaml(Kind::ClusterConfiguration, &documents.cluster).expect("emits");
    let proxy = kube_proxy_configuration(&documents.init, &documents.cluster, documents.kube_proxy.as_ref());
    let info = parse(fixture!("objects/configmaps.yaml"))[0]["data"]["kubeconfig"].as_str().expect("text").to_owned();
    let secret = Secret::new("0123456789abcdef".to_owned());
    let token = bootstrap::BootstrapTokenSecret {
        id: "abcdef",
        secret: &secret,
        expiration: Some("2026-11-21T23:17:13Z".to_owned()),
        usages: &["signing".to_owned(), "authentication".to_owned()],
        groups: &bootstrap::default_groups(),
        description: None,
    };
    let cluster_ips = ["10.96.0.10".to_owned()];
    let dns = CoreDnsOptions {
        domain: "cluster.local",
        image_repository: "registry.k8s.io",
        image: None,
        replicas: 2,
        cluster_ips: &cluster_ips,
        api_host: "10.78.0.11",
        api_port: 6443,
    };
    let overlay = FlannelOptions {
        pod_subnets: &["10.244.0.0/16".parse().expect("a subnet")],
        backend: Backend::Vxlan,
        nftables: false,
        image_repository: "registry.k8s.io",
        api_host: "10.78.0.11",
        api_port: 6443,
        interface: None,
    };
    let parts = [
        bootstrap::cluster_admins(),
        bootstrap::api_server_kubelet_client(),
        upload_config::kubeadm_config(&cluster_configuration),
        upload_config::kubelet_config(&kubelet_shared(), documents.kubelet.is_none()),
        bootstrap::bootstrap_rbac(),
        bootstrap::cluster_info(&info),
        bootstrap::bootstrap_token(&token).map(|object| vec![object]),
        coredns::coredns(&dns, None),
        kube_proxy::kube_proxy(&proxy, documents.kube_proxy.is_none(), SERVER, "registry.k8s.io"),
        flannel::flannel(&overlay),
    ];
    parts.into_iter().flat_map(|part| part.expect("renders")).collect()
}

fn reference_objects() -> Vec<Value> {
    [
        fixture!("objects/addons.yaml"),
        fixture!("objects/bootstrap-token-secret.yaml"),
        fixture!("objects/configmaps.yaml"),
        fixture!("objects/rbac.yaml"),
        fixture!("objects/serviceaccounts.yaml"),
    ]
    .into_iter()
    .flat_map(parse)
    .collect()
}

fn identity(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

#[test]
fn nothing_differs_from_kubeadm_but_what_is_accepted() {
    let accepted = Accepted::load();
    let mut failures = Vec::new();
    for (name, theirs, ours) in manifests() {
        let found = diff::compare(&parse(theirs)[0], &parse(&ours)[0]);
        failures.extend(accepted.remaining(name, found));
    }
    let runtime = "unix:///run/containerd/containerd.sock";
    let config = kubelet_files::config(&kubelet_shared(), &serde_json::json!({ "containerRuntimeEndpoint": runtime }))
        .expect("merges");
    let files = [
        ("kubelet-config.yaml", fixture!("kubelet-config.yaml"), config),
        (
            "kubelet-instance-config.yaml",
            fixture!("kubelet-instance-config.yaml"),
            kubelet_files::instance_config(runtime).expect("renders"),
        ),
    ];
    for (name, theirs, ours) in files {
        failures.extend(accepted.remaining(name, diff::compare(&parse(theirs)[0], &parse(&ours)[0])));
    }

    let mut ours: BTreeMap<String, Value> =
        objects().into_iter().map(|o| (identity(o.value()), unfold(o.into_value()))).collect();
    for theirs in reference_objects() {
        let name = identity(&theirs);
        match ours.remove(&name) {
            Some(object) => failures.extend(accepted.remaining(&name, diff::compare(&unfold(theirs), &object))),
            None => failures.push(format!("{name}: we do not make it")),
        }
    }
    failures.extend(
        ours.into_keys()
            .filter(|name| !accepted.is_additional(name))
            .map(|name| format!("{name}: kubeadm does not make it")),
    );
    failures.extend(
        accepted.unused().into_iter().map(|entry| format!("accepted.yaml has an entry that nothing needs: {entry}")),
    );
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn flags_file_is_byte_identical() {
    assert_eq!(kubelet_files::flags_env(&KubeletFlags::default()), fixture!("kubeadm-flags.env"));
}

#[test]
fn component_configuration_hashes_are_kubeadms() {
    for object in parse(fixture!("objects/component-configs-generated.yaml")) {
        let data = object["data"].as_object().expect("data");
        let pairs: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.as_str().expect("text"))).collect();
        let expected = &object["metadata"]["annotations"]["kubeadm.kubernetes.io/component-config.hash"];
        assert_eq!(component_config::hash(&pairs), *expected, "{}", object["metadata"]["name"]);
    }
}

#[test]
fn generated_component_configurations_are_kubeadms_and_carry_their_hash() {
    let documents = documents();
    let kubelet = upload_config::kubelet_config(&kubelet_configuration(&documents.cluster, None, "systemd"), true)
        .expect("renders");
    let proxy_config = kube_proxy_configuration(&documents.init, &documents.cluster, None);
    let proxy = kube_proxy::kube_proxy(&proxy_config, true, SERVER, "registry.k8s.io").expect("renders");
    for theirs in parse(fixture!("objects/component-configs-generated.yaml")) {
        let name = identity(&theirs);
        let ours =
            kubelet.iter().chain(&proxy).find(|o| identity(o.value()) == name).expect("we make it").value().clone();
        let data = ours["data"].as_object().expect("data");
        let pairs: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.as_str().expect("text"))).collect();
        let (ours_hash, pointer) =
            (component_config::hash(&pairs), "/metadata/annotations/kubeadm.kubernetes.io~1component-config.hash");
        assert_eq!(ours.pointer(pointer), Some(&Value::from(ours_hash)), "{name}");
        let mut found = diff::compare(&unfold(theirs), &unfold(ours));
        // The hash is over the text, and quoting may differ where the meaning does not.
        found.retain(|d| !d.path.ends_with("component-config.hash"));
        assert_eq!(found, [], "{name}");
    }
}

#[test]
fn the_node_patch_makes_kubeadms_node() {
    let theirs: Value = yaml::from_str(fixture!("objects/node.yaml")).expect("YAML");
    let patch = node::control_plane_patch(&[], None);
    assert_eq!(patch["spec"]["taints"], theirs["spec"]["taints"]);
    for (label, value) in patch["metadata"]["labels"].as_object().expect("labels") {
        assert_eq!(theirs["metadata"]["labels"].get(label), Some(value), "{label}");
    }
}

#[test]
fn the_comparison_sees_what_it_must() {
    let theirs = serde_json::json!({"a": [{"name": "x", "v": 1}], "c": ["p", "q"], "d": 1, "e": {}});
    let ours = serde_json::json!({"a": [{"name": "x", "v": 2}], "c": ["q", "p", "r"], "f": "new"});
    let found: Vec<_> = diff::compare(&theirs, &ours).into_iter().map(|d| format!("{} {}", d.path, d.change)).collect();
    assert_eq!(found, ["a[x].v 1 -> 2", "c + r", "c order", "d - 1", "e - {}", "f + new"]);
}
