//! Image volumes: the layers of an image as the engine has unpacked them, mounted read-only and not executable (KEP-4639).
//! Nothing is copied. Beside the mount point a file names the image, so that it is not collected while a pod has it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::error::VolumeError;
use super::mount_table::mounts_below;

const DIRECTORY: &str = "kubernetes.io~image";
/// mount(2) takes one page of options.
const OPTIONS_MAX: usize = 4095;

/// Where a pod's image volume is.
#[must_use]
pub fn image_volume_dir(pod_dir: &Path, name: &str) -> PathBuf {
    pod_dir.join("volumes").join(DIRECTORY).join(name)
}

/// Whether the volume is mounted.
///
/// # Errors
/// When the mount table cannot be read.
pub fn is_image_mounted(dir: &Path) -> Result<bool, VolumeError> {
    let Ok(real) = fs::canonicalize(dir) else { return Ok(false) };
    let below = mounts_below(&real).map_err(VolumeError::io("read the mount table for", dir))?;
    Ok(below.contains(&real))
}

/// Mounts `layers`, topmost first, unless something is mounted there already. Blocking.
///
/// # Errors
/// When the image has too many layers for one mount, or the kernel refuses.
pub fn mount_image(dir: &Path, image: &str, layers: &[PathBuf]) -> Result<(), VolumeError> {
    fs::create_dir_all(dir).map_err(VolumeError::io("create", dir))?;
    if is_image_mounted(dir)? {
        return Ok(());
    }
    let record = record_of(dir);
    fs::write(&record, image).map_err(VolumeError::io("write", record))?;
    let mut lower: Vec<String> = layers.iter().map(|layer| short(layer).display().to_string()).collect();
    // The kernel wants two layers; the empty mount point itself is the lowest.
    lower.push(dir.display().to_string());
    let options = format!("lowerdir={}", lower.join(":"));
    if options.len() > OPTIONS_MAX {
        return Err(VolumeError::Layers { image: image.to_owned(), count: layers.len() });
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("overlay"), dir, Some("overlay"), flags, Some(options.as_str()))
        .map_err(|error| VolumeError::io("mount an image on", dir)(error.into()))
}

/// IDs of the images that volumes of pods below `pods` use.
#[must_use]
pub fn images_in_volumes(pods: &Path) -> HashSet<String> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries(pods)
        .flat_map(|pod| entries(&pod.join("volumes").join(DIRECTORY)).collect::<Vec<_>>())
        .filter(|path| path.extension().is_some_and(|extension| extension == "image"))
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

fn record_of(dir: &Path) -> PathBuf {
    // a volume's name is a DNS label and has no dot, so this is nobody's mount point
    dir.with_extension("image")
}

/// The overlay2 driver keeps a short link to each layer for this very purpose: `ID/diff` is also `l/SHORT`.
fn short(layer: &Path) -> PathBuf {
    let link = || {
        let own = layer.parent()?;
        let name = fs::read_to_string(own.join("link")).ok()?;
        let link = own.parent()?.join("l").join(name.trim());
        link.exists().then_some(link)
    };
    link().unwrap_or_else(|| layer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::cleanup::remove_pod_dir;

    /// Needs the right to mount, as the kubelet has, and an overlay file system in the kernel.
    #[test]
    fn an_image_is_mounted_once_read_only_and_known_while_it_is() {
        let root = tempfile::tempdir().expect("a directory");
        let layer = |name: &str, file: &str, text: &str| {
            let diff = root.path().join("overlay2").join(name).join("diff");
            fs::create_dir_all(&diff).expect("a layer");
            fs::write(diff.join(file), text).expect("a file");
            diff
        };
        let (top, base) = (layer("top", "a", "new"), layer("base", "a", "old"));
        fs::create_dir_all(root.path().join("overlay2/l")).expect("a directory");
        fs::write(root.path().join("overlay2/top/link"), "SHORT").expect("a link name");
        std::os::unix::fs::symlink("../top/diff", root.path().join("overlay2/l/SHORT")).expect("a link");
        assert_eq!(short(&top), root.path().join("overlay2/l/SHORT"));
        let pods = root.path().join("pods");
        let dir = image_volume_dir(&pods.join("uid"), "v");
        mount_image(&dir, "sha256:1", &[top, base.clone()]).expect("mounted");
        mount_image(&dir, "sha256:1", std::slice::from_ref(&base)).expect("mounted once only");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("a file"), "new");
        assert!(fs::write(dir.join("b"), "").is_err(), "it can be written");
        assert_eq!(images_in_volumes(&pods), HashSet::from(["sha256:1".to_owned()]));
        let one = image_volume_dir(&pods.join("uid"), "one");
        mount_image(&one, "sha256:2", &[base]).expect("an image of one layer");
        assert_eq!(fs::read_to_string(one.join("a")).expect("a file"), "old");
        remove_pod_dir(&pods.join("uid")).expect("removed");
        assert!(images_in_volumes(&pods).is_empty());
    }
}
