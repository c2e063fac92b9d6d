//! Requests and limits: what the engine is told of a container, and what a whole pod adds up to. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::container_ref::ContainerRef;
use super::context::is_static;
use super::qos::{QosClass, qos_class};
use super::quantity::Quantity;
use crate::runtime::Resources;

/// Period over which CPU quota is counted, microseconds.
pub const CPU_PERIOD: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA: i64 = 1000;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// The engine's limits for one container. `memory_capacity` is the node's, in bytes, and scales the out-of-memory
/// score; negative scores become 0 unless `may_lower_oom_score`.
#[must_use]
pub fn container_resources(
    pod: &Pod,
    container: ContainerRef<'_>,
    memory_capacity: i64,
    enforce_cpu_limits: bool,
    may_lower_oom_score: bool,
) -> Resources {
    let spec = container.container();
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = |name| amount(limits, name).filter(|amount| !amount.is_zero());
    let quota = limit("cpu").filter(|_| enforce_cpu_limits).map(|amount| cpu_quota(amount.milli_value()));
    let score = oom_score_adj(pod, container, memory_capacity);
    Resources {
        cpu_shares: cpu_shares(request_or_limit(&spec, "cpu").unwrap_or_default().milli_value()),
        cpu_quota: quota.unwrap_or(0),
        cpu_period: if quota.is_some() { CPU_PERIOD } else { 0 },
        memory: limit("memory").map_or(0, |amount| amount.value()),
        oom_score_adj: if may_lower_oom_score { score } else { score.max(0) },
        pids: 0,
    }
}

/// cgroup v1 shares for a request in thousandths of a CPU.
#[must_use]
pub fn cpu_shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// Microseconds per [`CPU_PERIOD`] for a limit in thousandths of a CPU.
#[must_use]
pub fn cpu_quota(milli: i64) -> i64 {
    (milli.saturating_mul(CPU_PERIOD) / 1000).max(MIN_QUOTA)
}

/// How willingly the kernel kills the container when memory is short (upstream `pkg/kubelet/qos/policy.go`).
#[must_use]
pub fn oom_score_adj(pod: &Pod, container: ContainerRef<'_>, memory_capacity: i64) -> i64 {
    if is_node_critical(pod) {
        return -997;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => return -997,
        QosClass::BestEffort => return 1000,
        QosClass::Burstable => {}
    }
    if memory_capacity <= 0 {
        return 999;
    }
    let Some(spec) = &pod.spec else { return 999 };
    let request = |container: &Container| request_or_limit(container, "memory").unwrap_or_default().value();
    let score =
        |request: i64| 1000 - i64::try_from(i128::from(request) * 1000 / i128::from(memory_capacity)).unwrap_or(0);
    let extra = unclaimed_pod_memory(spec);
    let mut result = score(request(&container.container()).saturating_add(extra));
    if container.is_sidecar() {
        let least = spec.containers.iter().map(request).min().unwrap_or(0);
        result = result.min(score(least.saturating_add(extra)));
    }
    result.clamp(3, 999)
}

/// The share of each container in what the pod requests beyond its containers.
fn unclaimed_pod_memory(spec: &PodSpec) -> i64 {
    let own = spec.resources.as_ref().and_then(|resources| amount(resources.requests.as_ref(), "memory"));
    let Some(own) = own else { return 0 };
    let containers: Vec<&Container> = regular_containers(spec).collect();
    let claimed: i64 = containers.iter().map(|c| request_or_limit(c, "memory").unwrap_or_default().value()).sum();
    let count = i64::try_from(containers.len()).unwrap_or(1).max(1);
    (own.value() - claimed).max(0) / count
}

/// Static or very important pods that declare themselves node-critical.
#[must_use]
pub fn is_node_critical(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let named = spec.priority_class_name.as_deref() == Some("system-node-critical");
    named && (is_static(pod) || spec.priority.is_some_and(|priority| priority >= 2_000_000_000))
}

/// What the scheduler counts: the greater of the app containers and the init phase, plus overhead.
#[must_use]
pub fn pod_requests(pod: &Pod) -> Amounts {
    let mut result = pod_amounts(pod, request_or_limit);
    let own = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(|own| own.requests.as_ref());
    override_by(&mut result, own);
    for (name, amount) in overhead(pod) {
        let entry = result.entry(name).or_default();
        *entry = entry.plus(&amount);
    }
    result
}

/// The sum of limits, plus overhead where there is a limit. A container without a limit adds nothing.
#[must_use]
pub fn pod_limits(pod: &Pod) -> Amounts {
    let mut result = pod_amounts(pod, |container, name| {
        amount(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()), name)
    });
    let own = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(|own| own.limits.as_ref());
    override_by(&mut result, own);
    for (name, amount) in overhead(pod) {
        if let Some(entry) = result.get_mut(&name) {
            *entry = entry.plus(&amount);
        }
    }
    result
}

/// Whether the pod as a whole may be limited in this resource: it has its own limit, or each container has one.
#[must_use]
pub fn is_limited(pod: &Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let positive = |resources: Option<&k8s_openapi::api::core::v1::ResourceRequirements>| {
        amount(resources.and_then(|resources| resources.limits.as_ref()), name).is_some_and(|amount| !amount.is_zero())
    };
    positive(spec.resources.as_ref())
        || regular_containers(spec).all(|container| positive(container.resources.as_ref()))
}

/// Init and app containers.
pub fn regular_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The request, else the limit, as the API server would have filled in.
#[must_use]
pub fn request_or_limit(container: &Container, name: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    amount(resources.requests.as_ref(), name).or_else(|| amount(resources.limits.as_ref(), name))
}

