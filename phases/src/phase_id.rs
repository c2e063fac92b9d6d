//! The closed list of phases: their names, order and help texts. `--skip-phases`, `init phase NAME` and the journal use it.
//!
//! Names and order are kubeadm v1.36.3's (`init`, `reset`), with two of our own: `images` and `addon/flannel`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

macro_rules! phases {
    ($($variant:ident => $name:literal, $title:literal;)*) => {
        /// One phase, or a group of phases (`certs`, `kubeconfig`, `control-plane`, ...).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PhaseId { $(#[doc = $title] $variant,)* }

        impl PhaseId {
            /// All phases and groups.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the command line, `GROUP/PHASE` for a member of a group.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line of help.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

phases! {
    Preflight => "preflight", "Run pre-flight checks";
    Discovery => "discovery", "Find the cluster's CA and endpoint, and read its configuration";
    Images => "images", "Load the images of the bundle into Docker and install its programs";
    Certs => "certs", "Certificate generation";
    CertsCa => "certs/ca", "Generate the self-signed Kubernetes CA to provision identities for other Kubernetes components";
    CertsApiserver => "certs/apiserver", "Generate the certificate for serving the Kubernetes API";
    CertsApiserverKubeletClient => "certs/apiserver-kubelet-client", "Generate the certificate for the API server to connect to kubelet";
    CertsFrontProxyCa => "certs/front-proxy-ca", "Generate the self-signed CA to provision identities for front proxy";
    CertsFrontProxyClient => "certs/front-proxy-client", "Generate the certificate for the front proxy client";
    CertsEtcdCa => "certs/etcd-ca", "Generate the self-signed CA to provision identities for etcd";
    CertsEtcdServer => "certs/etcd-server", "Generate the certificate for serving etcd";
    CertsEtcdPeer => "certs/etcd-peer", "Generate the certificate for etcd nodes to communicate with each other";
    CertsEtcdHealthcheckClient => "certs/etcd-healthcheck-client", "Generate the certificate for liveness probes to healthcheck etcd";
    CertsApiserverEtcdClient => "certs/apiserver-etcd-client", "Generate the certificate the apiserver uses to access etcd";
    CertsSa => "certs/sa", "Generate a private key for signing service account tokens along with its public key";
    Kubeconfig => "kubeconfig", "Generate all kubeconfig files necessary to establish the control plane and the admin kubeconfig file";
    KubeconfigAdmin => "kubeconfig/admin", "Generate a kubeconfig file for the admin to use";
    KubeconfigSuperAdmin => "kubeconfig/super-admin", "Generate a kubeconfig file for the super-admin";
    KubeconfigKubelet => "kubeconfig/kubelet", "Generate a kubeconfig file for the kubelet to use *only* for cluster bootstrapping purposes";
    KubeconfigControllerManager => "kubeconfig/controller-manager", "Generate a kubeconfig file for the controller manager to use";
    KubeconfigScheduler => "kubeconfig/scheduler", "Generate a kubeconfig file for the scheduler to use";
    Etcd => "etcd", "Generate static Pod manifest file for local etcd";
    EtcdLocal => "etcd/local", "Generate the static Pod manifest file for a local, single-node local etcd instance";
    ControlPlane => "control-plane", "Generate all static Pod manifest files necessary to establish the control plane";
    ControlPlaneApiserver => "control-plane/apiserver", "Generate the kube-apiserver static Pod manifest";
    ControlPlaneControllerManager => "control-plane/controller-manager", "Generate the kube-controller-manager static Pod manifest";
    ControlPlaneScheduler => "control-plane/scheduler", "Generate the kube-scheduler static Pod manifest";
    KubeletStart => "kubelet-start", "Write kubelet settings and (re)start the kubelet";
    KubeletWaitBootstrap => "kubelet-wait-bootstrap", "Wait for the kubelet to bootstrap itself";
    WaitControlPlane => "wait-control-plane", "Wait for the control plane to start";
    UploadConfig => "upload-config", "Upload the kubeadm and kubelet configuration to ConfigMaps";
    UploadConfigKubeadm => "upload-config/kubeadm", "Upload the kubeadm ClusterConfiguration to a ConfigMap";
    UploadConfigKubelet => "upload-config/kubelet", "Upload the kubelet configuration to a ConfigMap";
    UploadCerts => "upload-certs", "Upload certificates to kubeadm-certs";
    MarkControlPlane => "mark-control-plane", "Mark a node as a control-plane";
    BootstrapToken => "bootstrap-token", "Generates bootstrap tokens used to join a node to a cluster";
    KubeletFinalize => "kubelet-finalize", "Updates settings relevant to the kubelet after TLS bootstrap";
    KubeletFinalizeRotation => "kubelet-finalize/enable-client-cert-rotation", "Enable kubelet client certificate rotation";
    Addon => "addon", "Install required addons for passing conformance tests, and the network";
    AddonCoreDns => "addon/coredns", "Install the CoreDNS addon to a Kubernetes cluster";
    AddonKubeProxy => "addon/kube-proxy", "Install the kube-proxy addon to a Kubernetes cluster";
    AddonFlannel => "addon/flannel", "Install the flannel pod network to a Kubernetes cluster";
    ShowJoinCommand => "show-join-command", "Show the join command for control-plane and worker node";
    Verify => "verify", "Wait until the node is Ready and DNS is served";
    RemoveEtcdMember => "remove-etcd-member", "Remove a local etcd member";
    CleanupNode => "cleanup-node", "Run cleanup node";
}

/// A name that no phase has.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("invalid phase name: {0}")]
pub struct UnknownPhase(pub String);

impl PhaseId {
    /// What `init` runs, leaves only, in the order in which it is told; independent ones overlap.
    pub const INIT_ORDER: &'static [Self] = &[
        Self::Preflight,
        Self::Images,
        Self::CertsCa,
        Self::CertsApiserver,
        Self::CertsApiserverKubeletClient,
        Self::CertsFrontProxyCa,
        Self::CertsFrontProxyClient,
        Self::CertsEtcdCa,
        Self::CertsEtcdServer,
        Self::CertsEtcdPeer,
        Self::CertsEtcdHealthcheckClient,
        Self::CertsApiserverEtcdClient,
        Self::CertsSa,
        Self::KubeconfigAdmin,
        Self::KubeconfigSuperAdmin,
        Self::KubeconfigKubelet,
        Self::KubeconfigControllerManager,
        Self::KubeconfigScheduler,
        Self::EtcdLocal,
        Self::ControlPlaneApiserver,
        Self::ControlPlaneControllerManager,
        Self::ControlPlaneScheduler,
        Self::KubeletStart,
        Self::WaitControlPlane,
        Self::UploadConfigKubeadm,
        Self::UploadConfigKubelet,
        Self::UploadCerts,
        Self::MarkControlPlane,
        Self::BootstrapToken,
        Self::KubeletFinalizeRotation,
        Self::AddonCoreDns,
        Self::AddonKubeProxy,
        Self::AddonFlannel,
        Self::Verify,
        Self::ShowJoinCommand,
    ];

    /// What `init phase NAME` and `init --skip-phases` accept: groups and leaves in the order of the help text.
    pub const INIT_NAMES: &'static [Self] = &[
        Self::Preflight,
        Self::Images,
        Self::Certs,
        Self::CertsCa,
        Self::CertsApiserver,
        Self::CertsApiserverKubeletClient,
        Self::CertsFrontProxyCa,
        Self::CertsFrontProxyClient,
        Self::CertsEtcdCa,
        Self::CertsEtcdServer,
        Self::CertsEtcdPeer,
        Self::CertsEtcdHealthcheckClient,
        Self::CertsApiserverEtcdClient,
        Self::CertsSa,
        Self::Kubeconfig,
        Self::KubeconfigAdmin,
        Self::KubeconfigSuperAdmin,
        Self::KubeconfigKubelet,
        Self::KubeconfigControllerManager,
        Self::KubeconfigScheduler,
        Self::Etcd,
        Self::EtcdLocal,
        Self::ControlPlane,
        Self::ControlPlaneApiserver,
        Self::ControlPlaneControllerManager,
        Self::ControlPlaneScheduler,
        Self::KubeletStart,
        Self::WaitControlPlane,
        Self::UploadConfig,
        Self::UploadConfigKubeadm,
        Self::UploadConfigKubelet,
        Self::UploadCerts,
        Self::MarkControlPlane,
        Self::BootstrapToken,
        Self::KubeletFinalize,
        Self::KubeletFinalizeRotation,
        Self::Addon,
        Self::AddonCoreDns,
        Self::AddonKubeProxy,
        Self::AddonFlannel,
        Self::Verify,
        Self::ShowJoinCommand,
    ];

    /// What `join` runs on a worker, in the order in which it is told; the first three overlap.
    pub const JOIN_ORDER: &'static [Self] =
        &[Self::Preflight, Self::Discovery, Self::Images, Self::KubeletStart, Self::KubeletWaitBootstrap, Self::Verify];

    /// What `join phase NAME` and `join --skip-phases` accept. Discovery is no choice: others need what it finds.
    pub const JOIN_NAMES: &'static [Self] =
        &[Self::Preflight, Self::Images, Self::KubeletStart, Self::KubeletWaitBootstrap, Self::Verify];

    /// The phases of `reset`.
    pub const RESET_ORDER: &'static [Self] = &[Self::Preflight, Self::RemoveEtcdMember, Self::CleanupNode];

    /// Reads a name; kubeadm's aliases (`uploadconfig`, `bootstraptoken`, `pre-flight`, `cleanupnode`) and `GROUP/all` too.
    pub fn parse(name: &str) -> Result<Self, UnknownPhase> {
        let wanted = match name {
            "pre-flight" => "preflight",
            "cleanupnode" => "cleanup-node",
            "bootstraptoken" => "bootstrap-token",
            "uploadconfig" => "upload-config",
            other => other.strip_suffix("/all").unwrap_or(other),
        };
        let wanted = wanted
            .strip_prefix("uploadconfig/")
            .map_or_else(|| wanted.to_owned(), |rest| format!("upload-config/{rest}"));
        Self::ALL.iter().copied().find(|id| id.name() == wanted).ok_or_else(|| UnknownPhase(name.to_owned()))
    }

    /// The group of a member, the phase itself otherwise: `certs` for `certs/ca`.
    #[must_use]
    pub fn group(self) -> Self {
        let name = self.name();
        let group = name.split_once('/').map_or(name, |(group, _)| group);
        Self::ALL.iter().copied().find(|id| id.name() == group).unwrap_or(self)
    }

    /// True when `self` is `other` or the group that holds it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == other || other.group() == self
    }

    /// True for a name that stands for several phases.
    #[must_use]
    pub fn is_group(self) -> bool {
        Self::ALL.iter().any(|other| *other != self && other.group() == self)
    }

    /// What kubeadm prints in brackets in front of the lines of this phase.
    #[must_use]
    pub fn bracket(self) -> &'static str {
        match self.group() {
            Self::Addon => "addons",
            Self::UploadConfig if self == Self::UploadConfigKubelet => "kubelet",
            Self::KubeletWaitBootstrap => "kubelet-start",
            Self::RemoveEtcdMember | Self::CleanupNode => "reset",
            group => group.name(),
        }
    }
}

