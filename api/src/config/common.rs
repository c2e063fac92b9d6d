//! Pieces that several documents share.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;

use super::macros::document;
use crate::duration::GoDuration;

document! {
    /// One command line flag of a component, without its dashes. A name may repeat.
    pub struct Arg {}
    always { name: String, value: String, }
}

impl Arg {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

document! {
    /// A host path mounted into a control plane component.
    pub struct HostPathMount {
        read_only: bool,
        /// A `HostPathType`: empty, `DirectoryOrCreate`, `File`, ...
        path_type: String,
    }
    always { name: String, host_path: String, mount_path: String, }
}

document! {
    /// An environment variable of a control plane component.
    pub struct EnvVar {
        value: String,
        value_from: Option<core::EnvVarSource>,
    }
    always { name: String, }
}

impl From<EnvVar> for core::EnvVar {
    fn from(env: EnvVar) -> Self {
        Self { name: env.name, value: Some(env.value).filter(|v| !v.is_empty()), value_from: env.value_from }
    }
}

document! {
    /// A taint that the node registers with.
    pub struct Taint {
        value: String,
    }
    always { key: String, effect: String, }
}

impl From<Taint> for core::Taint {
    fn from(taint: Taint) -> Self {
        Self {
            key: taint.key,
            value: Some(taint.value).filter(|v| !v.is_empty()),
            effect: taint.effect,
            time_added: None,
        }
    }
}

document! {
    /// How this host becomes a node.
    pub struct NodeRegistration {
        /// The node's name; defaults to the host name in lower case.
        name: String,
        /// The container engine's socket, `unix://PATH`.
        cri_socket: String,
        /// Flags for the kubelet's command line.
        kubelet_extra_args: Vec<Arg>,
        /// Names of preflight checks whose errors become warnings; `all` stands alone.
        ignore_preflight_errors: Vec<String>,
        /// `Always`, `IfNotPresent` or `Never`.
        image_pull_policy: String,
        image_pull_serial: Option<bool>,
    }
    always {
        /// `None`: the control plane's taint on a control plane node, nothing on a worker. An empty list: no taint at all.
        taints: Option<Vec<Taint>>,
    }
}

document! {
    /// Where this host's API server listens.
    pub struct ApiEndpoint {
        /// An IP address; defaults to the one of the default route.
        advertise_address: String,
        bind_port: u16,
    }
}

document! {
    /// Where files `target[suffix][+type].{yaml,json}` are found.
    pub struct Patches {
        directory: String,
    }
}

document! {
    /// How long the installer waits; unset means kubeadm's default.
    pub struct Timeouts {
        control_plane_component_health_check: Option<GoDuration>,
        kubelet_health_check: Option<GoDuration>,
        #[serde(rename = "kubernetesAPICall")]
        kubernetes_api_call: Option<GoDuration>,
        #[serde(rename = "etcdAPICall")]
        etcd_api_call: Option<GoDuration>,
        tls_bootstrap: Option<GoDuration>,
        discovery: Option<GoDuration>,
        upgrade_manifests: Option<GoDuration>,
    }
}

macro_rules! timeouts {
    ($($name:ident => $minutes:literal;)*) => {
        impl Timeouts {
            /// All timeouts at kubeadm's defaults.
            #[must_use]
            pub fn defaults() -> Self {
                Self { $($name: Some(GoDuration::from_secs($minutes * 60)),)* }
            }

            /// Fills what is unset.
            pub fn apply_defaults(&mut self) {
                $(self.$name.get_or_insert(GoDuration::from_secs($minutes * 60));)*
            }

            $(
                /// The value, or kubeadm's default.
                #[must_use]
                pub fn $name(&self) -> Duration {
                    self.$name.map_or(Duration::from_secs($minutes * 60), |d| d.0)
                }
            )*
        }
    };
}

timeouts! {
    control_plane_component_health_check => 4;
    kubelet_health_check => 4;
    kubernetes_api_call => 1;
    etcd_api_call => 2;
    tls_bootstrap => 5;
    discovery => 5;
    upgrade_manifests => 5;
}
