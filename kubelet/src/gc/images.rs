//! Unused images, when the disk fills up: from the high threshold down to the low one, longest unused first. The pause
//! image is never removed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Limits;
use crate::error_chain::chain;
use crate::events::{EventRecorder, EventType, node_reference};
use crate::node::machine;
use crate::runtime::{PodRuntime, RuntimeError, RuntimeImage};
use crate::volume::images_in_volumes;

/// How often the disk is looked at.
const PERIOD: Duration = Duration::from_secs(300);

/// The task.
pub struct ImageCollector {
    pub runtime: Arc<dyn PodRuntime>,
    pub limits: Limits,
    /// Where the engine keeps its images.
    pub directory: PathBuf,
    /// `pods` of the kubelet's directory: their volumes may be images.
    pub pods: PathBuf,
    pub pause_image: String,
    pub events: EventRecorder,
    pub node: String,
    pub seen: Mutex<SeenImages>,
}

/// What is known of the images' past.
#[derive(Debug, Default)]
pub struct SeenImages(HashMap<String, Seen>);

/// When an image was first seen and last used.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Instant,
    used: Instant,
}

impl ImageCollector {
    /// Works for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.collect().await {
                tracing::debug!(error = chain(&error), "image garbage collection failed");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Down to the low threshold, if the high one is reached.
    async fn collect(&self) -> Result<(), RuntimeError> {
        let mut seen = self.seen.lock().await;
        let (images, used) = self.look(&mut seen.0).await?;
        let Some(disk) = machine::disk(&self.directory) else { return Ok(()) };
        let Some(excess) = excess(disk.total, disk.available, self.limits) else { return Ok(()) };
        let freed = self.free(excess, &images, &used, &seen.0).await;
        if freed < excess {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {excess} bytes, but only found {freed} bytes eligible to free."
            );
            self.events.event(&node_reference(&self.node, None), EventType::Warning, "FreeDiskSpaceFailed", message);
        }
        Ok(())
    }

    /// All images that nobody uses and that are old enough: the node is short of disk.
    pub async fn remove_unused(&self) {
        let mut seen = self.seen.lock().await;
        match self.look(&mut seen.0).await {
            Ok((images, used)) => {
                self.free(u64::MAX, &images, &used, &seen.0).await;
            }
            Err(error) => tracing::warn!(error = chain(&error), "cannot list images to reclaim disk"),
        }
    }

    /// All images, and the IDs of those in use. Notes when which was there and used.
    async fn look(
        &self,
        seen: &mut HashMap<String, Seen>,
    ) -> Result<(Vec<RuntimeImage>, HashSet<String>), RuntimeError> {
        let images = self.runtime.images().await?;
        let used: HashSet<String> = self
            .runtime
            .list_pods()
            .await?
            .into_iter()
            .flat_map(|pod| pod.containers)
            .map(|container| container.image_id)
            .chain(images_in_volumes(&self.pods))
            .collect();
        let now = Instant::now();
        seen.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in &images {
            let entry = seen.entry(image.id.clone()).or_insert(Seen { first: now, used: now });
            if used.contains(&image.id) {
                entry.used = now;
            }
        }
        Ok((images, used))
    }

    /// Removes until `excess` bytes are freed; returns how many were.
    async fn free(
        &self,
        excess: u64,
        images: &[RuntimeImage],
        used: &HashSet<String>,
        seen: &HashMap<String, Seen>,
    ) -> u64 {
        let mut freed = 0;
        for image in candidates(images, used, &self.pause_image, seen, Instant::now(), self.limits.minimum_age) {
            if freed >= excess {
                break;
            }
            tracing::info!(image = image.id, size = image.size, "removing unused image");
            match self.runtime.remove_image(&image.id).await {
                Ok(()) => freed += image.size,
                Err(error) => tracing::debug!(image = image.id, error = chain(&error), "image stays"),
            }
        }
        freed
    }
}

/// Bytes to free, `None` below the high threshold. Pure.
fn excess(total: u64, available: u64, limits: Limits) -> Option<u64> {
    let used = total.saturating_sub(available);
    let at = |percent: u8| u128::from(total) * u128::from(percent) / 100;
    (total > 0 && u128::from(used) >= at(limits.high))
        .then(|| used.saturating_sub(u64::try_from(at(limits.low)).unwrap_or(u64::MAX)))
}

fn candidates<'a>(
    images: &'a [RuntimeImage],
    used: &HashSet<String>,
    pause: &str,
    seen: &HashMap<String, Seen>,
    now: Instant,
    minimum_age: Duration,
) -> Vec<&'a RuntimeImage> {
    let old =
        |image: &RuntimeImage| seen.get(&image.id).is_some_and(|seen| now.duration_since(seen.first) >= minimum_age);
    let mut list: Vec<&RuntimeImage> = images
        .iter()
        .filter(|image| !used.contains(&image.id) && !image.tags.iter().any(|tag| tag == pause) && old(image))
        .collect();
    list.sort_by_key(|image| seen.get(&image.id).map(|seen| (seen.used, seen.first)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_freed_below_the_high_threshold() {
        let limits = Limits { high: 85, low: 80, minimum_age: Duration::ZERO };
        assert_eq!(excess(1000, 151, limits), None);
        assert_eq!(excess(1000, 150, limits), Some(50));
        assert_eq!(excess(0, 0, limits), None);
    }

    #[test]
    fn used_new_and_pause_images_stay() {
        let image = |id: &str| RuntimeImage {
            id: id.into(),
            tags: vec![format!("{id}:1")],
            digests: vec![],
            size: 1,
            user: String::new(),
        };
        let images = [image("used"), image("pause"), image("late"), image("early"), image("new")];
        let now = Instant::now() + Duration::from_secs(1000);
        let ago = |seconds: u64| now - Duration::from_secs(seconds);
        let seen = HashMap::from([
            ("used".to_owned(), Seen { first: ago(900), used: now }),
            ("pause".to_owned(), Seen { first: ago(900), used: ago(900) }),
            ("late".to_owned(), Seen { first: ago(900), used: ago(300) }),
            ("early".to_owned(), Seen { first: ago(900), used: ago(800) }),
            ("new".to_owned(), Seen { first: ago(10), used: ago(10) }),
        ]);
        let used = HashSet::from(["used".to_owned()]);
        let list = candidates(&images, &used, "pause:1", &seen, now, Duration::from_secs(120));
        assert_eq!(list.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), ["early", "late"]);
    }
}