/// One amount of a map of the API; an unreadable one, which the API refuses, is none.
#[must_use]
pub fn amount(map: Option<&BTreeMap<String, ApiQuantity>>, name: &str) -> Option<Quantity> {
    map.and_then(|map| map.get(name)).and_then(|text| Quantity::try_from(text).ok())
}

fn pod_amounts(pod: &Pod, of: impl Fn(&Container, &str) -> Option<Quantity>) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let names: std::collections::BTreeSet<&String> = regular_containers(spec)
        .filter_map(|container| container.resources.as_ref())
        .flat_map(|resources| resources.requests.iter().flatten().chain(resources.limits.iter().flatten()))
        .map(|(name, _)| name)
        .collect();
    let mut result = Amounts::new();
    for name in names {
        let sum = |containers: &mut dyn Iterator<Item = &Container>| {
            containers.filter_map(|container| of(container, name)).reduce(|a, b| a.plus(&b))
        };
        let mut sidecars: Option<Quantity> = None;
        let mut init: Option<Quantity> = None;
        for container in spec.init_containers.iter().flatten() {
            let own = of(container, name);
            let together = add(sidecars, own);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = together;
            }
            init = init.max(together);
        }
        let app = add(sum(&mut spec.containers.iter()), sidecars);
        if let Some(amount) = app.max(init) {
            result.insert(name.clone(), amount);
        }
    }
    result
}

fn add(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(&b)),
        (a, b) => a.or(b),
    }
}

fn override_by(result: &mut Amounts, own: Option<&BTreeMap<String, ApiQuantity>>) {
    for name in own.into_iter().flat_map(BTreeMap::keys) {
        if let Some(amount) = amount(own, name) {
            result.insert(name.clone(), amount);
        }
    }
}

fn overhead(pod: &Pod) -> impl Iterator<Item = (String, Quantity)> + '_ {
    let map = pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref());
    map.into_iter().flatten().filter_map(|(name, text)| Some((name.clone(), Quantity::try_from(text).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {}, "spec": value})).expect("a pod")
    }

    #[test]
    fn converts_to_engine_units() {
        for (milli, shares, quota) in [(0, 2, 1000), (1, 2, 1000), (100, 102, 10_000), (1000, 1024, 100_000)] {
            assert_eq!((cpu_shares(milli), cpu_quota(milli)), (shares, quota), "{milli}");
        }
        assert_eq!(cpu_shares(i64::MAX), 262_144);
    }

    #[test]
    fn describes_a_container() {
        let pod = pod(serde_json::json!({"containers": [{"name": "c", "resources":
            {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}}]}));
        let container = ContainerRef::App(&pod.spec.as_ref().expect("spec").containers[0]);
        let resources = container_resources(&pod, container, 1 << 30, true, true);
        assert_eq!(
            resources,
            Resources {
                cpu_shares: 256,
                cpu_quota: 50_000,
                cpu_period: 100_000,
                memory: 512 << 20,
                oom_score_adj: 750,
                pids: 0
            }
        );
        assert_eq!(container_resources(&pod, container, 1 << 30, false, true).cpu_quota, 0);
    }

    #[test]
    fn scores_by_class() {
        let guaranteed = pod(
            serde_json::json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}),
        );
        let besteffort = pod(serde_json::json!({"containers": [{"name": "c"}]}));
        let burstable = pod(serde_json::json!({
            "initContainers": [{"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "c", "resources": {"requests": {"memory": "512Mi"}}}]}));
        let first = |pod: &Pod| {
            let container = pod.spec.clone().expect("spec").containers.remove(0);
            oom_score_adj(pod, ContainerRef::App(&container), 1 << 30)
        };
        assert_eq!(first(&guaranteed), -997);
        assert_eq!(first(&besteffort), 1000);
        assert_eq!(first(&burstable), 500);
        let spec = burstable.spec.as_ref().expect("spec");
        let sidecar = ContainerRef::Init(&spec.init_containers.as_ref().expect("init")[0]);
        assert_eq!(oom_score_adj(&burstable, sidecar, 1 << 30), 500);
        let container = ContainerRef::App(&guaranteed.spec.as_ref().expect("spec").containers[0]);
        assert_eq!(container_resources(&guaranteed, container, 1 << 30, true, false).oom_score_adj, 0);
    }

    #[test]
    fn adds_up_a_pod() {
        let cpu = |text: &str| serde_json::json!({"requests": {"cpu": text}});
        let pod = pod(serde_json::json!({
            "overhead": {"cpu": "10m"},
            "initContainers": [{"name": "a", "resources": cpu("500m")},
                               {"name": "b", "restartPolicy": "Always", "resources": cpu("100m")},
                               {"name": "c", "resources": cpu("450m")}],
            "containers": [{"name": "d", "resources": cpu("200m")}, {"name": "e", "resources": cpu("100m")}]}));
        assert_eq!(pod_requests(&pod)["cpu"].to_string(), "560m");
        assert!(pod_limits(&pod).is_empty());
        assert!(!is_limited(&pod, "cpu"));
    }

    #[test]
    fn pod_level_amounts_win() {
        let pod = pod(serde_json::json!({
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}},
            "containers": [{"name": "d", "resources": {"requests": {"cpu": "200m", "memory": "1Mi"}}}]}));
        assert_eq!(pod_requests(&pod)["cpu"].to_string(), "2");
        assert_eq!(pod_requests(&pod)["memory"].to_string(), "1Mi");
        assert!(is_limited(&pod, "memory") && !is_limited(&pod, "cpu"));
    }
}
