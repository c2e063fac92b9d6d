//! The downward API: `fieldRef` and `resourceFieldRef`, for environment variables and for files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::context::{NodeAmounts, NodeInfo, is_host_network};
use super::error::SpecError;
use super::quantity::Quantity;
use super::{find_container, resources::request_or_limit};

/// The value of a field of the pod. Whole maps (`metadata.labels`) are only meant for files; the API refuses them in
/// environment variables.
pub fn pod_field(path: &str, pod: &Pod, node: &NodeInfo, pod_ips: &[IpAddr]) -> Result<String, SpecError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let own_ips = if is_host_network(pod) { node.ips.as_slice() } else { pod_ips };
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(SpecError::UnknownField { path: path.to_owned() }),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let text = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => metadata.labels.as_ref().map(format_map),
        "metadata.annotations" => metadata.annotations.as_ref().map(format_map),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).or_else(|| Some(node.name.clone())),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => node.ips.first().map(ToString::to_string),
        "status.hostIPs" => Some(join(&node.ips)),
        "status.podIP" => own_ips.first().map(ToString::to_string),
        "status.podIPs" => Some(join(own_ips)),
        _ => return Err(SpecError::UnknownField { path: path.to_owned() }),
    };
    Ok(text.unwrap_or_default())
}

/// Whether the field is known only when the pod has its address.
#[must_use]
pub fn is_pod_ip_field(path: &str) -> bool {
    matches!(path, "status.podIP" | "status.podIPs")
}

/// The value of a container's request or limit, divided and rounded up. A limit that is not set is the node's
/// allocatable amount.
pub fn resource_field(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    allocatable: &NodeAmounts,
) -> Result<String, SpecError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let found = named.and_then(|name| find_container(pod, name).map(|container| container.container().into_owned()));
    let container = match (named, &found, own) {
        (Some(_), Some(container), _) | (None, _, Some(container)) => container,
        (Some(name), None, _) => return Err(SpecError::UnknownContainer { name: name.to_owned() }),
        (None, _, None) => return Err(SpecError::UnknownContainer { name: String::new() }),
    };
    let unknown = || SpecError::UnknownResource { resource: selector.resource.clone() };
    let (side, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unknown());
    }
    let amount = match side {
        "requests" => request_or_limit(container, name),
        "limits" => Some(limit_or_allocatable(container, name, allocatable)),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().and_then(|text| Quantity::try_from(text).ok()).unwrap_or_default();
    Ok(amount.unwrap_or_default().div_ceil(&divisor).to_string())
}

fn limit_or_allocatable(container: &Container, name: &str, allocatable: &NodeAmounts) -> Quantity {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get(name)).and_then(|text| Quantity::try_from(text).ok());
    limit.filter(|amount| !amount.is_zero()).unwrap_or(match name {
        "cpu" => allocatable.cpu,
        "memory" => allocatable.memory,
        "ephemeral-storage" => allocatable.ephemeral_storage,
        _ => Quantity::ZERO,
    })
}

/// `metadata.labels['key']` as map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn join(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One `key="value"` per line, sorted, the value quoted the way Go's `%q` quotes.
#[must_use]
pub fn format_map(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={}", quote(value))).collect::<Vec<_>>().join("\n")
}

fn quote(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for c in text.chars() {
        match c {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            '\u{7}' => result.push_str("\\a"),
            '\u{8}' => result.push_str("\\b"),
            '\u{b}' => result.push_str("\\v"),
            '\u{c}' => result.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                // Writing to a String cannot fail.
                let _ = write!(result, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(result, "\\u{:04x}", c as u32);
            }
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "one \"x\"\n"},
                         "annotations": {"example.com/k": "v"}},
            "spec": {"nodeName": "node-1", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"requests": {"cpu": "250m", "memory": "32Mi"},
                                            "limits": {"cpu": "1250m", "memory": "64Mi"}}},
                {"name": "free"}, {"name": "limited", "resources": {"limits": {"cpu": "2"}}}]}
        }))
        .expect("a pod")
    }

    fn node() -> NodeInfo {
        NodeInfo {
            name: "node-1".to_owned(),
            ips: vec!["10.0.0.1".parse().expect("ip"), "fd00::1".parse().expect("ip")],
            allocatable: NodeAmounts {
                cpu: "2".parse().expect("quantity"),
                memory: "4Gi".parse().expect("quantity"),
                ephemeral_storage: "10G".parse().expect("quantity"),
            },
            ..NodeInfo::default()
        }
    }

    #[test]
    fn gives_every_field() {
        let ips = ["10.244.0.5".parse().expect("ip"), "fd01::5".parse().expect("ip")];
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.uid", "u"),
            ("metadata.labels['a']", "one \"x\"\n"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['example.com/k']", "v"),
            ("metadata.labels", "a=\"one \\\"x\\\"\\n\"\nb=\"2\""),
            ("spec.nodeName", "node-1"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
            ("status.hostIPs", "10.0.0.1,fd00::1"),
            ("status.podIP", "10.244.0.5"),
            ("status.podIPs", "10.244.0.5,fd01::5"),
        ] {
            assert_eq!(pod_field(path, &pod(), &node(), &ips).expect(path), expected, "{path}");
        }
        assert!(pod_field("spec.containers", &pod(), &node(), &ips).is_err());
        assert!(pod_field("spec.x['y']", &pod(), &node(), &ips).is_err());
    }

    #[test]
    fn a_host_network_pod_has_the_addresses_of_the_node() {
        let mut pod = pod();
        pod.spec.as_mut().expect("spec").host_network = Some(true);
        assert_eq!(pod_field("status.podIPs", &pod, &node(), &[]).expect("field"), "10.0.0.1,fd00::1");
    }

    #[test]
    fn gives_every_resource() {
        let pod = pod();
        for (container, resource, divisor, expected) in [
            ("c", "requests.cpu", "", "1"),
            ("c", "requests.cpu", "1m", "250"),
            ("c", "limits.cpu", "", "2"),
            ("c", "limits.cpu", "1m", "1250"),
            ("c", "requests.memory", "", "33554432"),
            ("c", "limits.memory", "1Mi", "64"),
            ("free", "limits.cpu", "1m", "2000"),
            ("free", "limits.memory", "1Gi", "4"),
            ("free", "limits.ephemeral-storage", "", "10000000000"),
            ("free", "requests.memory", "", "0"),
            ("limited", "requests.cpu", "", "2"),
        ] {
            let selector: ResourceFieldSelector = serde_json::from_value(serde_json::json!({
                "containerName": container, "resource": resource, "divisor": if divisor.is_empty() { "0" } else { divisor }
            }))
            .expect("a selector");
            let value = resource_field(&selector, &pod, None, &node().allocatable).expect(resource);
            assert_eq!(value, expected, "{container} {resource} {divisor}");
        }
        let selector = ResourceFieldSelector { resource: "limits.gpu".to_owned(), ..Default::default() };
        let own = Container::default();
        assert!(resource_field(&selector, &pod, Some(&own), &node().allocatable).is_err());
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote("a\\b\u{1}é"), "\"a\\\\b\\x01é\"");
    }
}
