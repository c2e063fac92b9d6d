//! The shape that the four static pods share. Source: kubeadm v1.36.3 `app/util/staticpod`.

use std::net::IpAddr;
use std::time::Duration;

use junio_api::config::common::{EnvVar, HostPathMount};
use junio_api::images::Image;
use serde::Serialize;

use crate::engine::{Template, render};
use crate::error::TemplateError;
use crate::flags::Extra;
use crate::objects::parse_objects;

/// What the static pods of one host have in common.
#[derive(Debug, Clone)]
pub struct ControlPlaneHost {
    pub node_name: String,
    pub advertise_address: IpAddr,
    /// The API server's secure port.
    pub bind_port: u16,
    /// For example `registry.k8s.io`.
    pub image_repository: String,
    /// For example `/etc/kubernetes`.
    pub kubernetes_dir: String,
    /// For example `/etc/kubernetes/pki`.
    pub certificates_dir: String,
    /// Those of [`CA_DIRECTORIES`] that exist on the host.
    pub host_ca_dirs: Vec<String>,
    /// Variables whose name ends in `_proxy`, any case, with a value; not given to etcd.
    pub proxy_env: Vec<(String, String)>,
    /// How long a component may take to become healthy.
    pub health_timeout: Duration,
}

/// Directories with the host's CA certificates that are mounted where they exist, besides `/etc/ssl/certs`.
pub const CA_DIRECTORIES: [&str; 5] = [
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// Seconds between two probes, and how long one may take.
const PROBE_PERIOD: u64 = 10;

impl ControlPlaneHost {
    /// `DIR/name` in the certificates directory.
    pub(crate) fn pki(&self, name: &str) -> String {
        format!("{}/{name}", self.certificates_dir)
    }

    /// `DIR/name` in kubeadm's directory.
    pub(crate) fn kubernetes(&self, name: &str) -> String {
        format!("{}/{name}", self.kubernetes_dir)
    }

    /// The image of a component unless the user names another.
    pub(crate) fn image(&self, image: Image) -> String {
        image.reference(&self.image_repository)
    }

    pub(crate) fn startup_failures(&self) -> u64 {
        self.health_timeout.as_secs().div_ceil(PROBE_PERIOD)
    }
}

/// An address as part of a URL: IPv6 in brackets.
pub(crate) fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The host of a probe; `None` when the component listens everywhere.
pub(crate) fn probe_host(address: &str) -> Option<String> {
    (!matches!(address, "0.0.0.0" | "::")).then(|| address.to_owned())
}

/// One HTTP probe target; port is always the named one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProbeTarget {
    /// `None`: the pod's own address.
    pub host: Option<String>,
    pub scheme: &'static str,
    pub live: &'static str,
    /// The controller manager has none.
    pub ready: Option<&'static str>,
    pub startup: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct Mount {
    name: String,
    path: String,
    read_only: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Volume {
    name: String,
    path: String,
    path_type: String,
}

/// A pod in the making; see the template for its fields.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StaticPod {
    name: &'static str,
    annotation: Option<(&'static str, String)>,
    command: Vec<String>,
    /// JSON objects.
    env: Vec<serde_json::Value>,
    image: String,
    port: u16,
    probe: ProbeTarget,
    startup_failures: u64,
    cpu: &'static str,
    memory: Option<&'static str>,
    mounts: Vec<Mount>,
    volumes: Vec<Volume>,
    #[serde(skip)]
    sorted_mounts: bool,
}

impl Template for StaticPod {
    const NAME: &'static str = "static_pod.yaml";
}

impl StaticPod {
    pub fn new(
        name: &'static str,
        host: &ControlPlaneHost,
        image: String,
        command: Vec<String>,
        port: u16,
        probe: ProbeTarget,
        cpu: &'static str,
    ) -> Self {
        Self {
            name,
            annotation: None,
            command,
            env: Vec::new(),
            image,
            port,
            probe,
            startup_failures: host.startup_failures(),
            cpu,
            memory: None,
            mounts: Vec::new(),
            volumes: Vec::new(),
            sorted_mounts: false,
        }
    }

    pub fn annotate(mut self, key: &'static str, value: String) -> Self {
        self.annotation = Some((key, value));
        self
    }

    pub fn memory(mut self, memory: &'static str) -> Self {
        self.memory = Some(memory);
        self
    }

    /// A host path at the same place in the container.
    pub fn mount(mut self, name: &str, path: &str, path_type: &str, read_only: bool) -> Self {
        self.mounts.push(Mount { name: name.to_owned(), path: path.to_owned(), read_only });
        self.volumes.push(Volume { name: name.to_owned(), path: path.to_owned(), path_type: path_type.to_owned() });
        self
    }

    /// The host's CA certificates and ours.
    pub fn mount_certificates(self, host: &ControlPlaneHost) -> Self {
        let start = self.mount("ca-certs", "/etc/ssl/certs", "DirectoryOrCreate", true).mount(
            "k8s-certs",
            &host.certificates_dir,
            "DirectoryOrCreate",
            true,
        );
        host.host_ca_dirs.iter().fold(start, |pod, dir| {
            let name = dir.trim_start_matches('/').replace('/', "-");
            pod.mount(&name, dir, "DirectoryOrCreate", true)
        })
    }

    /// Volumes and mounts of the user, replacing ours of the same name.
    pub fn mount_extra(mut self, extra: &[HostPathMount]) -> Self {
        for wanted in extra {
            self.mounts.retain(|mount| mount.name != wanted.name);
            self.volumes.retain(|volume| volume.name != wanted.name);
            self.mounts.push(Mount {
                name: wanted.name.clone(),
                path: wanted.mount_path.clone(),
                read_only: wanted.read_only,
            });
            self.volumes.push(Volume {
                name: wanted.name.clone(),
                path: wanted.host_path.clone(),
                path_type: wanted.path_type.clone(),
            });
        }
        self
    }

    /// Mounts by name, as kubeadm writes them for all but etcd; volumes always are.
    pub fn sort_mounts(mut self) -> Self {
        self.sorted_mounts = true;
        self
    }

    /// Proxy variables overridden by the user's, sorted by name.
    pub fn environment(mut self, proxy: &[(String, String)], extra: &[EnvVar]) -> Self {
        let mut all: Vec<EnvVar> = proxy
            .iter()
            .map(|(name, value)| EnvVar { name: name.clone(), value: value.clone(), ..EnvVar::default() })
            .collect();
        all.retain(|variable| !extra.iter().any(|e| e.name == variable.name));
        all.extend(extra.iter().cloned());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        self.env = all
            .into_iter()
            .map(|v| serde_json::to_value(k8s_openapi::api::core::v1::EnvVar::from(v)).unwrap_or_default())
            .collect();
        self
    }

    /// The manifest's text, checked.
    pub fn finish(mut self, extra: &Extra) -> Result<String, TemplateError> {
        self = self.mount_extra(&extra.volumes);
        self.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        if self.sorted_mounts {
            self.mounts.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let text = render(&self)?;
        parse_objects(Self::NAME, &text)?;
        Ok(text)
    }
}
