//! The files of `/var/lib/kubelet/pki`: a dated file per certificate, and a link to the one in force.
//!
//! Source: `k8s.io/client-go/util/certificate` file store; certificate and key stand in one file.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::tz::TimeZone;
use junio_api::Secret;
use junio_pki::parsed::ParsedCertificate;
use junio_pki::store;

use super::client::CertsError;

/// The certificates of one kind of one kubelet.
#[derive(Debug, Clone)]
pub struct CertificateStore {
    directory: PathBuf,
    /// How the files' names begin.
    name: &'static str,
}

impl CertificateStore {
    /// What the kubelet shows to the API server: `kubelet-client-*.pem`.
    #[must_use]
    pub fn client(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), name: "kubelet-client" }
    }

    /// What the kubelet shows to who calls it, if the cluster signs that: `kubelet-server-*.pem`.
    #[must_use]
    pub fn serving(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), name: "kubelet-server" }
    }

    /// `kubelet-client-current.pem`, a link.
    #[must_use]
    pub fn current_path(&self) -> PathBuf {
        self.directory.join(format!("{}-current.pem", self.name))
    }

    /// The text of the file in force, certificate and key; `None` when there is none yet.
    pub fn current_pem(&self) -> Result<Option<Secret<String>>, CertsError> {
        Ok(store::read(&self.current_path())?.map(Secret::new))
    }

    /// The certificate in force; `None` when there is none yet.
    pub fn current(&self) -> Result<Option<ParsedCertificate>, CertsError> {
        let path = self.current_path();
        let Some(text) = store::read(&path)? else { return Ok(None) };
        Ok(Some(ParsedCertificate::from_pem(&text, &path.display().to_string())?))
    }

    /// When the certificate in force was put there.
    pub fn installed_at(&self) -> Result<SystemTime, CertsError> {
        let path = self.current_path();
        let modified = std::fs::metadata(&path).and_then(|file| file.modified());
        modified.map_err(|source| CertsError::Io { operation: "look at", path, source })
    }

    /// Keeps a certificate with its key and makes it the one in force; the link changes at once or not at all.
    pub fn install(&self, certificate: &str, key: &Secret<String>) -> Result<PathBuf, CertsError> {
        store::ensure_directory(&self.directory, store::MODE_DIRECTORY)?;
        let path = self.free_name();
        let text = Secret::new(format!("{}\n{}", certificate.trim_end(), key.expose()));
        store::write(&path, text.expose().as_bytes(), store::MODE_SECRET)?;
        self.link(&path)?;
        Ok(path)
    }

    fn link(&self, target: &Path) -> Result<(), CertsError> {
        let link = self.current_path();
        let fresh = self.directory.join(format!(".{}-current.pem.new", self.name));
        let io = |operation: &'static str| {
            let path = link.clone();
            move |source| CertsError::Io { operation, path, source }
        };
        match std::fs::remove_file(&fresh) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(io("replace")(source)),
            _ => {}
        }
        symlink(target, &fresh).map_err(io("link"))?;
        std::fs::rename(&fresh, &link).map_err(io("replace"))?;
        store::sync_directory(&self.directory)?;
        Ok(())
    }

    /// `kubelet-client-2026-11-21-13-30-00.pem`; a second one in the same second gets the next second's name.
    fn free_name(&self) -> PathBuf {
        let mut time = SystemTime::now();
        loop {
            let stamp = jiff::Timestamp::try_from(time).map_or_else(
                |_| "0".to_owned(),
                |timestamp| timestamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d-%H-%M-%S").to_string(),
            );
            let path = self.directory.join(format!("{}-{stamp}.pem", self.name));
            if !path.exists() {
                return path;
            }
            time += std::time::Duration::from_secs(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_follows_the_newest() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CertificateStore::client(directory.path());
        assert!(files.current().expect("readable").is_none());
        let mut names = Vec::new();
        for name in ["a", "b"] {
            let pair = junio_pki::csr::self_signed_serving(&[name.to_owned()], &[]).expect("a pair");
            names.push(files.install(&pair.pem, &pair.key).expect("installs"));
            let current = files.current().expect("readable").expect("present");
            assert!(current.common_name.starts_with(name));
            assert_eq!(std::fs::read_link(files.current_path()).expect("a link"), *names.last().expect("one"));
        }
        assert_ne!(names[0], names[1]);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&names[0]).expect("metadata").permissions().mode() & 0o777, 0o600);
    }
}
