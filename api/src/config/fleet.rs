//! `Cluster`: the hosts of a cluster, the way to them and what they become. The document of `apply`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::cluster::ClusterConfiguration;
use super::common::{Arg, Taint};
use super::component::ComponentConfig;
use super::documents::InitDocuments;
use super::init::InitConfiguration;
use super::join::JoinConfiguration;
use super::macros::{document, top_level};
use crate::duration::GoDuration;

pub(super) const API: &str = "junioadm.io/v1alpha1";

/// Roles of a host.
pub const CONTROL_PLANE: &str = "control-plane";
pub const WORKER: &str = "worker";
pub const ETCD: &str = "etcd";

top_level! {
    /// Hosts that are to be one cluster.
    pub struct Cluster {}
    always {
        metadata: Metadata,
        spec: ClusterSpec,
    }
}

document! {
    pub struct Metadata {}
    always {
        /// The cluster's name, and that of its kubeconfig file.
        name: String,
    }
}

document! {
    pub struct ClusterSpec {
        ssh: SshSettings,
        kubeadm: KubeadmDocuments,
    }
    always { hosts: Vec<HostSpec>, }
}

document! {
    /// How hosts are reached, unless the host itself or `ssh_config` says otherwise.
    pub struct SshSettings {
        /// Who logs in; without root's rights, sudo is used.
        user: String,
        port: u16,
        /// Private keys, tried in this order; those of ssh_config and the usual ones without.
        identity_files: Vec<String>,
        /// An OpenSSH client configuration instead of the user's; `none` reads no file.
        config_file: String,
        /// Files in the format of known_hosts, instead of the usual ones.
        known_hosts: Vec<String>,
        /// `strict`, or `accept-new`: keys of hosts that were never seen are taken and written down.
        host_keys: String,
        /// `[USER@]HOST[:PORT]`: the way leads through them, in this order.
        proxy_jump: Vec<String>,
        /// `auto`, `never` or `always`.
        sudo: String,
        connect_timeout: Option<GoDuration>,
    }
}

document! {
    pub struct HostSpec {
        /// `[USER@]HOST[:PORT]`.
        ssh: String,
        /// This machine itself; no SSH.
        local: bool,
        /// The node's name; the host's own name without one.
        node_name: String,
        labels: BTreeMap<String, String>,
        taints: Vec<Taint>,
        /// Flags for this host's kubelet, before those of `kubeadm.joinConfiguration`.
        kubelet_extra_args: Vec<Arg>,
    }
    always {
        /// `control-plane` or `worker`; a worker without one.
        role: String,
    }
}

document! {
    /// kubeadm's documents as they stand in files for `init` and `join`; what belongs to one host is in `hosts`.
    pub struct KubeadmDocuments {
        init_configuration: Option<InitConfiguration>,
        cluster_configuration: Option<ClusterConfiguration>,
        join_configuration: Option<JoinConfiguration>,
        kubelet_configuration: Option<Map<String, Value>>,
        kube_proxy_configuration: Option<Map<String, Value>>,
    }
}

impl HostSpec {
    /// How the host is called in messages.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.local { "this host" } else { &self.ssh }
    }

    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        self.role == CONTROL_PLANE
    }

    /// A host without a role is a worker.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.role.is_empty() || self.role == WORKER
    }
}

impl Cluster {
    /// What `init` on the control plane works with, before defaults.
    #[must_use]
    pub fn init_documents(&self, host: &HostSpec) -> InitDocuments {
        let documents = self.spec.kubeadm.clone();
        let component = |map: Option<Map<String, Value>>| {
            map.map(|mut map| {
                map.remove("apiVersion");
                map.remove("kind");
                ComponentConfig(map)
            })
        };
        let mut init = documents.init_configuration.unwrap_or_default();
        if !host.node_name.is_empty() {
            init.node_registration.name.clone_from(&host.node_name);
        }
        prepend(&mut init.node_registration.kubelet_extra_args, &host.kubelet_extra_args);
        let mut cluster = documents.cluster_configuration.unwrap_or_default();
        if cluster.cluster_name.is_empty() {
            cluster.cluster_name.clone_from(&self.metadata.name);
        }
        InitDocuments {
            init,
            cluster,
            kubelet: component(documents.kubelet_configuration),
            kube_proxy: component(documents.kube_proxy_configuration),
        }
    }

    /// What `join` on a worker works with, before defaults and without the way into the cluster.
    #[must_use]
    pub fn join_document(&self, host: &HostSpec) -> JoinConfiguration {
        let mut join = self.spec.kubeadm.join_configuration.clone().unwrap_or_default();
        if !host.node_name.is_empty() {
            join.node_registration.name.clone_from(&host.node_name);
        }
        prepend(&mut join.node_registration.kubelet_extra_args, &host.kubelet_extra_args);
        join
    }
}

fn prepend(arguments: &mut Vec<Arg>, first: &[Arg]) {
    arguments.splice(..0, first.iter().cloned());
}
