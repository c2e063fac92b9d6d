//! Whether the node takes a pod. Pure. A rejection is final: the pod fails with its reason.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};

use super::facts;
use crate::container_spec::{Quantity, pod_requests, port_mappings};
use crate::status::pod_status::Verdict;

/// Decides about `pod`, given the pods that run or will run here.
pub fn admit(pod: &Pod, others: &[&Pod], node: &Node, max_pods: usize) -> Result<(), Verdict> {
    let reject = |reason: &str, message: String| {
        Err(Verdict { reason: reason.to_owned(), message: format!("Pod was rejected: {message}"), disruption: false })
    };
    let Some(spec) = &pod.spec else { return reject("UnexpectedAdmissionError", "pod has no spec".to_owned()) };
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return reject("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".to_owned());
    }
    let os_label = spec.node_selector.as_ref().and_then(|selector| selector.get("kubernetes.io/os"));
    if os_label.is_some_and(|os| os != "linux") {
        return reject(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label".to_owned(),
        );
    }
    if facts::is_static(pod) {
        // It was put here by name; only what it shares with others is checked.
        let reason = "NodePorts".to_owned();
        return ports_free(pod, others).map_err(|message| Verdict { reason, message, disruption: false });
    }
    if !matches_node(pod, node) {
        return reject(
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".to_owned(),
        );
    }
    if let Err(message) = ports_free(pod, others) {
        return reject("NodePorts", message);
    }
    if facts::is_critical(pod) {
        return Ok(());
    }
    if others.len() + 1 > max_pods {
        return reject(
            "OutOfpods",
            format!(
                "Node didn't have enough resource: pods, requested: 1, used: {}, capacity: {max_pods}",
                others.len()
            ),
        );
    }
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone()).unwrap_or_default();
    let mut used: BTreeMap<String, Quantity> = BTreeMap::new();
    for other in others {
        for (name, amount) in pod_requests(other) {
            let sum = used.entry(name).or_insert(Quantity::ZERO);
            *sum = sum.plus(&amount);
        }
    }
    for (name, amount) in pod_requests(pod) {
        let Some(total) = allocatable.get(&name).and_then(|total| total.0.parse::<Quantity>().ok()) else {
            // What the node does not have by its status is somebody else's to count, as upstream has it: a resource of the
            // cluster, or one that was added to the node a moment ago.
            continue;
        };
        let used = used.get(&name).copied().unwrap_or(Quantity::ZERO);
        if !amount.is_zero() && used.plus(&amount) > total {
            let message = format!(
                "Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
                number(&name, &amount),
                number(&name, &used),
                number(&name, &total)
            );
            return reject(&format!("OutOf{name}"), message);
        }
    }
    Ok(())
}

fn number(name: &str, amount: &Quantity) -> i64 {
    if name == "cpu" { amount.milli_value() } else { amount.value() }
}

fn ports_free(pod: &Pod, others: &[&Pod]) -> Result<(), String> {
    let wanted = host_ports(pod);
    for other in others {
        for taken in host_ports(other) {
            let clash = wanted.iter().any(|port| {
                port.0 == taken.0 && port.1 == taken.1 && (any(&port.2) || any(&taken.2) || port.2 == taken.2)
            });
            if clash {
                return Err(
                    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports".to_owned()
                );
            }
        }
    }
    Ok(())
}

fn any(ip: &str) -> bool {
    matches!(ip, "" | "0.0.0.0" | "::")
}

fn host_ports(pod: &Pod) -> Vec<(u16, String, String)> {
    port_mappings(pod).into_iter().map(|port| (port.host_port, port.protocol, port.host_ip)).collect()
}

fn matches_node(pod: &Pod, node: &Node) -> bool {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return false };
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected
        && required
            .is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, labels, name)))
}

/// An empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|requirement| requirement_matches(requirement, labels.get(&requirement.key).map(String::as_str)))
        && fields
            .iter()
            .all(|requirement| requirement.key == "metadata.name" && requirement_matches(requirement, Some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    let compared = || -> Option<std::cmp::Ordering> {
        let present: i64 = value?.parse().ok()?;
        Some(present.cmp(&values.first()?.parse().ok()?))
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared() == Some(std::cmp::Ordering::Greater),
        "Lt" => compared() == Some(std::cmp::Ordering::Less),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec })).expect("pod")
    }

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "n", "labels": { "zone": "a", "size": "5" } },
            "status": { "allocatable": { "cpu": "2", "memory": "1Gi", "pods": "3" } }
        }))
        .expect("node")
    }

    fn reason(pod: &Pod, others: &[&Pod]) -> String {
        admit(pod, others, &node(), 3).err().map(|verdict| verdict.reason).unwrap_or_default()
    }

    fn cpu(amount: &str) -> Pod {
        pod(json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": amount } } }] }))
    }

    #[test]
    fn resources_are_counted() {
        assert_eq!(reason(&cpu("2"), &[]), "");
        assert_eq!(reason(&cpu("2"), &[&cpu("1m")]), "OutOfcpu");
        assert_eq!(reason(&cpu("0"), &[&cpu("0"), &cpu("0"), &cpu("0")]), "OutOfpods");
        let gpu = pod(json!({ "containers": [{ "name": "c", "resources": { "requests": { "x.io/gpu": "1" } } }] }));
        assert_eq!(reason(&gpu, &[]), "", "the scheduler knows of it, this node does not yet");
        let verdict = admit(&cpu("3"), &[], &node(), 3).expect_err("too much");
        assert_eq!(
            verdict.message,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"
        );
    }

    #[test]
    fn selectors_and_affinity_hold() {
        assert_eq!(reason(&pod(json!({ "containers": [], "nodeSelector": { "zone": "b" } })), &[]), "NodeAffinity");
        for (operator, values, expected) in [
            ("In", vec!["a"], ""),
            ("NotIn", vec!["a"], "NodeAffinity"),
            ("Exists", vec![], ""),
            ("DoesNotExist", vec![], "NodeAffinity"),
        ] {
            let term = json!({ "matchExpressions": [{ "key": "zone", "operator": operator, "values": values }] });
            let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] } } });
            assert_eq!(reason(&pod(json!({ "containers": [], "affinity": affinity })), &[]), expected, "{operator}");
        }
        assert_eq!(reason(&pod(json!({ "containers": [], "os": { "name": "windows" } })), &[]), "PodOSNotSupported");
    }

    #[test]
    fn host_ports_clash_by_address_and_protocol() {
        let port = |ip: &str, protocol: &str| {
            pod(
                json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 1, "hostPort": 80, "hostIP": ip, "protocol": protocol }] }] }),
            )
        };
        assert_eq!(reason(&port("", "TCP"), &[&port("10.0.0.1", "TCP")]), "NodePorts");
        assert_eq!(reason(&port("10.0.0.2", "TCP"), &[&port("10.0.0.1", "TCP")]), "");
        assert_eq!(reason(&port("", "UDP"), &[&port("", "TCP")]), "");
    }
}
