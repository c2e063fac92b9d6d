//! Where files live on a host. A `Layout` is rooted, so that tests and `--rootfs` work on any directory.

use std::path::{Path, PathBuf};

use crate::names;

/// All paths of one host. `Layout::default()` is a real host (`/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    /// Where Docker Engine listens, when that is not the usual place.
    docker: Option<PathBuf>,
}

impl Default for Layout {
    fn default() -> Self {
        Self::new("/")
    }
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident => $path:literal;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(&self) -> PathBuf { self.root.join($path) })*
    };
}

impl Layout {
    /// A layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), docker: None }
    }

    /// The same host with its Docker Engine at `unix:///PATH`; with nothing, at the usual place.
    #[must_use]
    pub fn with_docker(mut self, socket: &str) -> Self {
        let path = socket.strip_prefix("unix://").unwrap_or(socket).trim_start_matches('/');
        self.docker = (!path.is_empty()).then(|| self.root.join(path));
        self
    }

    /// Docker Engine's socket.
    #[must_use]
    pub fn docker_socket(&self) -> PathBuf {
        self.docker.clone().unwrap_or_else(|| self.root.join("run/docker.sock"))
    }

    /// The directory that stands for `/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    paths! {
        /// kubeadm's directory.
        kubernetes_dir => "etc/kubernetes";
        /// Certificates and keys.
        pki_dir => "etc/kubernetes/pki";
        /// Static pod manifests; the kubelet watches it.
        manifests_dir => "etc/kubernetes/manifests";
        /// Dry runs, backups, and manifests before they are renamed into place.
        tmp_dir => "etc/kubernetes/tmp";
        admin_conf => "etc/kubernetes/admin.conf";
        super_admin_conf => "etc/kubernetes/super-admin.conf";
        kubelet_conf => "etc/kubernetes/kubelet.conf";
        bootstrap_kubelet_conf => "etc/kubernetes/bootstrap-kubelet.conf";
        controller_manager_conf => "etc/kubernetes/controller-manager.conf";
        scheduler_conf => "etc/kubernetes/scheduler.conf";
        /// The kubelet's state.
        kubelet_dir => "var/lib/kubelet";
        kubelet_config => "var/lib/kubelet/config.yaml";
        kubelet_instance_config => "var/lib/kubelet/instance-config.yaml";
        kubelet_flags_env => "var/lib/kubelet/kubeadm-flags.env";
        kubelet_pki_dir => "var/lib/kubelet/pki";
        etcd_data_dir => "var/lib/etcd";
        cni_bin_dir => "opt/cni/bin";
        cni_conf_dir => "etc/cni/net.d";
        pod_log_dir => "var/log/pods";
        container_log_dir => "var/log/containers";
        /// Journal, receipts, bundle.
        junioadm_dir => "var/lib/junioadm";
        bundle => "var/lib/junioadm/bundle.jbundle";
        journal => "var/lib/junioadm/journal.ndjson";
        /// Below /run: taking it leaves nothing behind.
        lock => "run/junioadm/lock";
        junioadm_log_dir => "var/log/junioadm";
        junioadm_bin => "usr/local/bin/junioadm";
        kubelet_bin => "usr/local/bin/junio-kubelet";
        kubectl_bin => "usr/local/bin/kubectl";
        kubelet_unit => "etc/systemd/system/junio-kubelet.service";
    }

    /// The manifest of a static pod, for example `kube-apiserver`.
    #[must_use]
    pub fn manifest(&self, component: &str) -> PathBuf {
        self.manifests_dir().join(format!("{component}.yaml"))
    }

    /// The four manifests of a control plane with local etcd.
    #[must_use]
    pub fn control_plane_manifests(&self) -> [PathBuf; 4] {
        [names::ETCD, names::KUBE_APISERVER, names::KUBE_CONTROLLER_MANAGER, names::KUBE_SCHEDULER]
            .map(|component| self.manifest(component))
    }
}
