//! `KubeletConfiguration` and `KubeProxyConfiguration`: kept as free-form objects, since their readers (junio-kubelet,
//! kube-proxy) own the types; their fields are held against `schema` so that a mistake is found before anything is done.
//!
//! Sources: kubelet.config.k8s.io/v1beta1 and kubeproxy.config.k8s.io/v1alpha1 at v1.36.3.

use serde_json::{Map, Value, json};

use super::cluster::ClusterConfiguration;
use super::init::InitConfiguration;
use crate::{cidr, ports};

/// A component's configuration as its user wrote it, without `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComponentConfig(pub Map<String, Value>);

impl ComponentConfig {
    /// The value at a path of keys.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(key))
    }
}

pub(super) const KUBELET_API: &str = "kubelet.config.k8s.io/v1beta1";
pub(super) const KUBE_PROXY_API: &str = "kubeproxy.config.k8s.io/v1alpha1";

/// What kubeadm sets in every kubelet's configuration, the user's document laid over it. All of it is the same on every
/// node, so it is what the ConfigMap `kubelet-config` holds; `cgroup_driver` is the container engine's.
#[must_use]
pub fn kubelet_configuration(
    cluster: &ClusterConfiguration,
    user: Option<&ComponentConfig>,
    cgroup_driver: &str,
) -> Value {
    let certificates_dir = &cluster.certificates_dir;
    let defaults = json!({
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true, "cacheTTL": "0s" },
            "x509": { "clientCAFile": format!("{certificates_dir}/ca.crt") },
        },
        "authorization": { "mode": "Webhook", "webhook": { "cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s" } },
        "cgroupDriver": cgroup_driver,
        "clusterDNS": dns_addresses(cluster),
        "clusterDomain": cluster.networking.dns_domain,
        "containerRuntimeEndpoint": "",
        "cpuManagerReconcilePeriod": "0s",
        "crashLoopBackOff": {},
        "evictionPressureTransitionPeriod": "0s",
        "fileCheckFrequency": "0s",
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": ports::KUBELET_HEALTHZ,
        "httpCheckFrequency": "0s",
        "imageMaximumGCAge": "0s",
        "imageMinimumGCAge": "0s",
        "logging": logging(),
        "memorySwap": {},
        "nodeStatusReportFrequency": "0s",
        "nodeStatusUpdateFrequency": "0s",
        "rotateCertificates": true,
        "runtimeRequestTimeout": "0s",
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
        "staticPodPath": "/etc/kubernetes/manifests",
        "streamingConnectionIdleTimeout": "0s",
        "syncFrequency": "0s",
        "volumeStatsAggPeriod": "0s",
    });
    let mut merged = lay_over(defaults, user);
    // kubeadm forces this one: a node whose client certificate is not rotated stops working after a year.
    merged["rotateCertificates"] = Value::Bool(true);
    with_type(KUBELET_API, "KubeletConfiguration", merged)
}

/// What kubeadm sets in kube-proxy's configuration, the user's document laid over it.
#[must_use]
pub fn kube_proxy_configuration(
    init: &InitConfiguration,
    cluster: &ClusterConfiguration,
    user: Option<&ComponentConfig>,
) -> Value {
    let bind_address = if init.local_api_endpoint.advertise_address.contains(':') { "::" } else { "0.0.0.0" };
    let defaults = json!({
        "bindAddress": bind_address,
        "bindAddressHardFail": false,
        "clientConnection": {
            "acceptContentTypes": "", "burst": 0, "contentType": "",
            "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 0,
        },
        "clusterCIDR": cluster.networking.pod_subnet,
        "configSyncPeriod": "0s",
        "conntrack": {
            "maxPerCore": null, "min": null, "tcpBeLiberal": false, "tcpCloseWaitTimeout": null,
            "tcpEstablishedTimeout": null, "udpStreamTimeout": "0s", "udpTimeout": "0s",
        },
        "detectLocal": { "bridgeInterface": "", "interfaceNamePrefix": "" },
        "detectLocalMode": "",
        "enableProfiling": false,
        "healthzBindAddress": "",
        "hostnameOverride": "",
        "iptables": {
            "localhostNodePorts": null, "masqueradeAll": false, "masqueradeBit": null,
            "minSyncPeriod": "0s", "syncPeriod": "0s",
        },
        "ipvs": {
            "excludeCIDRs": null, "minSyncPeriod": "0s", "scheduler": "", "strictARP": false,
            "syncPeriod": "0s", "tcpFinTimeout": "0s", "tcpTimeout": "0s", "udpTimeout": "0s",
        },
        "logging": logging(),
        "metricsBindAddress": "",
        "mode": "",
        "nftables": { "masqueradeAll": false, "masqueradeBit": null, "minSyncPeriod": "0s", "syncPeriod": "0s" },
        "nodePortAddresses": null,
        "oomScoreAdj": null,
        "portRange": "",
        "showHiddenMetricsForVersion": "",
        "winkernel": {
            "enableDSR": false, "forwardHealthCheckVip": false, "networkName": "", "rootHnsEndpointName": "", "sourceVip": "",
        },
    });
    with_type(KUBE_PROXY_API, "KubeProxyConfiguration", lay_over(defaults, user))
}

/// The cluster DNS service's address in each service subnet.
fn dns_addresses(cluster: &ClusterConfiguration) -> Vec<String> {
    let subnets = cluster.networking.service_subnet.split(',');
    subnets.filter_map(|s| cidr::nth_address(&s.trim().parse().ok()?, 10)).map(|a| a.to_string()).collect()
}

fn logging() -> Value {
    json!({
        "flushFrequency": 0,
        "options": { "json": { "infoBufferSize": "0" }, "text": { "infoBufferSize": "0" } },
        "verbosity": 0,
    })
}

fn lay_over(mut defaults: Value, user: Option<&ComponentConfig>) -> Value {
    if let Some(user) = user {
        merge(&mut defaults, &Value::Object(user.0.clone()));
    }
    defaults
}

/// Objects merge, everything else replaces; `null` means "not said", as for Go's decoder.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over.clone(),
    }
}

pub(super) fn with_type(api_version: &str, kind: &str, mut value: Value) -> Value {
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    value
}