impl fmt::Display for PhaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PhaseId {
    type Err = UnknownPhase;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl Serialize for PhaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_unique() {
        for id in PhaseId::ALL {
            assert_eq!(PhaseId::parse(id.name()), Ok(*id));
        }
    }

    #[test]
    fn groups_cover_their_members_only() {
        assert!(PhaseId::Certs.covers(PhaseId::CertsSa));
        assert!(PhaseId::CertsSa.covers(PhaseId::CertsSa));
        assert!(!PhaseId::CertsSa.covers(PhaseId::CertsCa));
        assert!(!PhaseId::Kubeconfig.covers(PhaseId::CertsCa));
        assert!(PhaseId::Preflight.covers(PhaseId::Preflight));
        assert!(PhaseId::Addon.is_group());
        assert!(!PhaseId::Verify.is_group());
    }

    #[test]
    fn kubeadm_aliases_are_known() {
        assert_eq!(PhaseId::parse("uploadconfig/kubelet"), Ok(PhaseId::UploadConfigKubelet));
        assert_eq!(PhaseId::parse("certs/all"), Ok(PhaseId::Certs));
        assert!(PhaseId::parse("certs/none").is_err());
    }

    #[test]
    fn every_leaf_of_init_has_a_name_for_the_command_line() {
        for id in PhaseId::INIT_ORDER {
            assert!(PhaseId::INIT_NAMES.contains(id), "{id}");
            assert!(!id.is_group(), "{id}");
        }
    }
}
