//! The command line. Names and meanings are those of the upstream kubelet, as far as kubeadm or our unit file uses them;
//! the `cni-*` ones are dockershim's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use k8s_openapi::api::core::v1::Taint;

/// Runs pods on Docker Engine for a Kubernetes node.
#[derive(Debug, Clone, Parser)]
#[command(name = "junio-kubelet", disable_version_flag = true, rename_all = "kebab-case")]
pub struct Flags {
    /// `KubeletConfiguration` file.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Directory of `*.conf` files merged over the configuration, in name order.
    #[arg(long)]
    pub config_dir: Option<PathBuf>,
    /// How to reach the API server; without it only static pods are run.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Used once to get a client certificate when `--kubeconfig` does not exist yet.
    #[arg(long)]
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Name of the node; default is the host's name.
    #[arg(long)]
    pub hostname_override: Option<String>,
    /// Addresses of the node, comma-separated; default is the address of the default route.
    #[arg(long)]
    pub node_ip: Option<String>,
    /// Labels at registration, `key=value` comma-separated.
    #[arg(long, default_value = "")]
    pub node_labels: String,
    /// Taints at registration, `key=value:effect` comma-separated.
    #[arg(long, default_value = "")]
    pub register_with_taints: String,
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub register_node: bool,
    /// Socket of Docker Engine, `unix:///run/docker.sock`; overrides the configuration file.
    #[arg(long)]
    pub container_runtime_endpoint: Option<String>,
    /// Image of the pause container.
    #[arg(long, alias = "pause-image")]
    pub pod_infra_container_image: Option<String>,
    /// State of pods and volumes.
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub root_dir: PathBuf,
    /// Client and serving certificates; default is `pki` below the root directory.
    #[arg(long)]
    pub cert_dir: Option<PathBuf>,
    /// Static pod manifests; overrides `staticPodPath`.
    #[arg(long)]
    pub pod_manifest_path: Option<PathBuf>,
    #[arg(long, default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,
    /// Comma-separated.
    #[arg(long, default_value = "/opt/cni/bin", value_delimiter = ',')]
    pub cni_bin_dir: Vec<PathBuf>,
    #[arg(long, default_value = "/var/lib/cni/cache")]
    pub cni_cache_dir: PathBuf,
    /// Cloud provider; only `external` and the empty string are known.
    #[arg(long, default_value = "")]
    pub cloud_provider: String,
    /// `provider://id` for `spec.providerID`.
    #[arg(long)]
    pub provider_id: Option<String>,
    /// Only containers that carry this owner's label are this kubelet's; two kubelets on one engine must differ.
    #[arg(long, default_value = "kubelet", hide = true)]
    pub engine_owner: String,
    /// Directory of links to container logs by pod name.
    #[arg(long, default_value = "/var/log/containers", hide = true)]
    pub container_log_dir: PathBuf,
    /// Log verbosity: 0 information, 2 and above debug, 6 and above trace.
    #[arg(long, short = 'v', default_value_t = 0)]
    pub v: u8,
    /// Print the version and quit.
    #[arg(long, action = ArgAction::SetTrue)]
    pub version: bool,
}

impl Flags {
    /// `--node-labels` as a map; an entry without `=` has an empty value.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        list(&self.node_labels)
            .map(|entry| {
                let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
                (key.to_owned(), value.to_owned())
            })
            .collect()
    }

    /// `--register-with-taints`; entries that are no taint are an error with the entry's text.
    pub fn taints(&self) -> Result<Vec<Taint>, String> {
        list(&self.register_with_taints)
            .map(|entry| {
                let (key, effect) = entry.rsplit_once(':').ok_or_else(|| entry.to_owned())?;
                let (key, value) = key.split_once('=').map_or((key, None), |(key, value)| (key, Some(value)));
                if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
                    return Err(entry.to_owned());
                }
                Ok(Taint {
                    key: key.to_owned(),
                    value: value.filter(|value| !value.is_empty()).map(str::to_owned),
                    effect: effect.to_owned(),
                    time_added: None,
                })
            })
            .collect()
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_kubeadm_is_understood() {
        let flags = Flags::try_parse_from([
            "junio-kubelet",
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            "--config=/var/lib/kubelet/config.yaml",
            "--node-labels=a=b,c.d/e=",
            "--register-with-taints=k=v:NoSchedule,x:NoExecute",
            "--node-ip=10.0.0.1",
            "--hostname-override=n1",
            "--v=5",
        ])
        .expect("valid");
        assert_eq!(flags.labels().get("c.d/e").map(String::as_str), Some(""));
        let taints = flags.taints().expect("valid");
        assert_eq!((taints[0].value.as_deref(), taints[1].effect.as_str()), (Some("v"), "NoExecute"));
        assert_eq!(flags.v, 5);
        assert!(Flags { register_with_taints: "nonsense".into(), ..flags }.taints().is_err());
    }
}
