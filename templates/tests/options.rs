//! What users can ask for beyond the defaults: extra arguments, volumes and environment, proxies, IPv6, an external etcd, an
//! external CA; and texts that a YAML reader would like to misread.

use std::net::IpAddr;
use std::time::Duration;

use junio_api::config::Arg;
use junio_api::config::common::{EnvVar, HostPathMount};
use junio_api::yaml;
use junio_templates::{
    ControlPlaneHost, EtcdBackend, EtcdCluster, EtcdOptions, Extra, bootstrap, control_plane, etcd, upload_config,
};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec};

fn host(address: &str) -> ControlPlaneHost {
    ControlPlaneHost {
        node_name: "n1".to_owned(),
        advertise_address: address.parse::<IpAddr>().expect("an address"),
        bind_port: 6443,
        image_repository: "registry.example/k8s".to_owned(),
        kubernetes_dir: "/etc/kubernetes".to_owned(),
        certificates_dir: "/etc/kubernetes/pki".to_owned(),
        host_ca_dirs: vec!["/etc/pki/ca-trust".to_owned()],
        proxy_env: Vec::new(),
        health_timeout: Duration::from_secs(61),
    }
}

fn pod(text: &str) -> (Pod, PodSpec, Container) {
    let pod: Pod = yaml::from_str(text).expect("a pod");
    let spec = pod.spec.clone().expect("a spec");
    let container = spec.containers[0].clone();
    (pod, spec, container)
}

fn command(container: &Container) -> Vec<String> {
    container.command.clone().unwrap_or_default()
}

const NASTY: [&str; 12] = [
    "yes",
    "on",
    "1_000",
    "0644",
    "null",
    "~",
    "a: b #c",
    "{{ x }}",
    "- x\n---\ny",
    "\"quoted\" \\ back",
    "*star &anchor",
    "ü\u{1F600}",
];

#[test]
fn nasty_texts_arrive_as_they_are() {
    for nasty in NASTY {
        let extra = Extra {
            args: vec![Arg::new("flag", nasty)],
            envs: vec![EnvVar { name: "NASTY".to_owned(), value: nasty.to_owned(), ..EnvVar::default() }],
            ..Extra::default()
        };
        let (_, _, container) = pod(&control_plane::scheduler(&host("10.0.0.1"), &extra).expect("renders"));
        assert_eq!(command(&container).last(), Some(&format!("--flag={nasty}")));
        assert_eq!(container.env.expect("one")[0].value.as_deref(), Some(nasty));
        let objects = upload_config::kubeadm_config(nasty).expect("renders");
        let map: ConfigMap = objects[0].typed().expect("a ConfigMap");
        assert_eq!(map.data.expect("data")["ClusterConfiguration"], nasty);
        let info = bootstrap::cluster_info(nasty).expect("renders");
        assert_eq!(info[0].value()["data"]["kubeconfig"], nasty);
    }
}

#[test]
fn extra_volumes_and_variables_replace_ours_of_the_same_name() {
    let mount = |name: &str, path: &str| HostPathMount {
        name: name.to_owned(),
        host_path: path.to_owned(),
        mount_path: "/in".to_owned(),
        read_only: true,
        path_type: "File".to_owned(),
    };
    let mut host = host("10.0.0.1");
    host.proxy_env = vec![("https_proxy".to_owned(), "http://p:1".to_owned()), ("NO_PROXY".to_owned(), "x".to_owned())];
    let extra = Extra {
        args: vec![Arg::new("authorization-config", "/x"), Arg::new("bind-address", "0.0.0.0")],
        volumes: vec![mount("ca-certs", "/mine"), mount("audit", "/audit")],
        envs: vec![EnvVar { name: "NO_PROXY".to_owned(), value: "y".to_owned(), ..EnvVar::default() }],
    };
    let text = control_plane::api_server(&host, "10.96.0.0/12", "cluster.local", &EtcdBackend::Local, &extra)
        .expect("renders");
    let (_, spec, container) = pod(&text);
    let names: Vec<_> = spec.volumes.iter().flatten().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["audit", "ca-certs", "etc-pki-ca-trust", "k8s-certs"]);
    let mounts: Vec<_> = container.volume_mounts.iter().flatten().map(|m| m.name.as_str()).collect();
    assert_eq!(mounts, names);
    let env: Vec<_> = container.env.iter().flatten().map(|e| (e.name.as_str(), e.value.as_deref())).collect();
    assert_eq!(env, [("NO_PROXY", Some("y")), ("https_proxy", Some("http://p:1"))]);
    assert!(!command(&container).iter().any(|flag| flag.starts_with("--authorization-mode")));
    let probe = |p: Option<k8s_openapi::api::core::v1::Probe>| p.and_then(|p| p.http_get).expect("http");
    assert_eq!(probe(container.liveness_probe).host, None, "listens everywhere");
    assert_eq!(container.startup_probe.and_then(|p| p.failure_threshold), Some(7), "61 s in periods of 10 s");
    assert_eq!(container.image.as_deref(), Some("registry.example/k8s/kube-apiserver:v1.36.3"));
}

