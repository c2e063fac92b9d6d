//! Manifests of API server, controller manager and scheduler. Source: kubeadm v1.36.3 `app/phases/controlplane`.

use junio_api::images::Image;
use junio_api::{names, ports};

use crate::error::TemplateError;
use crate::flags::{Extra, command_line};
use crate::static_pod::{ControlPlaneHost, ProbeTarget, StaticPod, probe_host, url_host};

/// The controller manager's own client limit (20 queries per second, burst 30) delays the first ServiceAccounts, and with
/// them every pod, by 5 s. The API server's fairness keeps it in check anyway.
const CONTROLLER_MANAGER_QPS: u32 = 300;
const CONTROLLER_MANAGER_BURST: u32 = 600;

/// Where the API server finds etcd.
#[derive(Debug, Clone)]
pub enum EtcdBackend {
    /// The static pod on the same host.
    Local,
    /// Somebody else's; file names may be empty.
    External { endpoints: Vec<String>, ca_file: String, cert_file: String, key_file: String },
}

/// `kube-apiserver.yaml`.
pub fn api_server(
    host: &ControlPlaneHost,
    service_subnet: &str,
    dns_domain: &str,
    etcd: &EtcdBackend,
    extra: &Extra,
) -> Result<String, TemplateError> {
    let address = host.advertise_address;
    let mut flags = vec![
        ("advertise-address", address.to_string()),
        ("allow-privileged", "true".to_owned()),
        ("client-ca-file", host.pki("ca.crt")),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("kubelet-client-certificate", host.pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", host.pki("apiserver-kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".to_owned()),
        ("proxy-client-cert-file", host.pki("front-proxy-client.crt")),
        ("proxy-client-key-file", host.pki("front-proxy-client.key")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("requestheader-client-ca-file", host.pki("front-proxy-ca.crt")),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("secure-port", host.bind_port.to_string()),
        ("service-account-issuer", format!("https://kubernetes.default.svc.{dns_domain}")),
        ("service-account-key-file", host.pki("sa.pub")),
        ("service-account-signing-key-file", host.pki("sa.key")),
        ("service-cluster-ip-range", service_subnet.to_owned()),
        ("tls-cert-file", host.pki("apiserver.crt")),
        ("tls-private-key-file", host.pki("apiserver.key")),
    ];
    if extra.arg("authorization-config").is_none() {
        flags.push(("authorization-mode", "Node,RBAC".to_owned()));
    }
    flags.extend(etcd_flags(host, etcd));
    let bind = extra.arg("bind-address").map_or_else(|| address.to_string(), str::to_owned);
    let probe = ProbeTarget {
        host: probe_host(&bind),
        scheme: "HTTPS",
        live: "/livez",
        ready: Some("/readyz"),
        startup: "/livez",
    };
    let command = command_line(names::KUBE_APISERVER, flags, &extra.args);
    let pod = StaticPod::new(
        names::KUBE_APISERVER,
        host,
        host.image(Image::ApiServer),
        command,
        host.bind_port,
        probe,
        "250m",
    )
    .annotate(names::ANNOTATION_APISERVER_ENDPOINT, format!("{}:{}", url_host(address), host.bind_port))
    .environment(&host.proxy_env, &extra.envs)
    .mount_certificates(host);
    mount_external_etcd(pod, host, etcd).sort_mounts().finish(extra)
}

fn etcd_flags(host: &ControlPlaneHost, etcd: &EtcdBackend) -> Vec<(&'static str, String)> {
    match etcd {
        EtcdBackend::Local => {
            let loopback = if host.advertise_address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
            vec![
                ("etcd-cafile", host.pki("etcd/ca.crt")),
                ("etcd-certfile", host.pki("apiserver-etcd-client.crt")),
                ("etcd-keyfile", host.pki("apiserver-etcd-client.key")),
                ("etcd-servers", format!("https://{loopback}:{}", ports::ETCD_CLIENT)),
            ]
        }
        EtcdBackend::External { endpoints, ca_file, cert_file, key_file } => {
            let mut flags = vec![("etcd-servers", endpoints.join(","))];
            let files = [("etcd-cafile", ca_file), ("etcd-certfile", cert_file), ("etcd-keyfile", key_file)];
            flags.extend(
                files.into_iter().filter(|(_, file)| !file.is_empty()).map(|(name, file)| (name, file.clone())),
            );
            flags
        }
    }
}

/// Directories of an external etcd's certificates that are not mounted already.
fn mount_external_etcd(pod: StaticPod, host: &ControlPlaneHost, etcd: &EtcdBackend) -> StaticPod {
    let EtcdBackend::External { ca_file, cert_file, key_file, .. } = etcd else { return pod };
    let mut directories: Vec<&str> = [ca_file, cert_file, key_file]
        .into_iter()
        .filter_map(|file| file.rsplit_once('/').map(|(directory, _)| directory))
        .filter(|directory| !directory.starts_with(&host.certificates_dir) && *directory != "/etc/ssl/certs")
        .filter(|directory| !host.host_ca_dirs.iter().any(|mounted| directory.starts_with(mounted.as_str())))
        .collect();
    directories.sort_unstable();
    directories.dedup();
    directories.into_iter().enumerate().fold(pod, |pod, (index, directory)| {
        pod.mount(&format!("etcd-certs-{index}"), directory, "DirectoryOrCreate", true)
    })
}

/// `kube-controller-manager.yaml`. With an external CA (`ca.key` absent) it signs nothing.
pub fn controller_manager(
    host: &ControlPlaneHost,
    cluster_name: &str,
    service_subnet: &str,
    pod_subnet: Option<&str>,
    external_ca: bool,
    extra: &Extra,
) -> Result<String, TemplateError> {
    let kubeconfig = host.kubernetes("controller-manager.conf");
    let signing = |file: &str| if external_ca { String::new() } else { host.pki(file) };
    let mut flags = vec![
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig.clone()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("client-ca-file", host.pki("ca.crt")),
        ("cluster-name", cluster_name.to_owned()),
        ("cluster-signing-cert-file", signing("ca.crt")),
        ("cluster-signing-key-file", signing("ca.key")),
        ("controllers", "*,bootstrapsigner,tokencleaner".to_owned()),
        ("kube-api-burst", CONTROLLER_MANAGER_BURST.to_string()),
        ("kube-api-qps", CONTROLLER_MANAGER_QPS.to_string()),
        ("kubeconfig", kubeconfig.clone()),
        ("leader-elect", "true".to_owned()),
        ("requestheader-client-ca-file", host.pki("front-proxy-ca.crt")),
        ("root-ca-file", host.pki("ca.crt")),
        ("service-account-private-key-file", host.pki("sa.key")),
        ("use-service-account-credentials", "true".to_owned()),
    ];
    if let Some(pod_subnet) = pod_subnet {
        flags.push(("allocate-node-cidrs", "true".to_owned()));
        flags.push(("cluster-cidr", pod_subnet.to_owned()));
        flags.push(("service-cluster-ip-range", service_subnet.to_owned()));
    }
    let probe = local_probe(extra, "/healthz", None);
    let command = command_line(names::KUBE_CONTROLLER_MANAGER, flags, &extra.args);
    let image = host.image(Image::ControllerManager);
    let port = local_port(extra, ports::CONTROLLER_MANAGER);
    StaticPod::new(names::KUBE_CONTROLLER_MANAGER, host, image, command, port, probe, "200m")
        .environment(&host.proxy_env, &extra.envs)
        .mount_certificates(host)
        .mount("kubeconfig", &kubeconfig, "FileOrCreate", true)
        .sort_mounts()
        .finish(extra)
}

/// `kube-scheduler.yaml`.
pub fn scheduler(host: &ControlPlaneHost, extra: &Extra) -> Result<String, TemplateError> {
    let kubeconfig = host.kubernetes("scheduler.conf");
    let flags = vec![
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig.clone()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("kubeconfig", kubeconfig.clone()),
        ("leader-elect", "true".to_owned()),
    ];
    let probe = local_probe(extra, "/livez", Some("/readyz"));
    let command = command_line(names::KUBE_SCHEDULER, flags, &extra.args);
    let port = local_port(extra, ports::SCHEDULER);
    StaticPod::new(names::KUBE_SCHEDULER, host, host.image(Image::Scheduler), command, port, probe, "100m")
        .environment(&host.proxy_env, &extra.envs)
        .mount("kubeconfig", &kubeconfig, "FileOrCreate", true)
        .finish(extra)
}

/// Probes follow a port that an extra argument moves; kubeadm's stay where they are, and the kubelet restarts the container
/// for ever.
fn local_port(extra: &Extra, default: u16) -> u16 {
    extra.arg("secure-port").and_then(|port| port.parse().ok()).unwrap_or(default)
}

fn local_probe(extra: &Extra, health: &'static str, ready: Option<&'static str>) -> ProbeTarget {
    let host = probe_host(extra.arg("bind-address").unwrap_or("127.0.0.1"));
    ProbeTarget { host, scheme: "HTTPS", live: health, ready, startup: health }
}
