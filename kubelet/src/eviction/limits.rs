//! Pods that use more local storage than they said they would. Pure. They are ended however much the node has left.

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::usage::{Files, Parts};
use crate::container_spec::{Quantity, amount, pod_limits, regular_containers};

const STORAGE: &str = "ephemeral-storage";

/// True if there is anything to look after.
pub(super) fn has_limits(pod: &Pod) -> bool {
    pod_limits(pod).contains_key(STORAGE) || volumes(pod).any(|volume| size_limit(volume).is_some())
}

/// What the pod is told when it has too much. `split`: images, and so writable layers, have a file system of their own.
pub(super) fn exceeded(pod: &Pod, files: &Files, split: bool) -> Option<String> {
    let beyond = |limit: &Quantity, used: u64| i64::try_from(used).unwrap_or(i64::MAX) > limit.value();
    for volume in volumes(pod) {
        let used = files.volumes.get(&format!("kubernetes.io~empty-dir/{}", volume.name));
        if let (Some(limit), Some(used)) = (size_limit(volume), used)
            && beyond(&limit, used.bytes)
        {
            let (name, limit) = (&volume.name, limit.to_api().0);
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "));
        }
    }
    if let Some(limit) = pod_limits(pod).get(STORAGE)
        && beyond(limit, files.total(Parts::ALL).bytes)
    {
        let limit = limit.to_api().0;
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    pod.spec.iter().flat_map(regular_containers).find_map(|container| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let limit = amount(limits, STORAGE).filter(|limit| !limit.is_zero())?;
        beyond(&limit, files.container(&container.name, !split)).then(|| {
            let limit = limit.to_api().0;
            format!("Container {} exceeded its local ephemeral storage limit {limit:?}. ", container.name)
        })
    })
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// Of a volume on disk; one in memory has the size that it has.
fn size_limit(volume: &Volume) -> Option<Quantity> {
    let source = volume.empty_dir.as_ref().filter(|source| source.medium.as_deref().unwrap_or_default().is_empty())?;
    source.size_limit.as_ref()?.0.parse::<Quantity>().ok().filter(|limit| *limit > Quantity::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::usage::DiskUse;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
    }

    fn used(entries: &[(&str, u64)]) -> BTreeMap<String, DiskUse> {
        entries.iter().map(|(name, bytes)| ((*name).to_owned(), DiskUse { bytes: *bytes, inodes: 1 })).collect()
    }

    #[test]
    fn an_empty_dir_has_its_own_limit() {
        let volume = |medium| {
            pod(json!({
                "containers": [{ "name": "c" }],
                "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "1Mi", "medium": medium } }]
            }))
        };
        let files = |bytes| Files { volumes: used(&[("kubernetes.io~empty-dir/v", bytes)]), ..Files::default() };
        assert!(has_limits(&volume("")) && !has_limits(&volume("Memory")));
        assert_eq!(exceeded(&volume(""), &files(1 << 20), false), None);
        assert_eq!(
            exceeded(&volume(""), &files((1 << 20) + 1), false).as_deref(),
            Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ")
        );
    }

    #[test]
    fn the_pod_is_held_to_the_sum_and_a_container_to_its_own() {
        let resources = |limit: &str| json!({ "limits": { "ephemeral-storage": limit } });
        let pod = pod(json!({ "containers": [
            { "name": "a", "resources": resources("1Ki") }, { "name": "b", "resources": resources("3Ki") }
        ] }));
        assert!(has_limits(&pod));
        let files = |a: u64, b: u64, layer: u64| Files {
            logs: used(&[("a", a), ("b", b)]),
            layers: used(&[("a", layer)]),
            ..Files::default()
        };
        assert_eq!(exceeded(&pod, &files(1024, 3072, 0), false), None);
        let message = exceeded(&pod, &files(1024, 3073, 0), false).expect("too much");
        assert_eq!(message, "Pod ephemeral local storage usage exceeds the total limit of containers 4Ki. ");
        let message = exceeded(&pod, &files(1000, 0, 100), false).expect("too much");
        assert_eq!(message, "Container a exceeded its local ephemeral storage limit \"1Ki\". ");
        assert_eq!(exceeded(&pod, &files(1000, 0, 100), true), None, "the layer is on another disk");
    }
}
