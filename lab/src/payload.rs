//! What a host gets besides its Debian root: junioadm, junio-kubelet and the bundle, in their normal places.

use std::fs::File;
use std::path::{Path, PathBuf};

use junio_api::Layout;
use tar::Builder;

use crate::copy::{append_directory, append_file, open_sized};
use crate::{FirstProcess, LabError};

/// Files of the machine that are copied to each host. They are copies, so that a test may replace or damage one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub junioadm: PathBuf,
    pub kubelet: PathBuf,
    pub bundle: PathBuf,
}

impl Payload {
    /// Finds the files around the running program: its own file as junioadm, `junio-kubelet` beside it, and the bundle at
    /// `bundle`, else beside the program, else where an installed host has it.
    ///
    /// # Errors
    /// [`LabError::PayloadMissing`] names what is not there and where it was looked for.
    pub fn discover(bundle: Option<&Path>) -> Result<Self, LabError> {
        let program = std::env::current_exe().map_err(LabError::file("find", "/proc/self/exe"))?;
        Self::around(&program, bundle)
    }

    /// As [`Payload::discover`], for a `junioadm` that is not the running program.
    ///
    /// # Errors
    /// [`LabError::PayloadMissing`] names what is not there and where it was looked for.
    pub fn around(junioadm: &Path, bundle: Option<&Path>) -> Result<Self, LabError> {
        let layout = Layout::default();
        let beside = |name: &str| junioadm.with_file_name(name);
        let bundles = match bundle {
            Some(path) => vec![path.to_owned()],
            None => vec![beside("bundle.jbundle"), layout.bundle()],
        };
        Ok(Self {
            junioadm: first_file("junioadm", vec![junioadm.to_owned()])?,
            kubelet: first_file("junio-kubelet", vec![beside("junio-kubelet"), layout.kubelet_bin()])?,
            bundle: first_file("the bundle", bundles)?,
        })
    }

    /// Packs the payload, what becomes process 1 and the root user's authorized key into the archive `into`, to be unpacked at a host's root.
    pub(crate) fn pack(
        payload: Option<&Self>,
        first_process: FirstProcess,
        authorized_key: &str,
        into: &Path,
    ) -> Result<(), LabError> {
        let layout = Layout::default();
        let below_root = |path: PathBuf| path.strip_prefix("/").unwrap_or(&path).display().to_string();
        let file = File::create(into).map_err(LabError::file("create", into))?;
        let mut archive = Builder::new(file);
        let written = || LabError::file("write", into);
        let key = authorized_key.as_bytes();
        append_directory(&mut archive, "root/.ssh", 0o700).map_err(written())?;
        append_file(&mut archive, "root/.ssh/authorized_keys", 0o600, key, key.len() as u64).map_err(written())?;
        if first_process == FirstProcess::Script {
            // in the place of the link to systemd
            let script = include_bytes!("../node/plain-init").as_slice();
            append_file(&mut archive, "usr/sbin/init", 0o755, script, script.len() as u64).map_err(written())?;
        }
        if let Some(payload) = payload {
            append_directory(&mut archive, &below_root(layout.junioadm_dir()), 0o700).map_err(written())?;
            let files = [
                (&payload.junioadm, layout.junioadm_bin(), 0o755),
                (&payload.kubelet, layout.kubelet_bin(), 0o755),
                (&payload.bundle, layout.bundle(), 0o644),
            ];
            for (source, target, mode) in files {
                let (content, size) = open_sized(source)?;
                append_file(&mut archive, &below_root(target), mode, content, size).map_err(written())?;
            }
        }
        archive.finish().map_err(written())
    }
}

fn first_file(what: &'static str, candidates: Vec<PathBuf>) -> Result<PathBuf, LabError> {
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    let looked = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
    Err(LabError::PayloadMissing { what, looked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_beside_the_program_are_found_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let junioadm = directory.path().join("junioadm");
        for name in ["junioadm", "junio-kubelet"] {
            std::fs::write(directory.path().join(name), name).expect("a file");
        }
        let wrong = directory.path().join("wrong.jbundle");
        let error = Payload::around(&junioadm, Some(&wrong)).expect_err("there is no bundle");
        assert!(error.to_string().contains("the bundle was not found at"), "{error}");
        assert!(error.to_string().contains("wrong.jbundle"), "{error}");

        std::fs::write(directory.path().join("bundle.jbundle"), "b").expect("a file");
        let found = Payload::around(&junioadm, None).expect("all is there");
        assert_eq!(found.bundle, directory.path().join("bundle.jbundle"));
        assert_eq!(found.kubelet, directory.path().join("junio-kubelet"));
    }

    #[test]
    fn packed_files_land_in_their_normal_places() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = directory.path().join("junioadm");
        for name in ["junioadm", "junio-kubelet", "bundle.jbundle"] {
            std::fs::write(directory.path().join(name), name).expect("a file");
        }
        let payload = Payload::around(&source, None).expect("all is there");
        let packed = directory.path().join("payload.tar");
        Payload::pack(Some(&payload), FirstProcess::Script, "ssh-ed25519 AAAA lab\n", &packed).expect("packs");
        let mut archive = tar::Archive::new(File::open(&packed).expect("opens"));
        let entries: Vec<(String, u32)> = archive
            .entries()
            .expect("an archive")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let mode = entry.header().mode().expect("a mode");
                (entry.path().expect("a path").display().to_string(), mode)
            })
            .collect();
        for wanted in [
            ("root/.ssh/authorized_keys", 0o600),
            ("usr/sbin/init", 0o755),
            ("usr/local/bin/junioadm", 0o755),
            ("usr/local/bin/junio-kubelet", 0o755),
            ("var/lib/junioadm/bundle.jbundle", 0o644),
        ] {
            assert!(entries.contains(&(wanted.0.to_owned(), wanted.1)), "{wanted:?} is not in {entries:?}");
        }
    }
}
