//! Loads images into Docker: only those that are absent, each shared layer once, two streams at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use crate::error::BundleError;
use crate::format::Bundle;
use crate::image::{LayerSource, manifest_digest, write_archive};
use crate::manifest::BundledImage;
use crate::partial::{DockerImage, docker_images, known_layers};

/// Streams at a time: more do not help, Docker's disk is the limit (measured: 3 images of 131 MB take 2.5 s one by one,
/// 1.9 s in parallel).
const PARALLEL: usize = 2;
const CHUNK: usize = 1 << 20;

/// How far the load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes handed to Docker.
    pub done: u64,
    /// Bytes to hand over in all.
    pub total: u64,
}

/// What happened to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageOutcome {
    /// Docker had it under this name.
    Present,
    /// Docker had it under another name.
    Tagged,
    /// Docker did not have it.
    Loaded,
}

/// References with what happened to each, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    pub images: Vec<(String, ImageOutcome)>,
}

impl LoadReport {
    /// True when Docker had everything.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.images.iter().all(|(_, outcome)| *outcome == ImageOutcome::Present)
    }
}

/// An image that is asked for: the bundle's image and the name it is to have in Docker.
struct Wanted {
    image: BundledImage,
    reference: String,
}

impl Bundle {
    /// Which of `references` Docker lacks; nothing is changed.
    ///
    /// # Errors
    /// When an image is not in the bundle, or Docker does not answer.
    pub async fn missing_images(&self, docker: &Docker, references: &[String]) -> Result<Vec<String>, BundleError> {
        let mut missing = Vec::new();
        for reference in references {
            let wanted = self.wanted(reference)?;
            if !self.is_present(docker, reference, &wanted.image).await? {
                missing.push(reference.clone());
            }
        }
        Ok(missing)
    }

    /// Makes `references` available in Docker. A reference in another registry than the bundle's (the configuration's
    /// `imageRepository`) gets the bundle's image of the same name and tag.
    ///
    /// # Errors
    /// When an image is not in the bundle, the bundle is damaged, or Docker refuses an image.
    pub async fn load_images(
        self: &Arc<Self>,
        docker: &Docker,
        references: &[String],
        progress: &(dyn Fn(LoadProgress) + Send + Sync),
    ) -> Result<LoadReport, BundleError> {
        let mut outcomes = Vec::new();
        let mut groups: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for reference in references {
            let wanted = self.wanted(reference)?;
            let outcome = if self.is_present(docker, reference, &wanted.image).await? {
                ImageOutcome::Present
            } else if self.tag_existing(docker, &wanted).await? {
                ImageOutcome::Tagged
            } else {
                // Docker reuses a layer when all layers below it are the same: what has its lowest layer in common
                // goes into one archive, in which that layer is once.
                let lowest = wanted.image.layers.first().cloned().unwrap_or_default();
                groups.entry(lowest).or_default().push(wanted);
                ImageOutcome::Loaded
            };
            outcomes.push((reference.clone(), outcome));
        }
        let mut groups: Vec<_> = groups.into_values().map(|group| (self.content_size(&group), group)).collect();
        groups.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        let total = groups.iter().map(|(size, _)| size).sum();

        let (sent, mut counted) = mpsc::unbounded_channel::<usize>();
        let loads: Vec<_> = groups.into_iter().map(|(_, group)| self.load_group(docker, group, sent.clone())).collect();
        // The report ends when the last load drops its sender.
        drop(sent);
        let loads = stream::iter(loads).buffer_unordered(PARALLEL).try_collect::<Vec<()>>();
        let report = async {
            let mut done = 0;
            while let Some(bytes) = counted.recv().await {
                done += bytes as u64;
                progress(LoadProgress { done: done.min(total), total });
            }
        };
        let (loaded, ()) = tokio::join!(loads, report);
        loaded?;
        Ok(LoadReport { images: outcomes })
    }

    fn wanted(&self, reference: &str) -> Result<Wanted, BundleError> {
        let image =
            self.manifest().image(reference).ok_or_else(|| BundleError::NoImage { reference: reference.to_owned() })?;
        Ok(Wanted { image: image.clone(), reference: reference.to_owned() })
    }

    /// Docker's image IDs are the digest of the configuration, or of the manifest with the containerd image store.
    pub(crate) fn is_ours(&self, id: &str, image: &BundledImage) -> bool {
        id == image.id() || manifest_digest(image, self).is_ok_and(|digest| id == digest)
    }

    async fn is_present(&self, docker: &Docker, reference: &str, image: &BundledImage) -> Result<bool, BundleError> {
        Ok(inspect(docker, reference, reference).await?.is_some_and(|id| self.is_ours(&id, image)))
    }

    /// Gives an image that Docker has under another name the wanted one.
    async fn tag_existing(&self, docker: &Docker, wanted: &Wanted) -> Result<bool, BundleError> {
        let id = wanted.image.id();
        let Some((repository, tag)) = wanted.reference.rsplit_once(':') else {
            return Ok(false);
        };
        if inspect(docker, &id, &wanted.reference).await?.is_none() {
            return Ok(false);
        }
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let failed = |source| BundleError::Load { images: wanted.reference.clone(), source };
        docker.tag_image(&id, Some(options)).await.map_err(failed)?;
        Ok(true)
    }

