//! The configuration as `/configz` shows it: what was written over what holds otherwise. Source of the defaults: upstream
//! `pkg/kubelet/apis/config/v1beta1/defaults.go`. Some fields mean nothing here and are shown all the same, because who
//! reads them reads them of every kubelet.

use serde_json::{Value, json};

use super::KubeletConfiguration;

impl KubeletConfiguration {
    /// A `KubeletConfiguration` in JSON.
    #[must_use]
    pub fn effective(&self) -> Value {
        let mut shown = defaults();
        overlay(&mut shown, &self.written);
        let period = &self.node_status_report_period_text();
        set(&mut shown, "nodeStatusReportFrequency", json!(period));
        set(&mut shown, "evictionHard", json!(self.hard_eviction()));
        set(
            &mut shown,
            "serializeImagePulls",
            json!(self.serialize_image_pulls.unwrap_or(self.max_parallel_image_pulls.is_none_or(|pulls| pulls < 2))),
        );
        shown
    }

    fn node_status_report_period_text(&self) -> String {
        junio_api::duration::GoDuration(self.node_report_period()).to_string()
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// What was written, except where that means "the default".
fn overlay(base: &mut Value, written: &Value) {
    let (Some(base), Some(written)) = (base.as_object_mut(), written.as_object()) else { return };
    for (name, value) in written {
        let default =
            matches!(value, Value::Null) || value.as_str().is_some_and(|text| text == "0s" || text.is_empty());
        if default && base.contains_key(name) {
            continue;
        }
        match base.get_mut(name) {
            Some(inner @ Value::Object(_)) if value.is_object() => overlay(inner, value),
            _ => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}

fn defaults() -> Value {
    // too many fields for one `json!`
    let parts = [
        json!({
            "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "enableServer": true, "podLogsDir": "/var/log/pods", "syncFrequency": "1m0s", "fileCheckFrequency": "20s",
            "httpCheckFrequency": "20s", "address": "0.0.0.0", "port": 10250,
            "authentication": {
                "x509": {}, "webhook": { "enabled": true, "cacheTTL": "2m0s" }, "anonymous": { "enabled": false }
            },
            "authorization": {
                "mode": "Webhook", "webhook": { "cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s" }
            },
        }),
        json!({
            "registryPullQPS": 5, "registryBurst": 10, "eventRecordQPS": 50, "eventBurst": 100,
            "enableDebuggingHandlers": true, "healthzPort": 10248, "healthzBindAddress": "127.0.0.1",
            "oomScoreAdj": -999, "streamingConnectionIdleTimeout": "4h0m0s", "nodeStatusUpdateFrequency": "10s",
            "nodeLeaseDurationSeconds": 40, "imageMinimumGCAge": "2m0s", "imageMaximumGCAge": "0s",
            "imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80, "volumeStatsAggPeriod": "1m0s",
            "cgroupsPerQOS": true, "cgroupDriver": "cgroupfs",
        }),
        json!({
            "cpuManagerPolicy": "none", "cpuManagerReconcilePeriod": "10s", "memoryManagerPolicy": "None",
            "topologyManagerPolicy": "none", "topologyManagerScope": "container", "runtimeRequestTimeout": "2m0s",
            "hairpinMode": "promiscuous-bridge", "maxPods": 110, "podPidsLimit": -1, "resolvConf": "/etc/resolv.conf",
            "cpuCFSQuota": true, "cpuCFSQuotaPeriod": "100ms", "nodeStatusMaxImages": 50, "maxOpenFiles": 1_000_000,
            "contentType": "application/json", "kubeAPIQPS": 50, "kubeAPIBurst": 100,
        }),
        json!({
            "evictionPressureTransitionPeriod": "5m0s", "mergeDefaultEvictionSettings": false,
            "enableControllerAttachDetach": true, "makeIPTablesUtilChains": true, "iptablesMasqueradeBit": 14,
            "iptablesDropBit": 15, "failSwapOn": true, "memorySwap": {}, "containerLogMaxSize": "10Mi",
            "containerLogMaxFiles": 5, "containerLogMaxWorkers": 1, "containerLogMonitorInterval": "10s",
            "configMapAndSecretChangeDetectionStrategy": "Watch", "enforceNodeAllocatable": ["pods"],
            "enableSystemLogHandler": true, "enableSystemLogQuery": false,
        }),
        json!({
            "shutdownGracePeriod": "0s", "shutdownGracePeriodCriticalPods": "0s", "enableProfilingHandler": true,
            "enableDebugFlagsHandler": true, "seccompDefault": false, "failCgroupV1": true,
            "memoryThrottlingFactor": 0.9, "registerNode": true, "localStorageCapacityIsolation": true,
            "containerRuntimeEndpoint": "unix:///run/docker.sock",
            "crashLoopBackOff": { "maxContainerRestartPeriod": "5m0s" },
            "imagePullCredentialsVerificationPolicy": "NeverVerifyPreloadedImages",
        }),
    ];
    Value::Object(parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::tests::load_text;

    #[test]
    fn what_is_written_is_shown_and_zero_is_the_default() {
        let config = load_text(
            "kind: KubeletConfiguration\nsyncFrequency: 0s\nmaxPods: 42\nclusterDomain: x\n\
             authentication: {x509: {clientCAFile: /ca}, webhook: {cacheTTL: 0s}}\nnodeStatusUpdateFrequency: 5s\n\
             evictionHard: {memory.available: 1Gi}\n",
        )
        .expect("valid");
        let shown = config.effective();
        assert_eq!((&shown["syncFrequency"], &shown["maxPods"]), (&json!("1m0s"), &json!(42)));
        assert_eq!(shown["authentication"]["x509"]["clientCAFile"], "/ca");
        assert_eq!(shown["authentication"]["webhook"], json!({ "enabled": true, "cacheTTL": "2m0s" }));
        assert_eq!(shown["nodeStatusReportFrequency"], "5s");
        assert_eq!(shown["evictionHard"], json!({ "memory.available": "1Gi" }));
        assert_eq!(shown["clusterDomain"], "x");
        assert_eq!(KubeletConfiguration::default().effective()["evictionHard"]["imagefs.available"], "15%");
    }
}