#[test]
fn ipv6_addresses_are_bracketed_where_they_stand_in_urls() {
    let host = host("fd00::1");
    let text = control_plane::api_server(&host, "fd01::/112", "cluster.local", &EtcdBackend::Local, &Extra::default())
        .expect("renders");
    let (pod_object, _, container) = pod(&text);
    let annotations = pod_object.metadata.annotations.expect("annotations");
    assert_eq!(annotations["kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"], "[fd00::1]:6443");
    let flags = command(&container);
    assert!(flags.contains(&"--advertise-address=fd00::1".to_owned()), "{flags:?}");
    assert!(flags.contains(&"--etcd-servers=https://[::1]:2379".to_owned()), "{flags:?}");
    let cluster = EtcdCluster::default();
    let options = EtcdOptions { data_dir: "/data", image: Some("mine/etcd:1"), cluster: &cluster };
    let (_, _, container) = pod(&etcd::etcd(&host, &options, &Extra::default()).expect("renders"));
    let flags = command(&container);
    assert!(flags.contains(&"--listen-client-urls=https://[::1]:2379,https://[fd00::1]:2379".to_owned()), "{flags:?}");
    assert!(flags.contains(&"--initial-cluster=n1=https://[fd00::1]:2380".to_owned()), "{flags:?}");
    assert_eq!(container.image.as_deref(), Some("mine/etcd:1"));
}

#[test]
fn an_external_etcd_brings_its_own_certificates() {
    let external = EtcdBackend::External {
        endpoints: vec!["https://e1:2379".to_owned(), "https://e2:2379".to_owned()],
        ca_file: "/srv/etcd/ca.crt".to_owned(),
        cert_file: "/etc/kubernetes/pki/apiserver-etcd-client.crt".to_owned(),
        key_file: String::new(),
    };
    let text =
        control_plane::api_server(&host("10.0.0.1"), "10.96.0.0/12", "cluster.local", &external, &Extra::default())
            .expect("renders");
    let (_, spec, container) = pod(&text);
    let flags = command(&container);
    assert!(flags.contains(&"--etcd-servers=https://e1:2379,https://e2:2379".to_owned()), "{flags:?}");
    assert!(!flags.iter().any(|flag| flag.starts_with("--etcd-keyfile")), "{flags:?}");
    let mounted = spec.volumes.iter().flatten().find(|v| v.name == "etcd-certs-0").expect("mounted");
    assert_eq!(mounted.host_path.as_ref().map(|h| h.path.as_str()), Some("/srv/etcd"));
    assert!(!spec.volumes.iter().flatten().any(|v| v.name == "etcd-certs-1"), "the PKI directory is mounted already");
}

#[test]
fn with_an_external_ca_the_controller_manager_signs_nothing() {
    let render = |external| {
        let text = control_plane::controller_manager(
            &host("10.0.0.1"),
            "c",
            "10.96.0.0/12",
            None,
            external,
            &Extra::default(),
        );
        command(&pod(&text.expect("renders")).2)
    };
    assert!(render(true).contains(&"--cluster-signing-key-file=".to_owned()));
    let normal = render(false);
    assert!(normal.contains(&"--cluster-signing-key-file=/etc/kubernetes/pki/ca.key".to_owned()));
    assert!(!normal.iter().any(|flag| flag.contains("cidr")), "no pod subnet, no node CIDRs: {normal:?}");
}

#[test]
fn probes_follow_a_port_that_an_extra_argument_moves() {
    let extra = Extra { args: vec![Arg::new("secure-port", "10300")], ..Extra::default() };
    let host = host("10.0.0.1");
    let manager = control_plane::controller_manager(&host, "c", "10.96.0.0/12", None, false, &extra);
    for text in [control_plane::scheduler(&host, &extra).expect("renders"), manager.expect("renders")] {
        let (_, _, container) = pod(&text);
        let ports = container.ports.expect("a port");
        assert_eq!((ports.len(), ports[0].container_port), (1, 10300));
        let probe = container.liveness_probe.and_then(|probe| probe.http_get).expect("a probe");
        assert_eq!(
            serde_json::to_value(probe.port).expect("JSON"),
            ports[0].name.clone().map_or(10300.into(), serde_json::Value::from)
        );
    }
}
