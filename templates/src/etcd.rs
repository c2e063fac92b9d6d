//! The manifest of etcd as a static pod. Source: kubeadm v1.36.3 `app/phases/etcd`.

use junio_api::images::Image;
use junio_api::{names, ports};

use crate::error::TemplateError;
use crate::flags::{Extra, command_line};
use crate::static_pod::{ControlPlaneHost, ProbeTarget, StaticPod, probe_host, url_host};

/// While it is alone, a member waits for nobody: its election takes 0.1 s instead of 1 s with these (milliseconds).
const LONE_HEARTBEAT: u32 = 10;
const LONE_ELECTION: u32 = 100;

/// Members of the cluster that this one starts or joins.
#[derive(Debug, Clone, Default)]
pub struct EtcdCluster {
    /// Name and peer URL of every other member; empty for the first one.
    pub others: Vec<(String, String)>,
    /// True on a host that joins: the cluster exists already.
    pub existing: bool,
}

/// Inputs besides the host.
#[derive(Debug, Clone)]
pub struct EtcdOptions<'a> {
    pub data_dir: &'a str,
    /// A full image reference instead of the bundled one.
    pub image: Option<&'a str>,
    pub cluster: &'a EtcdCluster,
}

/// `etcd.yaml`.
pub fn etcd(host: &ControlPlaneHost, options: &EtcdOptions<'_>, extra: &Extra) -> Result<String, TemplateError> {
    let address = url_host(host.advertise_address);
    let client = format!("https://{address}:{}", ports::ETCD_CLIENT);
    let peer = format!("https://{address}:{}", ports::ETCD_PEER);
    let loopback = if host.advertise_address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
    let mut members = vec![format!("{}={peer}", host.node_name)];
    members.extend(options.cluster.others.iter().map(|(name, url)| format!("{name}={url}")));
    let mut flags = vec![
        ("advertise-client-urls", client.clone()),
        ("cert-file", host.pki("etcd/server.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("data-dir", options.data_dir.to_owned()),
        ("feature-gates", "InitialCorruptCheck=true".to_owned()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", members.join(",")),
        ("key-file", host.pki("etcd/server.key")),
        ("listen-client-urls", format!("https://{loopback}:{},{client}", ports::ETCD_CLIENT)),
        ("listen-metrics-urls", format!("http://{loopback}:{}", ports::ETCD_METRICS)),
        ("listen-peer-urls", peer),
        ("name", host.node_name.clone()),
        ("peer-cert-file", host.pki("etcd/peer.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-key-file", host.pki("etcd/peer.key")),
        ("peer-trusted-ca-file", host.pki("etcd/ca.crt")),
        ("snapshot-count", "10000".to_owned()),
        ("trusted-ca-file", host.pki("etcd/ca.crt")),
        ("watch-progress-notify-interval", "5s".to_owned()),
    ];
    if options.cluster.existing {
        flags.push(("initial-cluster-state", "existing".to_owned()));
    }
    if options.cluster.others.is_empty() && !options.cluster.existing {
        flags.push(("heartbeat-interval", LONE_HEARTBEAT.to_string()));
        flags.push(("election-timeout", LONE_ELECTION.to_string()));
    }
    let (probe_host, port, scheme) = metrics_endpoint(extra, host);
    let probe = ProbeTarget { host: probe_host, scheme, live: "/livez", ready: Some("/readyz"), startup: "/readyz" };
    let image = options.image.map_or_else(|| host.image(Image::Etcd), str::to_owned);
    StaticPod::new(names::ETCD, host, image, command_line(names::ETCD, flags, &extra.args), port, probe, "100m")
        .memory("100Mi")
        .annotate(names::ANNOTATION_ETCD_CLIENT_URLS, client)
        .environment(&[], &extra.envs)
        .mount("etcd-data", options.data_dir, "DirectoryOrCreate", false)
        .mount("etcd-certs", &host.pki("etcd"), "DirectoryOrCreate", false)
        .finish(extra)
}

/// Where the user's `listen-metrics-urls` (its first URL) or ours answers health checks.
fn metrics_endpoint(extra: &Extra, host: &ControlPlaneHost) -> (Option<String>, u16, &'static str) {
    let loopback = if host.advertise_address.is_ipv6() { "::1" } else { "127.0.0.1" };
    let default = (Some(loopback.to_owned()), ports::ETCD_METRICS, "HTTP");
    let Some(url) = extra.arg("listen-metrics-urls").and_then(|urls| urls.split(',').next()) else { return default };
    let (scheme, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => ("HTTPS", rest),
        (None, Some(rest)) => ("HTTP", rest),
        (None, None) => return default,
    };
    let (name, port) =
        rest.rsplit_once(':').map_or((rest, None), |(name, port)| (name, port.trim_end_matches('/').parse().ok()));
    (probe_host(name.trim_matches(['[', ']'])), port.unwrap_or(ports::ETCD_METRICS), scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use junio_api::config::Arg;
    use std::time::Duration;

    fn host() -> ControlPlaneHost {
        ControlPlaneHost {
            node_name: "n1".to_owned(),
            advertise_address: std::net::IpAddr::from([10, 0, 0, 1]),
            bind_port: 6443,
            image_repository: "registry.k8s.io".to_owned(),
            kubernetes_dir: "/etc/kubernetes".to_owned(),
            certificates_dir: "/etc/kubernetes/pki".to_owned(),
            host_ca_dirs: Vec::new(),
            proxy_env: vec![("https_proxy".to_owned(), "http://p".to_owned())],
            health_timeout: Duration::from_secs(240),
        }
    }

    #[test]
    fn a_joiner_lists_all_members_and_keeps_the_normal_timeouts() {
        let cluster =
            EtcdCluster { others: vec![("n0".to_owned(), "https://10.0.0.9:2380".to_owned())], existing: true };
        let options = EtcdOptions { data_dir: "/var/lib/etcd", image: None, cluster: &cluster };
        let text = etcd(&host(), &options, &Extra::default()).expect("renders");
        assert!(text.contains("--initial-cluster=n1=https://10.0.0.1:2380,n0=https://10.0.0.9:2380\""), "{text}");
        assert!(text.contains("--initial-cluster-state=existing"));
        assert!(!text.contains("heartbeat") && !text.contains("http://p"), "{text}");
    }

    #[test]
    fn the_probe_follows_the_metrics_url() {
        let mut extra = Extra {
            args: vec![Arg::new("listen-metrics-urls", "https://0.0.0.0:9000,http://x:1")],
            ..Extra::default()
        };
        assert_eq!(metrics_endpoint(&extra, &host()), (None, 9000, "HTTPS"));
        extra.args = vec![Arg::new("listen-metrics-urls", "http://[fd00::1]:9001")];
        assert_eq!(metrics_endpoint(&extra, &host()), (Some("fd00::1".to_owned()), 9001, "HTTP"));
    }
}
