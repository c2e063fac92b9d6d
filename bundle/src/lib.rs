//! The bundle: one file with everything that a host needs beyond Docker and junioadm itself.
//!
//! The crate reads and writes the file ([`Bundle`], [`BundleWriter`]), checks it, loads its images into Docker and
//! extracts its files. It owns bollard on the installer's side ([`docker`]). How the content is compiled is the
//! business of the program `junio-bundle` (`src/bin/junio-bundle`). The format is described in `docs/BUNDLE.md`.

pub mod docker;
mod error;
mod extract;
mod format;
mod image;
mod layer;
mod load;
mod manifest;
mod partial;
mod verify;
mod write;

pub use error::BundleError;
pub use extract::{Extracted, Extraction};
pub use format::Bundle;
pub use image::{ImageSpec, write_archive};
pub use layer::{LayerBuilder, Range};
pub use load::{ImageOutcome, LoadProgress, LoadReport};
pub use manifest::{BundledFile, BundledImage, FORMAT, Manifest, Part};
pub use partial::{DockerImage, assemble, docker_images, frame_name};
pub use write::BundleWriter;

/// Name of the file with the API server's own roles and bindings, a JSON array of objects.
pub const BOOTSTRAP_ROLES: &str = "bootstrap-roles.json";

/// sha256 of some bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}
