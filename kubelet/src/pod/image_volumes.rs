//! Pulls and mounts the images that a pod has as volumes, before its containers are created.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, Volume};

use super::context::WorkerContext;
use super::facts;
use crate::container_spec::{all_containers, blocking};
use crate::error_chain::chain;
use crate::events::EventType;
use crate::status::Waiting;
use crate::volume::{image_volume_dir, is_image_mounted, mount_image};

/// Mounts what is not mounted yet. The error is what the containers that mount the volume wait for; it was told.
pub async fn mount_images(context: &WorkerContext, pod: &Arc<Pod>) -> Result<(), (String, Waiting)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes.filter(|volume| volume.image.is_some() && is_used(pod, &volume.name)) {
        mount_one(context, pod, volume).await.map_err(|waiting| (volume.name.clone(), waiting))?;
    }
    Ok(())
}

/// Whether a container of the pod mounts the volume.
fn is_used(pod: &Pod, name: &str) -> bool {
    all_containers(pod).any(|container| mounts(&container.container(), name))
}

#[must_use]
pub fn mounts(container: &Container, volume: &str) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| mount.name == volume)
}

async fn mount_one(context: &WorkerContext, pod: &Arc<Pod>, volume: &Volume) -> Result<(), Waiting> {
    let Some(source) = &volume.image else { return Ok(()) };
    let dir = image_volume_dir(&context.spec.pod_dir(facts::uid(pod)), &volume.name);
    let failed = |message: String| {
        context.events.pod(pod, EventType::Warning, "FailedMount", message.clone());
        Waiting { reason: "CreateContainerError".to_owned(), message }
    };
    let present = dir.clone();
    if blocking(move || is_image_mounted(&present)).await.map_err(|error| failed(chain(&error)))? {
        return Ok(());
    }
    // an image is an image, whoever asks for it
    let wanted = Container {
        name: volume.name.clone(),
        image: source.reference.clone(),
        image_pull_policy: source.pull_policy.clone(),
        ..Container::default()
    };
    let field = format!("spec.volumes{{{}}}", volume.name);
    let image = context.images.ensure(pod, &wanted, &field).await?;
    let layers = context.runtime.image_layers(&image.id).await.map_err(|error| failed(chain(&error)))?;
    blocking(move || mount_image(&dir, &image.id, &layers)).await.map_err(|error| failed(chain(&error)))
}
