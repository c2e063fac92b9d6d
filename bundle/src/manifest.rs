//! The bundle's table of contents, stored as JSON in front of the parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sha256;

/// Version of the file format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// What is in a bundle. Everything else in the file is found through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// Go's name of the machine type, for example `amd64`.
    pub architecture: String,
    /// Component to version, for example `kubernetes: v1.36.3`.
    pub versions: BTreeMap<String, String>,
    pub parts: Vec<Part>,
    pub images: Vec<BundledImage>,
    pub files: Vec<BundledFile>,
}

/// A piece of content, stored as one zstd frame. Its identity is the sha256 of what it decompresses to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// For people, for example `layer kubernetes`.
    pub name: String,
    /// Of the content.
    pub sha256: String,
    /// Bytes of content.
    pub size: u64,
    /// Of the bytes in the file.
    pub stored_sha256: String,
    /// Bytes in the file.
    pub stored_size: u64,
    /// From the end of the manifest.
    pub offset: u64,
}

/// A container image. Layers are parts that hold an uncompressed tar, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundledImage {
    /// For example `registry.k8s.io/kube-apiserver:v1.36.3`.
    pub reference: String,
    /// The OCI image configuration, byte for byte.
    pub config: String,
    /// The sha256 of each layer's part.
    pub layers: Vec<String>,
}

impl BundledImage {
    /// Docker's image ID: `sha256:` and the digest of the configuration.
    #[must_use]
    pub fn id(&self) -> String {
        format!("sha256:{}", sha256(self.config.as_bytes()))
    }
}

/// A file for a host: a range of a part, so that a program that is also in an image is not stored twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundledFile {
    /// For example `cni/bridge`.
    pub name: String,
    /// Unix permission bits.
    pub mode: u32,
    pub sha256: String,
    pub size: u64,
    /// The sha256 of the part.
    pub part: String,
    /// Where in the part's content the file begins.
    pub offset: u64,
}

impl Manifest {
    /// The part with this content.
    #[must_use]
    pub fn part(&self, sha256: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.sha256 == sha256)
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&BundledFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The image that serves `reference`: the one of exactly this name, else the one whose name and tag are the same
    /// in another registry (`imageRepository` in the configuration).
    #[must_use]
    pub fn image(&self, reference: &str) -> Option<&BundledImage> {
        self.images.iter().find(|image| image.reference == reference).or_else(|| {
            self.images.iter().find(|image| {
                let name = image.reference.split_once('/').map_or(image.reference.as_str(), |(_, name)| name);
                reference.strip_suffix(name).is_some_and(|registry| registry.ends_with('/'))
            })
        })
    }

    /// The first contradiction: an image or file that points outside, parts that overlap, a format we do not know.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut expected = 0;
        for part in &self.parts {
            if part.offset != expected {
                return Err(format!("{} begins at {} instead of {expected}", part.name, part.offset));
            }
            expected =
                part.offset.checked_add(part.stored_size).ok_or_else(|| format!("{} is too large", part.name))?;
        }
        for image in &self.images {
            for layer in &image.layers {
                self.part(layer).ok_or_else(|| format!("{} needs layer {layer}, which is absent", image.reference))?;
            }
        }
        for file in &self.files {
            let part = self
                .part(&file.part)
                .ok_or_else(|| format!("{} is in part {}, which is absent", file.name, file.part))?;
            if file.offset.checked_add(file.size).is_none_or(|end| end > part.size) {
                return Err(format!("{} reaches beyond {}", file.name, part.name));
            }
        }
        Ok(())
    }
}
