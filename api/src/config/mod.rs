//! Configuration documents: kubeadm.k8s.io/v1beta4 as it is, KubeletConfiguration, KubeProxyConfiguration, and our own Cluster.
//!
//! `load_init` reads, `defaults::apply` completes (pure: facts about the host are passed in), `validate` judges, `emit` writes.

pub mod cluster;
pub mod common;
pub mod component;
pub mod defaults;
pub mod documents;
pub mod emit;
pub mod error;
pub mod fleet;
pub mod init;
pub mod join;
mod macros;
pub mod migrate;
pub mod reset;
pub mod samples;
pub mod schema;
pub mod split;
mod subnets;
pub mod tree;
pub mod upgrade;
pub mod validate;
mod validate_fleet;
mod validate_join;

pub use cluster::{ClusterConfiguration, EncryptionAlgorithm};
pub use common::{ApiEndpoint, Arg, NodeRegistration, Taint, Timeouts};
pub use component::ComponentConfig;
pub use defaults::HostFacts;
pub use documents::{
    Documents, InitDocuments, JoinDocuments, Kind, load, load_fleet, load_init, load_join, load_reset, locate,
};
pub use error::{ConfigError, FieldError, Place, Problem, Warning};
pub use init::{BootstrapToken, InitConfiguration};
pub use join::JoinConfiguration;
pub use reset::ResetConfiguration;
pub use upgrade::UpgradeConfiguration;
pub use validate::validate;
pub use validate_fleet::validate_fleet;
pub use validate_join::validate_join;
