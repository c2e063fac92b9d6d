//! The directory of patches (`InitConfiguration.patches.directory`, `--patches`): read once, before the first change.

use std::io;
use std::path::{Path, PathBuf};

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};
use junio_templates::patch::{FileName, PatchError, PatchFile, Patches};

/// Patches that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatchesError {
    #[error("cannot read the patches in {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Patch(#[from] PatchError),
}

impl Hint for PatchesError {
    fn code(&self) -> Code {
        match self {
            Self::Directory { .. } => Code("PATCH-DIRECTORY"),
            Self::Patch(error) => error.code(),
        }
    }

    fn next_step(&self) -> Option<NextStep> {
        match self {
            Self::Directory { path, .. } => Some(NextStep::command(format!("ls -l {}", path.display()))),
            Self::Patch(error) => error.next_step(),
        }
    }
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) patches: Patches,
    /// File names, in the order in which they are applied.
    pub(crate) files: Vec<String>,
    /// Files that are no patches, each with the reason.
    pub(crate) ignored: Vec<(String, String)>,
}

/// Reads all patch files below `directory`, in the order of their paths as kubeadm does.
pub(crate) fn read(directory: &Path) -> Result<Found, PatchesError> {
    let mut paths = Vec::new();
    walk(directory, &mut paths).map_err(|source| PatchesError::Directory { path: directory.to_owned(), source })?;
    let (mut found, mut patches) = (Found::default(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (target, kind) = match FileName::parse(&name)? {
            FileName::Patch(target, kind) => (target, kind),
            FileName::Ignored(reason) => {
                found.ignored.push((name, reason));
                continue;
            }
        };
        let text =
            std::fs::read_to_string(&path).map_err(|source| PatchesError::Directory { path: path.clone(), source })?;
        if text.is_empty() {
            found.ignored.push((name, "it is empty".to_owned()));
            continue;
        }
        patches.push(PatchFile::parse(&path.display().to_string(), target, kind, &text)?);
        found.files.push(name);
    }
    found.patches = Patches::new(patches);
    Ok(found)
}

/// Files in the order of their names, directories entered where they stand.
fn walk(directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use junio_templates::patch::Target;
    use serde_json::json;

    #[test]
    fn files_are_applied_in_the_order_of_their_names() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("writable");
        write("kubeletconfiguration2+merge.yaml", "maxPods: 3\n");
        write("kubeletconfiguration1.yaml", "maxPods: 2\npodsPerCore: 7\n");
        write("README.md", "why");
        write("etcd.yaml", "");
        std::fs::create_dir(directory.path().join("kubeletconfiguration3")).expect("writable");
        write("kubeletconfiguration3/kubeletconfiguration.json", "{\"podsPerCore\": 9}");
        let found = read(directory.path()).expect("readable");
        assert_eq!(found.ignored.len(), 2, "{found:?}");
        let config =
            json!({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "maxPods": 1});
        let patched = found.patches.apply(Target::Kubelet, config).expect("applies");
        assert_eq!((&patched["maxPods"], &patched["podsPerCore"]), (&json!(3), &json!(9)));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = read(&directory.path().join("none")).expect_err("not there");
        assert_eq!(missing.code(), Code("PATCH-DIRECTORY"));
        std::fs::write(directory.path().join("etcd+banana.yaml"), "a: b").expect("writable");
        assert_eq!(read(directory.path()).expect_err("no such type").code(), Code("PATCH-FILE"));
    }
}
