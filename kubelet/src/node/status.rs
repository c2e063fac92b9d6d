//! The Node object's status from facts about the machine. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use junio_api::versions;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeStatus, NodeSwapStatus, NodeSystemInfo,
};
use serde_json::{Map, Value, json};

use super::addresses::node_addresses;
use super::capacity::{Amounts, keep_extended};
use super::conditions::{Health, conditions};
use super::machine::Machine;
use crate::runtime::{RuntimeImage, RuntimeVersion};

/// What does not change while the kubelet runs.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    pub name: String,
    pub hostname: String,
    pub ips: Vec<IpAddr>,
    pub machine: Machine,
    pub capacity: Amounts,
    pub allocatable: Amounts,
    pub runtime: Option<RuntimeVersion>,
    /// Port of the HTTPS server, 0 when there is none.
    pub port: u16,
    /// Sorted.
    pub declared_features: Vec<String>,
    pub max_images: usize,
}

/// The status as it should be now. `stored` is what the API server has.
#[must_use]
pub fn node_status(
    facts: &NodeFacts,
    health: &Health,
    images: &[RuntimeImage],
    stored: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let (mut capacity, mut allocatable) = (facts.capacity.clone(), facts.allocatable.clone());
    keep_extended(&mut capacity, &mut allocatable, stored.and_then(|status| status.capacity.as_ref()));
    let old = stored.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let runtime = facts.runtime.as_ref();
    NodeStatus {
        addresses: Some(node_addresses(&facts.ips, &facts.hostname)),
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        conditions: Some(conditions(health, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.port) }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: facts.machine.architecture.to_owned(),
            boot_id: facts.machine.boot_id.clone(),
            container_runtime_version: runtime.map_or_else(
                || "docker://unknown".to_owned(),
                |runtime| format!("{}://{}", runtime.name, runtime.version),
            ),
            kernel_version: facts.machine.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: versions::KUBERNETES.to_owned(),
            machine_id: facts.machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: facts.machine.os_image.clone(),
            swap: (facts.machine.swap > 0).then(|| NodeSwapStatus { capacity: i64::try_from(facts.machine.swap).ok() }),
            system_uuid: facts.machine.system_uuid.clone(),
        }),
        images: Some(container_images(images, facts.max_images)),
        runtime_handlers: runtime.map(|runtime| handlers(&runtime.runtimes)),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(false) }),
        declared_features: (!facts.declared_features.is_empty()).then(|| facts.declared_features.clone()),
        ..NodeStatus::default()
    }
}

/// Biggest first, digests before tags, at most five names each.
fn container_images(images: &[RuntimeImage], limit: usize) -> Vec<ContainerImage> {
    let mut images: Vec<&RuntimeImage> =
        images.iter().filter(|image| !image.tags.is_empty() || !image.digests.is_empty()).collect();
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images
        .into_iter()
        .take(limit)
        .map(|image| ContainerImage {
            names: Some(image.digests.iter().chain(&image.tags).take(5).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

/// The empty name is the default handler.
fn handlers(runtimes: &[String]) -> Vec<NodeRuntimeHandler> {
    let mut names: Vec<&str> = std::iter::once("").chain(runtimes.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let features = NodeRuntimeHandlerFeatures { recursive_read_only_mounts: Some(false), user_namespaces: Some(false) };
    names
        .into_iter()
        .map(|name| NodeRuntimeHandler { name: Some(name.to_owned()), features: Some(features.clone()) })
        .collect()
}

/// A strategic merge patch from what is stored to what should be; `None` if only heartbeats differ.
#[must_use]
pub fn status_patch(stored: &Node, wanted: &NodeStatus, heartbeat: bool) -> Option<Value> {
    let old = stored.status.clone().unwrap_or_default();
    let mut fields = Map::new();
    let old_json = serde_json::to_value(&old).ok()?;
    let new_json = serde_json::to_value(wanted).ok()?;
    for (name, value) in new_json.as_object()? {
        if name == "conditions" || old_json.get(name) == Some(value) {
            continue;
        }
        let mut value = value.clone();
        if let (Some(new), Some(old)) = (value.as_object_mut(), old_json.get(name).and_then(Value::as_object))
            && matches!(name.as_str(), "capacity" | "allocatable")
        {
            for gone in old.keys().filter(|key| !new.contains_key(*key)).cloned().collect::<Vec<_>>() {
                new.insert(gone, Value::Null);
            }
        }
        if name == "addresses"
            && let Value::Array(list) = &mut value
        {
            list.push(json!({ "$patch": "replace" }));
        }
        fields.insert(name.clone(), value);
    }
    let changed = wanted.conditions.iter().flatten().any(|new| {
        !old.conditions.iter().flatten().any(|old| {
            old.type_ == new.type_ && old.status == new.status && old.reason == new.reason && old.message == new.message
        })
    });
    if changed || heartbeat {
        fields.insert("conditions".to_owned(), new_json.get("conditions")?.clone());
    }
    (!fields.is_empty()).then(|| json!({ "status": fields }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    fn facts() -> NodeFacts {
        NodeFacts {
            name: "n".into(),
            hostname: "n".into(),
            ips: vec!["10.0.0.1".parse().expect("ip")],
            machine: Machine::default(),
            capacity: Amounts::from([("cpu".into(), Quantity("2".into()))]),
            allocatable: Amounts::from([("cpu".into(), Quantity("2".into()))]),
            runtime: None,
            port: 10250,
            declared_features: vec![],
            max_images: 50,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    #[test]
    fn an_unchanged_node_needs_no_patch_and_a_heartbeat_only_conditions() {
        let status = node_status(&facts(), &Health::default(), &[], None, at(1));
        let stored = Node { status: Some(status), ..Node::default() };
        let wanted = node_status(&facts(), &Health::default(), &[], stored.status.as_ref(), at(9));
        assert_eq!(status_patch(&stored, &wanted, false), None);
        let patch = status_patch(&stored, &wanted, true).expect("patch");
        assert_eq!(patch["status"].as_object().map(Map::len), Some(1));
    }

    #[test]
    fn extended_resources_follow_capacity() {
        let mut status = node_status(&facts(), &Health::default(), &[], None, at(1));
        status.capacity.as_mut().expect("capacity").insert("x.io/a".into(), Quantity("3".into()));
        status.allocatable.as_mut().expect("allocatable").insert("x.io/b".into(), Quantity("4".into()));
        let stored = Node { status: Some(status), ..Node::default() };
        let wanted = node_status(&facts(), &Health::default(), &[], stored.status.as_ref(), at(2));
        let patch = status_patch(&stored, &wanted, false).expect("patch");
        assert!(patch["status"].get("capacity").is_none(), "capacity of others is not touched");
        assert_eq!(patch["status"]["allocatable"]["x.io/a"], "3");
        assert_eq!(patch["status"]["allocatable"]["x.io/b"], Value::Null);
    }

    #[test]
    fn images_are_ordered_and_cut() {
        let image = |id: &str, size| RuntimeImage {
            id: id.into(),
            tags: vec![format!("{id}:1")],
            digests: vec![],
            size,
            user: String::new(),
        };
        let list = container_images(&[image("a", 1), image("b", 3), image("c", 2)], 2);
        assert_eq!(list.iter().filter_map(|image| image.size_bytes).collect::<Vec<_>>(), [3, 2]);
    }
}
