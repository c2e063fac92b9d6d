//! Image references by component, under the names that upstream gives them.

use crate::versions;

/// The registry prefix of all images unless the configuration says otherwise.
pub const DEFAULT_REPOSITORY: &str = "registry.k8s.io";

/// One bundled image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Image {
    ApiServer,
    ControllerManager,
    Scheduler,
    Proxy,
    CoreDns,
    Pause,
    Etcd,
    Flannel,
}

impl Image {
    /// Every image of a cluster, in the order `config images list` prints them (kubeadm's, then ours).
    pub const ALL: [Self; 8] = [
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Proxy,
        Self::CoreDns,
        Self::Pause,
        Self::Etcd,
        Self::Flannel,
    ];

    /// `REPOSITORY/NAME:TAG`, for example `registry.k8s.io/kube-apiserver:v1.36.3`.
    #[must_use]
    pub fn reference(self, repository: &str) -> String {
        format!("{repository}/{}:{}", self.name(), self.tag())
    }

    /// The image's name without registry and tag.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Proxy => "kube-proxy",
            Self::CoreDns => "coredns/coredns",
            Self::Pause => "pause",
            Self::Etcd => "etcd",
            Self::Flannel => "flannel",
        }
    }

    /// The tag; where our component is newer than kubeadm's default, it is our own.
    #[must_use]
    pub fn tag(self) -> String {
        match self {
            Self::ApiServer | Self::ControllerManager | Self::Scheduler | Self::Proxy => {
                versions::KUBERNETES.to_owned()
            }
            Self::CoreDns => versions::COREDNS.to_owned(),
            Self::Pause => versions::PAUSE.to_owned(),
            Self::Etcd => format!("{}-0", versions::ETCD),
            Self::Flannel => versions::FLANNEL.to_owned(),
        }
    }
}
