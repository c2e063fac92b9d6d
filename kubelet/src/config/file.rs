//! `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1). Source of names and defaults: upstream
//! `pkg/kubelet/apis/config/v1beta1/{types,defaults}.go`, v1.36.
//!
//! Every field of the kind is known, so that a spelling mistake is an error with its place; fields that mean nothing on
//! Docker are kept as plain values. `0s` and absence both mean the default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use junio_api::duration::GoDuration;
use serde::Deserialize;
use serde_json::Value;

/// The configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {message}", path.display())]
    Parse { path: PathBuf, message: String },
    #[error("{}: {field} is invalid: {message}", path.display())]
    Invalid { path: PathBuf, field: &'static str, message: String },
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct X509Authentication {
    #[serde(rename = "clientCAFile")]
    pub client_ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookAuthentication {
    pub enabled: Option<bool>,
    #[serde(rename = "cacheTTL")]
    pub cache_ttl: GoDuration,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AnonymousAuthentication {
    pub enabled: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Authentication {
    pub x509: X509Authentication,
    pub webhook: WebhookAuthentication,
    pub anonymous: AnonymousAuthentication,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookAuthorization {
    #[serde(rename = "cacheAuthorizedTTL")]
    pub cache_authorized_ttl: GoDuration,
    #[serde(rename = "cacheUnauthorizedTTL")]
    pub cache_unauthorized_ttl: GoDuration,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Authorization {
    pub mode: Option<String>,
    pub webhook: WebhookAuthorization,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CrashLoopBackOff {
    pub max_container_restart_period: Option<GoDuration>,
}

/// How long pods from this priority on have to end when the node shuts down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ShutdownGrace {
    pub priority: i32,
    pub shutdown_grace_period_seconds: u64,
}

macro_rules! configuration {
    (used { $($(#[$attr:meta])* $name:ident: $type:ty,)* } kept { $($key:literal => $kept:ident,)* }) => {
        /// The file as it is written. Ask the methods for values with defaults.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
        pub struct KubeletConfiguration {
            $($(#[$attr])* pub $name: $type,)*
            $(#[serde(rename = $key)] pub $kept: Option<Value>,)*
            /// All of it, as it was written.
            #[serde(skip)] pub written: Value,
        }
    };
}

configuration! {
    used {
        api_version: Option<String>,
        kind: Option<String>,
        enable_server: Option<bool>,
        static_pod_path: Option<PathBuf>,
        pod_logs_dir: Option<PathBuf>,
        sync_frequency: GoDuration,
        file_check_frequency: GoDuration,
        address: Option<String>,
        port: Option<u16>,
        tls_cert_file: Option<PathBuf>,
        tls_private_key_file: Option<PathBuf>,
        rotate_certificates: Option<bool>,
        #[serde(rename = "serverTLSBootstrap")]
        server_tls_bootstrap: Option<bool>,
        authentication: Authentication,
        authorization: Authorization,
        #[serde(rename = "eventRecordQPS")]
        event_record_qps: Option<i32>,
        event_burst: Option<i32>,
        enable_debugging_handlers: Option<bool>,
        healthz_port: Option<u16>,
        healthz_bind_address: Option<String>,
        oom_score_adj: Option<i32>,
        cluster_domain: Option<String>,
        #[serde(rename = "clusterDNS")]
        cluster_dns: Vec<String>,
        streaming_connection_idle_timeout: GoDuration,
        node_status_update_frequency: GoDuration,
        node_status_report_frequency: GoDuration,
        node_lease_duration_seconds: Option<u32>,
        #[serde(rename = "imageMinimumGCAge")]
        image_minimum_gc_age: GoDuration,
        #[serde(rename = "imageMaximumGCAge")]
        image_maximum_gc_age: GoDuration,
        #[serde(rename = "imageGCHighThresholdPercent")]
        image_gc_high_threshold_percent: Option<u8>,
        #[serde(rename = "imageGCLowThresholdPercent")]
        image_gc_low_threshold_percent: Option<u8>,
        cgroup_driver: Option<String>,
        cgroup_root: Option<String>,
        #[serde(rename = "cgroupsPerQOS")]
        cgroups_per_qos: Option<bool>,
        max_pods: Option<u32>,
        #[serde(rename = "podCIDR")]
        pod_cidr: Option<String>,
        pod_pids_limit: Option<i64>,
        resolv_conf: Option<PathBuf>,
        #[serde(rename = "cpuCFSQuota")]
        cpu_cfs_quota: Option<bool>,
        #[serde(rename = "cpuCFSQuotaPeriod")]
        cpu_cfs_quota_period: GoDuration,
        node_status_max_images: Option<i32>,
        serialize_image_pulls: Option<bool>,
        max_parallel_image_pulls: Option<u32>,
        eviction_hard: Option<BTreeMap<String, String>>,
        eviction_soft: BTreeMap<String, String>,
        eviction_soft_grace_period: BTreeMap<String, GoDuration>,
        eviction_pressure_transition_period: GoDuration,
        /// Seconds.
        eviction_max_pod_grace_period: u32,
        eviction_minimum_reclaim: BTreeMap<String, String>,
        merge_default_eviction_settings: Option<bool>,
        enforce_node_allocatable: Option<Vec<String>>,
        local_storage_capacity_isolation: Option<bool>,
        shutdown_grace_period: GoDuration,
        shutdown_grace_period_critical_pods: GoDuration,
        shutdown_grace_period_by_pod_priority: Vec<ShutdownGrace>,
        fail_swap_on: Option<bool>,
        container_log_max_size: Option<String>,
        container_log_max_files: Option<u32>,
        system_reserved: BTreeMap<String, String>,
        kube_reserved: BTreeMap<String, String>,
        allowed_unsafe_sysctls: Vec<String>,
        #[serde(rename = "providerID")]
        provider_id: Option<String>,
        crash_loop_back_off: CrashLoopBackOff,
        seccomp_default: Option<bool>,
        register_with_taints: Vec<k8s_openapi::api::core::v1::Taint>,
        register_node: Option<bool>,
        container_runtime_endpoint: Option<String>,
        #[serde(rename = "failCgroupV1")]
        fail_cgroup_v1: Option<bool>,
        feature_gates: BTreeMap<String, bool>,
    }
    kept {
        "httpCheckFrequency" => http_check_frequency,
        "staticPodURL" => static_pod_url,
        "staticPodURLHeader" => static_pod_url_header,
        "readOnlyPort" => read_only_port,
        "tlsCipherSuites" => tls_cipher_suites,
        "tlsCurvePreferences" => tls_curve_preferences,
        "tlsMinVersion" => tls_min_version,
        "registryPullQPS" => registry_pull_qps,
        "registryBurst" => registry_burst,
        "imagePullCredentialsVerificationPolicy" => image_pull_credentials_verification_policy,
        "preloadedImagesVerificationAllowlist" => preloaded_images_verification_allowlist,
        "enableContentionProfiling" => enable_contention_profiling,
        "volumeStatsAggPeriod" => volume_stats_agg_period,
        "kubeletCgroups" => kubelet_cgroups,
        "systemCgroups" => system_cgroups,
        "cpuManagerPolicy" => cpu_manager_policy,
        "singleProcessOOMKill" => single_process_oom_kill,
        "cpuManagerPolicyOptions" => cpu_manager_policy_options,
        "cpuManagerReconcilePeriod" => cpu_manager_reconcile_period,
        "memoryManagerPolicy" => memory_manager_policy,
        "topologyManagerPolicy" => topology_manager_policy,
        "topologyManagerScope" => topology_manager_scope,
        "topologyManagerPolicyOptions" => topology_manager_policy_options,
        "qosReserved" => qos_reserved,
        "runtimeRequestTimeout" => runtime_request_timeout,
        "hairpinMode" => hairpin_mode,
        "runOnce" => run_once,
        "maxOpenFiles" => max_open_files,
        "contentType" => content_type,
        "kubeAPIQPS" => kube_api_qps,
        "kubeAPIBurst" => kube_api_burst,
        "podsPerCore" => pods_per_core,
        "enableControllerAttachDetach" => enable_controller_attach_detach,
        "protectKernelDefaults" => protect_kernel_defaults,
        "makeIPTablesUtilChains" => make_iptables_util_chains,
        "iptablesMasqueradeBit" => iptables_masquerade_bit,
        "iptablesDropBit" => iptables_drop_bit,
        "memorySwap" => memory_swap,
        "containerLogMaxWorkers" => container_log_max_workers,
        "containerLogMonitorInterval" => container_log_monitor_interval,
        "configMapAndSecretChangeDetectionStrategy" => change_detection_strategy,
        "reservedSystemCPUs" => reserved_system_cpus,
        "showHiddenMetricsForVersion" => show_hidden_metrics_for_version,
        "systemReservedCgroup" => system_reserved_cgroup,
        "kubeReservedCgroup" => kube_reserved_cgroup,
        "volumePluginDir" => volume_plugin_dir,
        "kernelMemcgNotification" => kernel_memcg_notification,
        "logging" => logging,
        "enableSystemLogHandler" => enable_system_log_handler,
        "enableSystemLogQuery" => enable_system_log_query,
        "reservedMemory" => reserved_memory,
        "enableProfilingHandler" => enable_profiling_handler,
        "enableDebugFlagsHandler" => enable_debug_flags_handler,
        "memoryThrottlingFactor" => memory_throttling_factor,
        "memoryReservationPolicy" => memory_reservation_policy,
        "tracing" => tracing,
        "imageServiceEndpoint" => image_service_endpoint,
        "userNamespaces" => user_namespaces,
    }
}

/// Image garbage collection, in percent of the image file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub high: u8,
    pub low: u8,
    pub minimum_age: Duration,
}

impl KubeletConfiguration {
    #[must_use]
    pub fn sync_period(&self) -> Duration {
        or(self.sync_frequency, 60)
    }

    #[must_use]
    pub fn file_check_period(&self) -> Duration {
        or(self.file_check_frequency, 20)
    }

    #[must_use]
    pub fn node_status_period(&self) -> Duration {
        or(self.node_status_update_frequency, 10)
    }

    /// Five minutes, or the update period if only that is given.
    #[must_use]
    pub fn node_report_period(&self) -> Duration {
        let fallback = if self.node_status_update_frequency.0.is_zero() {
            300
        } else {
            self.node_status_update_frequency.0.as_secs()
        };
        or(self.node_status_report_frequency, fallback)
    }

    #[must_use]
    pub fn lease_seconds(&self) -> u32 {
        self.node_lease_duration_seconds.filter(|seconds| *seconds > 0).unwrap_or(40)
    }

    /// The longest wait between restarts of a crashing container.
    #[must_use]
    pub fn crash_loop_cap(&self) -> Duration {
        self.crash_loop_back_off
            .max_container_restart_period
            .map(|period| period.0)
            .filter(|period| !period.is_zero())
            .unwrap_or(Duration::from_secs(300))
    }

    #[must_use]
    pub fn image_limits(&self) -> Limits {
        Limits {
            high: self.image_gc_high_threshold_percent.unwrap_or(85),
            low: self.image_gc_low_threshold_percent.unwrap_or(80),
            minimum_age: or(self.image_minimum_gc_age, 120),
        }
    }

    #[must_use]
    pub fn pod_limit(&self) -> u32 {
        self.max_pods.filter(|pods| *pods > 0).unwrap_or(110)
    }
}

pub(super) fn or(value: GoDuration, default_seconds: u64) -> Duration {
    if value.0.is_zero() { Duration::from_secs(default_seconds) } else { value.0 }
}

/// A threshold (`100Mi` or `10%`) of `total`, in bytes.
#[must_use]
pub fn signal_bytes(threshold: &str, total: u64) -> Option<u64> {
    if let Some(percent) = threshold.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "bytes of a disk"
        )]
        return Some((total as f64 * percent / 100.0) as u64);
    }
    let quantity: crate::container_spec::Quantity = threshold.parse().ok()?;
    u64::try_from(quantity.value()).ok()
}

/// Reads the file, then merges `*.conf` of `drop_ins` over it in name order: maps are merged, everything else replaced.
pub fn load(path: Option<&Path>, drop_ins: Option<&Path>) -> Result<KubeletConfiguration, ConfigError> {
    let Some(path) = path else { return Ok(KubeletConfiguration::default()) };
    let text = read(path)?;
    // The strict reading of the text itself gives the place of a mistake.
    let mut config: KubeletConfiguration = parse(path, &text)?;
    let mut merged: Value = parse(path, &text)?;
    if let Some(directory) = drop_ins {
        for file in drop_in_files(directory)? {
            let text = read(&file)?;
            let _: KubeletConfiguration = parse(&file, &text)?;
            merge(&mut merged, parse(&file, &text)?);
        }
        config = serde_json::from_value(merged.clone())
            .map_err(|error| ConfigError::Parse { path: directory.to_owned(), message: error.to_string() })?;
    }
    validate(path, &config)?;
    config.written = merged;
    Ok(config)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    junio_api::yaml::object_from_str(text)
        .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.message })
}

fn drop_in_files(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries =
        std::fs::read_dir(directory).map_err(|source| ConfigError::Read { path: directory.to_owned(), source })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    Ok(files)
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn validate(path: &Path, config: &KubeletConfiguration) -> Result<(), ConfigError> {
    let invalid = |field, message: String| Err(ConfigError::Invalid { path: path.to_owned(), field, message });
    if let Some(kind) = config.kind.as_deref().filter(|kind| *kind != "KubeletConfiguration") {
        return invalid("kind", format!("{kind:?}, expected KubeletConfiguration"));
    }
    if let Some(version) = config.api_version.as_deref().filter(|version| *version != "kubelet.config.k8s.io/v1beta1") {
        return invalid("apiVersion", format!("{version:?}, expected kubelet.config.k8s.io/v1beta1"));
    }
    for address in &config.cluster_dns {
        if address.parse::<std::net::IpAddr>().is_err() {
            return invalid("clusterDNS", format!("{address:?} is no IP address"));
        }
    }
    let limits = config.image_limits();
    if limits.high > 100 || limits.low >= limits.high {
        return invalid(
            "imageGCLowThresholdPercent",
            format!("{} must be below the high threshold {}", limits.low, limits.high),
        );
    }
    if let Err(error) = config.eviction() {
        return invalid(error.field, error.message);
    }
    super::pressure::validate_shutdown(config).or_else(|(field, message)| invalid(field, message))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::config) fn load_text(text: &str) -> Result<KubeletConfiguration, ConfigError> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, text).expect("write");
        load(Some(&path), None)
    }

    #[test]
    fn what_kubeadm_writes_is_understood_and_zero_means_default() {
        let config = load_text(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nsyncFrequency: 0s\nfileCheckFrequency: 1m0s\n\
             clusterDNS:\n- 10.96.0.10\ncrashLoopBackOff: {}\nlogging:\n  flushFrequency: 0\nmemorySwap: {}\nfailCgroupV1: false\n\
             authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n  webhook:\n    cacheTTL: 0s\n    enabled: true\n",
        )
        .expect("valid");
        assert_eq!(config.sync_period(), Duration::from_secs(60));
        assert_eq!(config.file_check_period(), Duration::from_secs(60));
        assert_eq!(config.crash_loop_cap(), Duration::from_secs(300));
        assert_eq!(config.pod_limit(), 110);
        assert_eq!(config.authentication.webhook.enabled, Some(true));
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_place() {
        let error =
            load_text("kind: KubeletConfiguration\nclusterDns: [10.96.0.10]\n").expect_err("unknown field").to_string();
        assert!(error.contains("clusterDns") && error.contains('2'), "{error}");
    }

    #[test]
    fn drop_ins_win_in_name_order() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, "kind: KubeletConfiguration\nmaxPods: 5\nclusterDomain: a\n").expect("write");
        std::fs::write(directory.path().join("20.conf"), "maxPods: 7\n").expect("write");
        std::fs::write(directory.path().join("10.conf"), "maxPods: 6\nclusterDomain: b\n").expect("write");
        let config = load(Some(&path), Some(directory.path())).expect("valid");
        assert_eq!((config.pod_limit(), config.cluster_domain.as_deref()), (7, Some("b")));
    }

    #[test]
    fn thresholds_are_bytes_or_shares() {
        assert_eq!(signal_bytes("100Mi", 1 << 30), Some(100 << 20));
        assert_eq!(signal_bytes("10%", 1000), Some(100));
        assert_eq!(signal_bytes("x", 1000), None);
    }
}
