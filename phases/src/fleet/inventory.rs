//! What a host has already: asked by `junioadm agent inventory` on the host, so that only what it lacks is sent. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use junio_api::{Layout, names};
use junio_bundle::{Bundle, BundledFile, DockerImage, docker, docker_images};
use junio_pki::Kubeconfig;
use junio_pki::parsed::ParsedCertificate;
use junio_pki::token::ca_pin;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::HostFailure;
use crate::init::images::destination;

/// Where frames of the bundle arrive.
pub(crate) fn incoming(layout: &Layout) -> PathBuf {
    layout.junioadm_dir().join("incoming")
}

/// One host, as far as sending and joining need it. No secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    pub hostname: String,
    pub machine_id: String,
    pub images: Vec<DockerImage>,
    /// Why no engine answers; nothing can be made of the host then.
    pub docker_error: Option<HostFailure>,
    pub bundle: Option<HeldBundle>,
    /// Names of frames that have arrived whole.
    pub frames: Vec<String>,
    /// Programs and plugins at their places.
    pub files: BTreeMap<PathBuf, HeldFile>,
    pub node: Option<Membership>,
}

/// A bundle file on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBundle {
    pub digest: String,
    /// Digests of the frames that are in it.
    pub frames: Vec<String>,
}

/// A file on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    pub sha256: String,
    pub mode: u32,
}

/// The cluster that the host is a node of, as its kubelet's kubeconfig says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    pub node_name: String,
    pub ca_pin: String,
    pub control_plane: bool,
}

/// Looks at this host.
pub async fn inventory(layout: &Layout, bundle: &Path) -> Inventory {
    let images = async {
        let docker = docker::connect(&layout.docker_socket()).await?;
        docker_images(&docker).await
    };
    let (layout_too, bundle) = (layout.clone(), bundle.to_owned());
    let disk = tokio::task::spawn_blocking(move || on_disk(&layout_too, &bundle));
    let (images, found) = tokio::join!(images, disk);
    let found = match found {
        Ok(found) => found,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    match images {
        Ok(images) => Inventory { images, ..found },
        Err(error) => Inventory { docker_error: Some(error.into()), ..found },
    }
}

fn on_disk(layout: &Layout, bundle: &Path) -> Inventory {
    let text =
        |path: &str| fs::read_to_string(layout.root().join(path)).map(|t| t.trim().to_owned()).unwrap_or_default();
    let mut paths = vec![layout.kubelet_bin(), layout.kubectl_bin()];
    paths.extend(fs::read_dir(layout.cni_bin_dir()).into_iter().flatten().flatten().map(|entry| entry.path()));
    let mut frames: Vec<String> = fs::read_dir(incoming(layout))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".frame"))
        .collect();
    frames.sort();
    Inventory {
        hostname: text("proc/sys/kernel/hostname"),
        machine_id: text("etc/machine-id"),
        images: Vec::new(),
        docker_error: None,
        bundle: held(bundle),
        frames,
        files: paths.into_iter().filter_map(|path| Some((path.clone(), file(&path)?))).collect(),
        node: membership(layout),
    }
}

fn held(path: &Path) -> Option<HeldBundle> {
    let bundle = Bundle::open(path).ok()?;
    let held = bundle.manifest().parts.iter().filter(|part| bundle.holds(part).unwrap_or(false));
    Some(HeldBundle {
        digest: bundle.digest().to_owned(),
        frames: held.map(|part| part.stored_sha256.clone()).collect(),
    })
}

fn file(path: &Path) -> Option<HeldFile> {
    let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(HeldFile { sha256: sha256_of(path).ok()?, mode: metadata.permissions().mode() & 0o7777 })
}

/// In hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let (mut hasher, mut source, mut piece) = (Sha256::new(), fs::File::open(path)?, vec![0; 1 << 20]);
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn membership(layout: &Layout) -> Option<Membership> {
    let path = layout.kubelet_conf();
    let config = Kubeconfig::load(&path).ok()??;
    let ca = config.ca_pem(&path).ok()??;
    // embedded on a control plane that is new, a file everywhere else
    let parsed = config.client_certificate(&path).ok()?.or_else(|| {
        let certificate = layout.kubelet_pki_dir().join("kubelet-client-current.pem");
        let text = fs::read_to_string(&certificate).ok()?;
        ParsedCertificate::from_pem(&text, &certificate.display().to_string()).ok()
    })?;
    Some(Membership {
        node_name: parsed.common_name.strip_prefix(names::NODE_USER_PREFIX)?.to_owned(),
        ca_pin: ca_pin(&ca).ok()?,
        control_plane: layout.manifest(names::KUBE_APISERVER).exists(),
    })
}

impl Inventory {
    /// Whether the host has this file of the bundle at its place, or it has none there.
    pub(crate) fn has_file(&self, layout: &Layout, file: &BundledFile) -> bool {
        let Some(path) = destination(&file.name, layout) else { return true };
        self.files.get(&path).is_some_and(|held| held.sha256 == file.sha256 && held.mode == file.mode)
    }

    /// Whether the frame of this digest is on the host.
    pub(crate) fn has_frame(&self, digest: &str) -> bool {
        let arrived = self.frames.iter().any(|name| name.strip_suffix(".frame") == Some(digest));
        arrived || self.bundle.as_ref().is_some_and(|held| held.frames.iter().any(|frame| frame == digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_is_told_and_what_is_not_is_absent() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let empty = on_disk(&layout, &layout.bundle());
        assert_eq!(empty, Inventory::default());
        for directory in [layout.cni_bin_dir(), incoming(&layout), layout.root().join("etc")] {
            fs::create_dir_all(directory).expect("made");
        }
        fs::write(layout.cni_bin_dir().join("bridge"), "b").expect("written");
        fs::write(incoming(&layout).join("ab.frame"), "f").expect("written");
        fs::write(incoming(&layout).join("cd.frame.part"), "f").expect("written");
        fs::write(layout.root().join("etc/machine-id"), "0123\n").expect("written");
        let found = on_disk(&layout, &layout.bundle());
        assert_eq!((found.machine_id.as_str(), found.frames.as_slice()), ("0123", ["ab.frame".to_owned()].as_slice()));
        assert_eq!(found.files.len(), 1);
        assert!(found.has_frame("ab") && !found.has_frame("cd"));
        let text = serde_json::to_string(&found).expect("plain data");
        assert_eq!(serde_json::from_str::<Inventory>(&text).expect("the same"), found);
    }
}
