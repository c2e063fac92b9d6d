//! What can be patched.

use std::fmt;

use junio_api::names;

/// A file or object that patches are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kubelet,
    CoreDns,
}

impl Target {
    /// In kubeadm's order.
    pub const ALL: [Self; 6] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Kubelet, Self::CoreDns];

    /// As file names begin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => names::ETCD,
            Self::ApiServer => names::KUBE_APISERVER,
            Self::ControllerManager => names::KUBE_CONTROLLER_MANAGER,
            Self::Scheduler => names::KUBE_SCHEDULER,
            Self::Kubelet => "kubeletconfiguration",
            Self::CoreDns => "corednsdeployment",
        }
    }

    /// The type of the object.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Kubelet => "KubeletConfiguration",
            Self::CoreDns => "Deployment",
            _ => "Pod",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
