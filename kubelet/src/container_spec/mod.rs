//! From a pod of the API to what the engine is asked for: environment, mounts, security, resources, names.

pub mod annotations;
mod blocking;
mod cgroup;
mod cgroup_manager;
mod cgroup_usage;
mod config;
mod container_ref;
mod context;
mod environment;
mod error;
mod expand;
mod fields;
mod hash;
mod hostname;
mod hosts;
mod mounts;
mod pod_files;
mod qos;
mod quantity;
mod resolv;
mod resources;
mod security;
mod service_env;
mod systemd_slice;
#[cfg(test)]
pub(crate) mod tests_support;

pub(crate) use blocking::blocking;
pub use cgroup::{CgroupDriver, CgroupSettings, may_lower_oom_score};
pub use cgroup_manager::{CgroupError, CgroupManager, Limits, pod_cgroup_limits, weight};
pub use cgroup_usage::PodGroupUsage;
pub use config::{
    container_config, pod_log_dir, pod_log_dir_in, pod_ref, port_mappings, runtime_handler, sandbox_config,
};
pub use container_ref::{ContainerRef, all_containers, find_container};
pub use context::{NodeAmounts, NodeInfo, SpecContext, is_alone, is_host_network, is_static, name, namespace, uid};
pub use environment::{environment, literal_environment, needs_pod_ip};
pub use error::SpecError;
pub use expand::expand;
pub use fields::{format_map, pod_field, resource_field};
pub use hash::container_hash;
pub use hostname::{PodName, pod_name};
pub use pod_files::{PodFiles, pod_resolv_conf, prepare_pod_files, write_hosts_file};
pub use qos::{QosClass, qos_class};
pub use quantity::{Format, ParseQuantityError, Quantity};
pub use resolv::{DnsConfig, Resolv, parse as parse_resolv_conf, resolv_conf};
pub use resources::{
    Amounts, CPU_PERIOD, amount, container_resources, cpu_quota, cpu_shares, is_limited, is_node_critical,
    oom_score_adj, pod_limits, pod_requests, regular_containers, request_or_limit,
};
pub use security::{Security, run_as_user, security};
