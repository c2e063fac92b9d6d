//! Where a lab keeps keys and files on the machine, where images are cached, and the lock that keeps two calls apart.
//!
//! State: `${XDG_STATE_HOME:-$HOME/.local/state}/junioadm/lab/NAME`. Cache: `${XDG_CACHE_HOME:-$HOME/.cache}/junioadm/lab`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::{LabError, LabName};

/// What `up` decided and `down` needs, even if the labels of a half-made lab are not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabRecord {
    /// N of `10.77.N.0/24`.
    pub subnet: u8,
    pub suite: String,
    pub hosts: usize,
    /// Set once every host has answered.
    pub complete: bool,
}

/// The state directory of one lab.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    pub fn of(name: &LabName) -> Result<Self, LabError> {
        Ok(Self(labs_dir()?.join(name.as_str())))
    }

    /// Names of all labs that have a state directory.
    pub fn names() -> Result<Vec<LabName>, LabError> {
        let directory = labs_dir()?;
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LabError::file("list", directory)(error)),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    pub fn create(&self) -> Result<(), LabError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(LabError::file("create", &self.0))
    }

    pub fn exists(&self) -> bool {
        self.0.is_dir()
    }

    pub fn remove(&self) -> Result<(), LabError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LabError::file("remove", &self.0)(error)),
            _ => Ok(()),
        }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub fn record(&self) -> Result<Option<LabRecord>, LabError> {
        let path = self.path("lab.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| LabError::State { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::file("read", path)(error)),
        }
    }

    pub fn write_record(&self, record: &LabRecord) -> Result<(), LabError> {
        let path = self.path("lab.json");
        let bytes = serde_json::to_vec(record).map_err(|source| LabError::State { path: path.clone(), source })?;
        self.write("lab.json", &bytes)
    }

    /// Writes a file of mode 0600, whole or not at all.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), LabError> {
        let path = self.path(file);
        let fresh = self.path(&format!(".{file}.new"));
        let mut handle = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(LabError::file("create", &fresh))?;
        handle.write_all(bytes).map_err(LabError::file("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(LabError::file("rename", &fresh))
    }
}

fn labs_dir() -> Result<PathBuf, LabError> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("junioadm/lab"))
}

/// The cache of host images and their build logs.
pub(crate) fn cache_dir() -> Result<PathBuf, LabError> {
    let directory = base("XDG_CACHE_HOME", ".cache")?.join("junioadm/lab");
    fs::create_dir_all(&directory).map_err(LabError::file("create", &directory))?;
    Ok(directory)
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf, LabError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(variable).or_else(|| set("HOME").map(|home| home.join(below_home))).ok_or(LabError::NoHome)
}

/// Holds `file` below the cache directory locked until dropped; waits while another process has it.
pub(crate) async fn lock(file: &str) -> Result<Flock<File>, LabError> {
    let path = cache_dir()?.join(file);
    tokio::task::spawn_blocking(move || lock_blocking(&path))
        .await
        .map_err(|error| LabError::file("lock", file)(io::Error::other(error)))?
}

fn lock_blocking(path: &Path) -> Result<Flock<File>, LabError> {
    let handle =
        OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(LabError::file("open", path))?;
    Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, errno)| LabError::file("lock", path)(errno.into()))
}
