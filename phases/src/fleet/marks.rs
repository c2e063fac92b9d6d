//! Labels and taints of a Node as a file wants them. What we put there is noted on the Node, so that what leaves the file leaves
//! the Node, and what others put there stays.

use std::collections::{BTreeMap, BTreeSet};

use junio_api::config::Taint;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::options::Marks;
use crate::client::ApiError;

/// What of a Node is ours, as JSON.
const APPLIED: &str = "junioadm.io/applied";
/// How the host is reached, for the day when it leaves.
pub(crate) const TARGET: &str = "junioadm.io/ssh";

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Applied {
    labels: BTreeSet<String>,
    /// `KEY:EFFECT`, which is what tells taints apart.
    taints: BTreeSet<String>,
}

/// Makes the Node have the marks, where there are any; true when something had to be changed. Tried again when somebody else
/// changed the Node meanwhile, for taints are one list.
pub(crate) async fn apply(
    api: &Api<Node>,
    name: &str,
    marks: Option<&Marks>,
    target: Option<&str>,
) -> Result<bool, ApiError> {
    let failed = |source| ApiError::Request { operation: format!("label the node {name}"), source };
    loop {
        let node = api.get(name).await.map_err(failed)?;
        let Some(patch) = patch(&node, marks, target) else { return Ok(false) };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => return Err(failed(source)),
        }
    }
}

/// Pure: what has to change, as a merge patch that holds only for this version of the Node.
fn patch(node: &Node, marks: Option<&Marks>, target: Option<&str>) -> Option<Value> {
    let noted = node.annotations().get(APPLIED);
    let before: Applied = noted.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let have = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut annotations: BTreeMap<&str, Value> = BTreeMap::new();
    if let Some(target) = target.filter(|target| node.annotations().get(TARGET).map(String::as_str) != Some(target)) {
        annotations.insert(TARGET, json!(target));
    }
    let Some(marks) = marks else { return finished(node, &BTreeMap::new(), &annotations, None) };
    let wanted = Applied {
        labels: marks.labels.keys().cloned().collect(),
        taints: marks.taints.iter().map(|taint| identity(&taint.key, &taint.effect)).collect(),
    };
    let mut labels: BTreeMap<&str, Value> = BTreeMap::new();
    for gone in before.labels.difference(&wanted.labels).filter(|key| node.labels().contains_key(*key)) {
        labels.insert(gone, Value::Null);
    }
    for (key, value) in &marks.labels {
        if node.labels().get(key) != Some(value) {
            labels.insert(key, json!(value));
        }
    }
    let taints = merged(&have, &marks.taints, &before, &wanted);
    if before != wanted {
        annotations.insert(APPLIED, json!(serde_json::to_string(&wanted).unwrap_or_default()));
    }
    finished(node, &labels, &annotations, Some(taints).filter(|taints| *taints != have))
}

fn finished(
    node: &Node,
    labels: &BTreeMap<&str, Value>,
    annotations: &BTreeMap<&str, Value>,
    taints: Option<Vec<core::Taint>>,
) -> Option<Value> {
    if labels.is_empty() && annotations.is_empty() && taints.is_none() {
        return None;
    }
    let mut patch = json!({ "metadata": { "resourceVersion": node.resource_version() } });
    if !labels.is_empty() {
        patch["metadata"]["labels"] = json!(labels);
    }
    if !annotations.is_empty() {
        patch["metadata"]["annotations"] = json!(annotations);
    }
    if let Some(taints) = taints {
        patch["spec"]["taints"] = json!(taints);
    }
    Some(patch)
}

fn merged(have: &[core::Taint], marks: &[Taint], before: &Applied, wanted: &Applied) -> Vec<core::Taint> {
    let ours = |taint: &core::Taint| {
        let identity = identity(&taint.key, &taint.effect);
        before.taints.contains(&identity) || wanted.taints.contains(&identity)
    };
    let kept = have.iter().filter(|taint| !ours(taint)).cloned();
    // one that is right already stays as it is, with the time at which it was added
    let put = marks.iter().map(|mark| {
        let wanted = core::Taint::from(mark.clone());
        let same = |taint: &&core::Taint| {
            (&taint.key, &taint.effect, taint.value.as_deref().unwrap_or_default())
                == (&wanted.key, &wanted.effect, wanted.value.as_deref().unwrap_or_default())
        };
        have.iter().find(same).cloned().unwrap_or_else(|| wanted.clone())
    });
    let mut merged: Vec<core::Taint> = kept.chain(put).collect();
    // the order of what is there is nobody's business
    let place = |taint: &core::Taint| have.iter().position(|other| other == taint).unwrap_or(usize::MAX);
    merged.sort_by_key(place);
    merged
}

fn identity(key: &str, effect: &str) -> String {
    format!("{key}:{effect}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).expect("a Node")
    }

    fn marks(labels: &[(&str, &str)], taints: &[(&str, &str)]) -> Marks {
        let taint =
            |(key, effect): &(&str, &str)| Taint { key: (*key).into(), effect: (*effect).into(), ..Taint::default() };
        Marks {
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            taints: taints.iter().map(taint).collect(),
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let plain = node(json!({ "metadata": { "name": "n", "labels": { "a": "b" } } }));
        assert_eq!(patch(&plain, Some(&Marks::default()), None), None);
        let applied = r#"{"labels":["zone"],"taints":["gpu:NoSchedule"]}"#;
        let marked = node(json!({
            "metadata": { "name": "n", "labels": { "zone": "a" }, "annotations": { APPLIED: applied, TARGET: "h" } },
            "spec": { "taints": [{ "key": "gpu", "effect": "NoSchedule" }, { "key": "x", "effect": "NoExecute" }] },
        }));
        assert_eq!(patch(&marked, Some(&marks(&[("zone", "a")], &[("gpu", "NoSchedule")])), Some("h")), None);
    }

    #[test]
    fn what_leaves_the_file_leaves_the_node_and_what_is_not_ours_stays() {
        let applied = r#"{"labels":["zone","old"],"taints":["gpu:NoSchedule"]}"#;
        let marked = node(json!({
            "metadata": {
                "name": "n", "resourceVersion": "7", "labels": { "zone": "a", "old": "x", "theirs": "y" },
                "annotations": { APPLIED: applied },
            },
            "spec": { "taints": [{ "key": "gpu", "effect": "NoSchedule" }, { "key": "theirs", "effect": "NoExecute" }] },
        }));
        let patch = patch(&marked, Some(&marks(&[("zone", "b")], &[("new", "NoSchedule")])), None).expect("changes");
        assert_eq!(patch["metadata"]["labels"], json!({ "old": null, "zone": "b" }));
        assert_eq!(patch["metadata"]["resourceVersion"], json!("7"));
        let keys: Vec<&str> =
            patch["spec"]["taints"].as_array().expect("a list").iter().filter_map(|t| t["key"].as_str()).collect();
        assert_eq!(keys, ["theirs", "new"]);
    }

    #[test]
    fn without_a_file_only_the_way_to_the_host_is_noted() {
        let applied = r#"{"labels":["zone"],"taints":[]}"#;
        let marked = node(json!({
            "metadata": { "name": "n", "labels": { "zone": "a" }, "annotations": { APPLIED: applied } },
        }));
        assert_eq!(patch(&marked, None, None), None);
        let patch = patch(&marked, None, Some("root@h")).expect("a change");
        assert_eq!(patch["metadata"]["annotations"], json!({ TARGET: "root@h" }));
        assert_eq!(patch["metadata"].get("labels"), None);
    }
}
