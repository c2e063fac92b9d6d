//! What makes a Node a control-plane node: labels and taints, as a merge patch.

use junio_api::config::Taint;
use junio_api::names;
use serde_json::{Value, json};

/// The taint that a control-plane node gets unless the configuration says otherwise.
#[must_use]
pub fn control_plane_taint() -> Taint {
    Taint { key: names::LABEL_CONTROL_PLANE.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() }
}

/// Labels of a control-plane node; their values are empty.
pub const CONTROL_PLANE_LABELS: [&str; 2] = [names::LABEL_CONTROL_PLANE, names::LABEL_EXCLUDE_LB];

/// A JSON merge patch for the Node. `existing` are its taints now, which stay (a merge patch replaces lists); `wanted` is
/// `nodeRegistration.taints`, where `None` means the default taint and an empty list none.
#[must_use]
pub fn control_plane_patch(existing: &[k8s_openapi::api::core::v1::Taint], wanted: Option<&[Taint]>) -> Value {
    let default = [control_plane_taint()];
    let wanted = wanted.unwrap_or(&default);
    let labels: serde_json::Map<String, Value> =
        CONTROL_PLANE_LABELS.iter().map(|label| ((*label).to_owned(), "".into())).collect();
    let mut taints = existing.to_vec();
    for taint in wanted {
        if !taints.iter().any(|t| t.key == taint.key && t.effect == taint.effect) {
            taints.push(taint.clone().into());
        }
    }
    let mut patch = json!({ "metadata": { "labels": labels } });
    if taints.len() > existing.len() {
        patch["spec"] = json!({ "taints": taints });
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_adds_what_is_missing_and_keeps_what_is_there() {
        let patch = control_plane_patch(&[], None);
        assert_eq!(
            patch["spec"]["taints"],
            json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
        );
        assert_eq!(patch["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"], "");
        assert_eq!(control_plane_patch(&[], Some(&[])).get("spec"), None);
        let there: k8s_openapi::api::core::v1::Taint = control_plane_taint().into();
        assert_eq!(control_plane_patch(std::slice::from_ref(&there), None).get("spec"), None);
        let other = k8s_openapi::api::core::v1::Taint {
            key: "k".to_owned(),
            effect: "NoExecute".to_owned(),
            ..Default::default()
        };
        assert_eq!(control_plane_patch(&[other], None)["spec"]["taints"].as_array().map(Vec::len), Some(2));
    }
}
