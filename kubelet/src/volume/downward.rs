//! The files of downward API volumes.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Pod};

use super::atomic_writer::{FileProjection, Payload};
use super::error::VolumeError;
use super::payload::mode_of;
use crate::container_spec::{NodeInfo, pod_field, resource_field};

/// One file per item. The pod's address is not a field that files may have.
pub(super) fn downward_payload(
    items: &[DownwardAPIVolumeFile],
    pod: &Pod,
    node: &NodeInfo,
    default_mode: u32,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            pod_field(&field.field_path, pod, node, &[])?
        } else if let Some(selector) = &item.resource_field_ref {
            resource_field(selector, pod, None, &node.allocatable)?
        } else {
            continue;
        };
        let file = FileProjection { data: text.into_bytes(), mode: mode_of(item.mode, default_mode), uid: None };
        payload.insert(item.path.clone(), file);
    }
    Ok(payload)
}
