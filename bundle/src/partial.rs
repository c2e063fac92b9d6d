//! Bundles that hold only what a host lacks. Header, manifest and places are those of the whole bundle, so that its identity
//! stays; parts that are absent are holes in the file, and one that is needed after all is `BundleError::Absent`.
//!
//! Frames arrive as single files, named after their digest, and are put together on the host.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::ListImagesOptions;
use serde::{Deserialize, Serialize};

use crate::error::BundleError;
use crate::format::Bundle;
use crate::manifest::{BundledFile, Part};
use crate::sha256;

/// Storage drivers under which Docker looks for a layer by the chain of digests up to it before it opens the archive. The
/// containerd image store wants every blob in the archive. Source: moby's `image/tarexport/load.go`.
const CHAINING_DRIVERS: [&str; 3] = ["overlay2", "vfs", "fuse-overlayfs"];

/// An image that Docker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerImage {
    /// `sha256:` and the digest of its configuration, or of its manifest with the containerd image store.
    pub id: String,
    /// Its layers' digests, uncompressed, lowest first; empty where they cannot stand for those of an archive.
    pub layers: Vec<String>,
}

/// All images of an engine.
///
/// # Errors
/// When Docker does not answer.
pub async fn docker_images(docker: &Docker) -> Result<Vec<DockerImage>, BundleError> {
    let failed = |reference: &str| {
        let reference = reference.to_owned();
        move |source| BundleError::InspectImage { reference, source }
    };
    let driver = docker.info().await.map_err(failed("(all)"))?.driver.unwrap_or_default();
    let chaining = CHAINING_DRIVERS.contains(&driver.as_str());
    let listed = docker.list_images(None::<ListImagesOptions>).await.map_err(failed("(all)"))?;
    let mut images = Vec::new();
    for summary in listed {
        let layers = if chaining {
            match docker.inspect_image(&summary.id).await {
                Ok(image) => image.root_fs.and_then(|root| root.layers).unwrap_or_default(),
                // removed meanwhile
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => continue,
                Err(source) => return Err(failed(&summary.id)(source)),
            }
        } else {
            Vec::new()
        };
        let layers = layers.into_iter().map(|layer| layer.trim_start_matches("sha256:").to_owned()).collect();
        images.push(DockerImage { id: summary.id, layers });
    }
    Ok(images)
}

/// Those of an image's layers, from the lowest, that Docker has below one another in the same way.
pub(crate) fn known_layers<'a>(layers: &'a [String], present: &[DockerImage]) -> &'a [String] {
    let common =
        |image: &DockerImage| layers.iter().zip(&image.layers).take_while(|(ours, theirs)| ours == theirs).count();
    &layers[..present.iter().map(common).max().unwrap_or_default()]
}

impl Bundle {
    /// The parts that a host needs to have `references` in its Docker and the files that `wants_file` names on its disk, given
    /// the images that its Docker has. In the order of the file.
    ///
    /// # Errors
    /// When an image is not in the bundle.
    pub fn needed_parts(
        &self,
        references: &[String],
        present: &[DockerImage],
        wants_file: &dyn Fn(&BundledFile) -> bool,
    ) -> Result<Vec<&Part>, BundleError> {
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        for reference in references {
            let image = self
                .manifest()
                .image(reference)
                .ok_or_else(|| BundleError::NoImage { reference: reference.to_owned() })?;
            if present.iter().any(|found| self.is_ours(&found.id, image)) {
                continue;
            }
            let known = known_layers(&image.layers, present).len();
            needed.extend(image.layers[known..].iter().map(String::as_str));
        }
        let files = self.manifest().files.iter().filter(|file| wants_file(file));
        needed.extend(files.map(|file| file.part.as_str()));
        Ok(self.manifest().parts.iter().filter(|part| needed.contains(part.sha256.as_str())).collect())
    }
}

/// The file name of a part's frame on its way.
#[must_use]
pub fn frame_name(part: &Part) -> String {
    format!("{}.frame", part.stored_sha256)
}

/// Puts a bundle together at `path` from `head` ([`Bundle::head`]), the frames in the directory `frames`, and the parts that the
/// bundle at `path` holds, of whatever version it is. By rename; returns how many parts it holds. Blocks.
///
/// # Errors
/// A frame that is not what its name says, or I/O.
pub fn assemble(head: &[u8], frames: &Path, path: &Path) -> Result<usize, BundleError> {
    let temporary = PathBuf::from(format!("{}.new", path.display()));
    // a bundle that cannot be read has nothing to give
    let earlier = Bundle::open(path).ok();
    let total = total_size(head, path)?;
    let begin = || -> std::io::Result<File> {
        let mut file = File::create(&temporary)?;
        file.write_all(head)?;
        file.set_len(total)?;
        Ok(file)
    };
    let file = begin().map_err(BundleError::io("write", &temporary))?;
    let bundle = Bundle::open(&temporary)?;
    let mut held = 0;
    for part in &bundle.manifest().parts {
        let Some(frame) = find(part, frames, earlier.as_ref())? else { continue };
        file.write_all_at(&frame, head.len() as u64 + part.offset).map_err(BundleError::io("write", &temporary))?;
        held += 1;
    }
    file.sync_all().map_err(BundleError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(BundleError::io("write", path))?;
    Ok(held)
}

/// Length of the whole bundle that `head` belongs to.
fn total_size(head: &[u8], path: &Path) -> Result<u64, BundleError> {
    let text = head.get(crate::format::HEADER_SIZE..).unwrap_or_default();
    let manifest: crate::Manifest =
        serde_json::from_slice(text).map_err(|source| BundleError::Manifest { path: path.to_owned(), source })?;
    Ok(head.len() as u64 + manifest.parts.last().map_or(0, |part| part.offset + part.stored_size))
}

fn find(part: &Part, frames: &Path, earlier: Option<&Bundle>) -> Result<Option<Vec<u8>>, BundleError> {
    let path = frames.join(frame_name(part));
    match fs::read(&path) {
        Ok(frame) => {
            let found = sha256(&frame);
            if found != part.stored_sha256 {
                let (part, expected) = (part.name.clone(), part.stored_sha256.clone());
                return Err(BundleError::Corrupt { path, part, expected, found });
            }
            return Ok(Some(frame));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(BundleError::Io { operation: "read", path, source }),
    }
    let Some(earlier) = earlier else { return Ok(None) };
    let same = earlier.manifest().part(&part.sha256).filter(|other| other.stored_sha256 == part.stored_sha256);
    // a damaged part of the earlier bundle is as good as none
    Ok(same.and_then(|other| earlier.frame(other).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_known_only_above_the_same_layers() {
        let layers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let image = |names: &[&str]| DockerImage { id: String::new(), layers: layers(names) };
        let wanted = layers(&["a", "b", "c"]);
        assert_eq!(known_layers(&wanted, &[image(&["a", "b"]), image(&["a"])]), ["a", "b"]);
        assert_eq!(known_layers(&wanted, &[image(&["b", "a"])]), [""; 0]);
        assert_eq!(known_layers(&wanted, &[]), [""; 0]);
    }
}
