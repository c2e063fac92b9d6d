//! Names that Kubernetes, kubeadm and junioadm agree on. Source: kubeadm v1.36.3 `app/constants`.

/// File name stems of the control plane's static pods, in the order in which they are started.
pub const ETCD: &str = "etcd";
pub const KUBE_APISERVER: &str = "kube-apiserver";
pub const KUBE_CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub const KUBE_SCHEDULER: &str = "kube-scheduler";
pub const KUBE_PROXY: &str = "kube-proxy";
pub const COREDNS: &str = "coredns";

/// Namespaces.
pub const KUBE_SYSTEM: &str = "kube-system";
pub const KUBE_PUBLIC: &str = "kube-public";
pub const KUBE_NODE_LEASE: &str = "kube-node-lease";
pub const KUBE_FLANNEL: &str = "kube-flannel";

/// Users and groups in client certificates.
pub const NODES_GROUP: &str = "system:nodes";
pub const NODE_USER_PREFIX: &str = "system:node:";
pub const CLUSTER_ADMINS_GROUP: &str = "kubeadm:cluster-admins";
pub const MASTERS_GROUP: &str = "system:masters";
pub const NODE_BOOTSTRAP_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Labels and taints of a control-plane node.
pub const LABEL_CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
pub const LABEL_EXCLUDE_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Annotations that kubeadm writes into static pods and reads back.
pub const ANNOTATION_APISERVER_ENDPOINT: &str = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint";
pub const ANNOTATION_ETCD_CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
pub const ANNOTATION_COMPONENT_CONFIG_HASH: &str = "kubeadm.kubernetes.io/component-config.hash";

/// ConfigMaps.
pub const CM_KUBEADM_CONFIG: &str = "kubeadm-config";
pub const CM_KUBELET_CONFIG: &str = "kubelet-config";
pub const CM_CLUSTER_INFO: &str = "cluster-info";

/// Field manager of everything that we apply.
pub const FIELD_MANAGER: &str = "junioadm";

/// The label on every Docker object that junioadm or junio-kubelet made on a host.
pub const DOCKER_LABEL: &str = "io.junioadm.managed";