    fn content_size(&self, group: &[Wanted]) -> u64 {
        let mut layers: Vec<_> = group.iter().flat_map(|wanted| &wanted.image.layers).collect();
        layers.sort();
        layers.dedup();
        layers.into_iter().filter_map(|layer| self.manifest().part(layer)).map(|part| part.size).sum()
    }

    /// Layers that a partial bundle does not hold because Docker has them, below the same layers as in these images.
    async fn left_out(&self, docker: &Docker, group: &[Wanted]) -> Result<BTreeSet<String>, BundleError> {
        let mut lacks = false;
        for layer in group.iter().flat_map(|wanted| &wanted.image.layers) {
            if let Some(part) = self.manifest().part(layer) {
                lacks |= !self.holds(part)?;
            }
        }
        if !lacks {
            return Ok(BTreeSet::new());
        }
        let present: Vec<DockerImage> = docker_images(docker).await?;
        let known = group.iter().flat_map(|wanted| known_layers(&wanted.image.layers, &present));
        known
            .filter_map(|layer| match self.manifest().part(layer).map(|part| self.holds(part)) {
                Some(Ok(false)) => Some(Ok(layer.clone())),
                Some(Err(error)) => Some(Err(error)),
                _ => None,
            })
            .collect()
    }

    async fn load_group(
        self: &Arc<Self>,
        docker: &Docker,
        group: Vec<Wanted>,
        sent: mpsc::UnboundedSender<usize>,
    ) -> Result<(), BundleError> {
        // The damage of a part is found before Docker sees the first byte of the archive.
        let names = group.iter().map(|wanted| wanted.reference.clone()).collect::<Vec<_>>().join(", ");
        let known = Arc::new(self.left_out(docker, &group).await?);
        let check = {
            let (bundle, known) = (Arc::clone(self), Arc::clone(&known));
            let layers: Vec<String> = group.iter().flat_map(|wanted| wanted.image.layers.clone()).collect();
            move || {
                layers
                    .iter()
                    .filter(|layer| !known.contains(*layer))
                    .filter_map(|layer| bundle.manifest().part(layer))
                    .try_for_each(|part| bundle.stored(part).map(|_| ()))
            }
        };
        blocking(check).await??;

        let (chunks, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
        let archive: Vec<(BundledImage, String)> =
            group.iter().map(|wanted| (wanted.image.clone(), wanted.reference.clone())).collect();
        let bundle = Arc::clone(self);
        let writing = blocking(move || {
            let images: Vec<_> = archive.iter().map(|(image, reference)| (image, reference.clone())).collect();
            let mut writer = ChunkWriter { pending: Vec::with_capacity(CHUNK), chunks, sent };
            let layers = Without { bundle: &bundle, known: &known };
            let result = write_archive(&images, &layers, &mut writer).and_then(|()| writer.flush());
            if let Err(error) = result {
                // Nobody listens any more when Docker has already refused the archive; its answer tells why.
                let _ = writer.chunks.blocking_send(Err(error));
            }
        });
        let body =
            stream::unfold(
                receiver,
                |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) },
            );
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let answers = docker.import_image_stream(options, body, None).try_collect::<Vec<_>>();
        let (answers, written) = tokio::join!(answers, writing);
        answers.map_err(|source| BundleError::Load { images: names, source })?;
        written?;
        for wanted in &group {
            let found =
                inspect(docker, &wanted.reference, &wanted.reference).await?.unwrap_or_else(|| "nothing".into());
            if !self.is_ours(&found, &wanted.image) {
                let (reference, expected) = (wanted.reference.clone(), wanted.image.id());
                return Err(BundleError::WrongImage { reference, expected, found });
            }
        }
        Ok(())
    }
}

/// A bundle, some of whose layers the reader has.
struct Without<'a> {
    bundle: &'a Bundle,
    known: &'a BTreeSet<String>,
}

impl LayerSource for Without<'_> {
    fn size(&self, sha256: &str) -> io::Result<u64> {
        self.bundle.size(sha256)
    }

    fn copy(&self, sha256: &str, to: &mut dyn Write) -> io::Result<()> {
        self.bundle.copy(sha256, to)
    }

    fn is_known(&self, sha256: &str) -> bool {
        self.known.contains(sha256)
    }
}

/// The ID of an image, or none where Docker does not have it.
async fn inspect(docker: &Docker, name: &str, reference: &str) -> Result<Option<String>, BundleError> {
    match docker.inspect_image(name).await {
        Ok(image) => Ok(image.id),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(source) => Err(BundleError::InspectImage { reference: reference.to_owned(), source }),
    }
}

/// Runs blocking work; a panic in it is passed on as an error, never swallowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BundleError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BundleError::Io {
        operation: "read in the background",
        path: std::path::PathBuf::new(),
        source: io::Error::other(error),
    })
}

/// Turns writes into chunks of a stream.
struct ChunkWriter {
    pending: Vec<u8>,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    sent: mpsc::UnboundedSender<usize>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        let length = chunk.len();
        self.chunks.blocking_send(Ok(chunk.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        // Progress is a courtesy; nobody may be listening.
        let _ = self.sent.send(length);
        Ok(())
    }
}
