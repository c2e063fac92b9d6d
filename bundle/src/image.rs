//! Image configurations and the archive that Docker and containerd take: one tar that is an OCI layout and also holds
//! the `manifest.json` of `docker save`, both pointing at the same blobs. Docker 20.10 refuses a pure OCI layout.
//!
//! Formats: OCI image-spec v1.1 (config, manifest, index, layout); Docker's `manifest.json` is described in moby's
//! `image/tarexport`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::json;

use crate::layer::plain_header;
use crate::manifest::BundledImage;
use crate::sha256;

/// What an image is made of, beyond the content of its layers.
#[derive(Debug, Clone, Default)]
pub struct ImageSpec {
    pub reference: String,
    /// Go's name of the machine type.
    pub architecture: String,
    pub environment: Vec<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// The sha256 of each layer's tar, lowest first, and what it is.
    pub layers: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
}

/// Images have no build time, or two builds would differ.
const CREATED: &str = "1970-01-01T00:00:00Z";

impl ImageSpec {
    /// The image as the bundle's manifest has it.
    #[must_use]
    pub fn build(&self) -> BundledImage {
        let mut config = serde_json::Map::new();
        config.insert("Env".into(), json!(self.environment));
        if !self.entrypoint.is_empty() {
            config.insert("Entrypoint".into(), json!(self.entrypoint));
        }
        if !self.command.is_empty() {
            config.insert("Cmd".into(), json!(self.command));
        }
        if !self.labels.is_empty() {
            let labels: serde_json::Map<_, _> =
                self.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            config.insert("Labels".into(), labels.into());
        }
        let config = json!({
            "created": CREATED,
            "architecture": self.architecture,
            "os": "linux",
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": self.layers.iter().map(|(digest, _)| format!("sha256:{digest}")).collect::<Vec<_>>(),
            },
            "history": self.layers.iter()
                .map(|(_, what)| json!({"created": CREATED, "created_by": format!("junio-bundle: {what}")}))
                .collect::<Vec<_>>(),
        });
        BundledImage {
            reference: self.reference.clone(),
            config: config.to_string(),
            layers: self.layers.iter().map(|(digest, _)| digest.clone()).collect(),
        }
    }
}

/// Where the archive's layers come from.
pub trait LayerSource {
    /// Bytes of the layer.
    fn size(&self, sha256: &str) -> io::Result<u64>;
    /// Writes the layer.
    fn copy(&self, sha256: &str, to: &mut dyn Write) -> io::Result<()>;
    /// The reader of the archive has this layer, at this place of its images, and does not look for it in the archive.
    fn is_known(&self, _sha256: &str) -> bool {
        false
    }
}

/// Writes an archive with `images`, each under the reference it is given with. A layer that several share is written
/// once.
///
/// # Errors
/// Those of the source and of the writer.
pub fn write_archive(
    images: &[(&BundledImage, String)],
    layers: &dyn LayerSource,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut docker = Vec::new();
    let mut index = Vec::new();
    let mut blobs = Vec::new();
    for (image, reference) in images {
        let manifest = oci_manifest(image, layers)?;
        let (digest, size) = (sha256(manifest.as_bytes()), manifest.len());
        let tag = reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        index.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{digest}"),
            "size": size,
            "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag},
        }));
        docker.push(json!({
            "Config": blob_path(&sha256(image.config.as_bytes())),
            "RepoTags": [reference],
            "Layers": image.layers.iter().map(|layer| blob_path(layer)).collect::<Vec<_>>(),
        }));
        blobs.push(manifest);
        blobs.push(image.config.clone());
    }
    small(to, "oci-layout", &json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index});
    small(to, "index.json", &index.to_string())?;
    small(to, "manifest.json", &serde_json::Value::from(docker).to_string())?;
    let mut written = BTreeSet::new();
    for blob in &blobs {
        let digest = sha256(blob.as_bytes());
        if written.insert(digest.clone()) {
            small(to, &blob_path(&digest), blob)?;
        }
    }
    for layer in images.iter().flat_map(|(image, _)| &image.layers) {
        if !layers.is_known(layer) && written.insert(layer.clone()) {
            let size = layers.size(layer)?;
            to.write_all(plain_header(&blob_path(layer), size, 0o644)?.as_bytes())?;
            layers.copy(layer, to)?;
            pad(to, size)?;
        }
    }
    to.write_all(&[0; 1024])
}

/// The digest by which Docker's containerd image store and registries know the image.
///
/// # Errors
/// Those of the source.
pub(crate) fn manifest_digest(image: &BundledImage, layers: &dyn LayerSource) -> io::Result<String> {
    Ok(format!("sha256:{}", sha256(oci_manifest(image, layers)?.as_bytes())))
}

fn oci_manifest(image: &BundledImage, layers: &dyn LayerSource) -> io::Result<String> {
    let mut descriptors = Vec::new();
    for layer in &image.layers {
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{layer}"),
            "size": layers.size(layer)?,
        }));
    }
    Ok(json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": image.id(),
            "size": image.config.len(),
        },
        "layers": descriptors,
    })
    .to_string())
}

fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn small(to: &mut dyn Write, path: &str, content: &str) -> io::Result<()> {
    let size = content.len() as u64;
    to.write_all(plain_header(path, size, 0o644)?.as_bytes())?;
    to.write_all(content.as_bytes())?;
    pad(to, size)
}

fn pad(to: &mut dyn Write, size: u64) -> io::Result<()> {
    let missing = usize::try_from(size.next_multiple_of(512) - size).expect("less than 512");
    to.write_all(&[0; 512][..missing])
}
