//! Writes a bundle file.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::BundleError;
use crate::format::{HEADER_SIZE, MAGIC};
use crate::manifest::{FORMAT, Manifest, Part};
use crate::sha256;

/// Collects parts and writes them behind their manifest. Compressing is the caller's: it may have the frame in a cache.
#[derive(Debug, Default)]
pub struct BundleWriter {
    parts: Vec<Part>,
    frames: Vec<Vec<u8>>,
}

impl BundleWriter {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part: its content's digest and size, and the zstd frame that holds it. Content that is there already is
    /// not added again.
    pub fn part(&mut self, name: &str, digest: String, size: u64, frame: Vec<u8>) {
        if self.parts.iter().any(|part| part.sha256 == digest) {
            return;
        }
        let offset = self.parts.last().map_or(0, |last| last.offset + last.stored_size);
        self.parts.push(Part {
            name: name.to_owned(),
            sha256: digest,
            size,
            stored_sha256: sha256(&frame),
            stored_size: frame.len() as u64,
            offset,
        });
        self.frames.push(frame);
    }

    /// Writes the file by rename; `contents` is the manifest without its parts.
    ///
    /// # Errors
    /// I/O, or a manifest that contradicts itself.
    pub fn write(self, contents: Manifest, path: &Path) -> Result<Manifest, BundleError> {
        let manifest = Manifest { format: FORMAT, parts: self.parts, ..contents };
        manifest.check().map_err(|reason| BundleError::Inconsistent { path: path.to_owned(), reason })?;
        let text =
            serde_json::to_vec(&manifest).map_err(|source| BundleError::Manifest { path: path.to_owned(), source })?;
        let length = u32::try_from(text.len()).map_err(|_| BundleError::Inconsistent {
            path: path.to_owned(),
            reason: "the manifest is too large".into(),
        })?;
        let mut header = Vec::with_capacity(HEADER_SIZE);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&length.to_le_bytes());
        header.extend_from_slice(sha256(&text).as_bytes());

        let temporary = PathBuf::from(format!("{}.part", path.display()));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&header)?;
            file.write_all(&text)?;
            for frame in &self.frames {
                file.write_all(frame)?;
            }
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(BundleError::io("write the bundle", path))?;
        Ok(manifest)
    }
}
