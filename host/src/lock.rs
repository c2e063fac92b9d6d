//! One run at a time: a file lock that names its owner and ends with the owner's process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::HostError;
use crate::files;

/// Held while it lives. The kernel releases it when the process dies, so a crash leaves nothing to clean.
#[derive(Debug)]
pub struct RunLock {
    _file: Flock<File>,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock for `purpose` (for example `init`), or says who has it.
    pub fn acquire(path: &Path, purpose: &str) -> Result<Self, HostError> {
        loop {
            if let Some(lock) = Self::try_acquire(path, purpose)? {
                return Ok(lock);
            }
        }
    }

    /// `None` when an earlier owner removed the file or its directory meanwhile: then somebody else can make a new one.
    fn try_acquire(path: &Path, purpose: &str) -> Result<Option<Self>, HostError> {
        if let Some(parent) = path.parent() {
            files::create_dir(parent, 0o700)?;
        }
        let fail = |source| HostError::Write { path: path.to_owned(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let ours = file.metadata().map_err(fail)?;
                if !std::fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino())) {
                    return Ok(None);
                }
                file.set_len(0).map_err(fail)?;
                file.seek(SeekFrom::Start(0)).map_err(fail)?;
                write!(file, "junioadm {purpose}, process {}", std::process::id()).map_err(fail)?;
                Ok(Some(Self { _file: file, path: path.to_owned() }))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                Err(HostError::Locked {
                    path: path.to_owned(),
                    owner: if owner.is_empty() { "an unnamed process".to_owned() } else { owner },
                })
            }
            Err((_, errno)) => Err(fail(errno.into())),
        }
    }
}

/// Leaves no trace. The file goes while the lock is still held, so that whoever opened it meanwhile sees that it is gone.
impl Drop for RunLock {
    fn drop(&mut self) {
        // What cannot be removed is found and locked again by the next run; something else in the directory keeps it.
        let _ = files::remove_file(&self.path);
        if let Some(parent) = self.path.parent() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("var/lock");
        let first = RunLock::acquire(&path, "init").expect("free");
        let error = RunLock::acquire(&path, "reset").expect_err("taken");
        assert!(error.to_string().contains(&format!("junioadm init, process {}", std::process::id())), "{error}");
        drop(first);
        assert!(!directory.path().join("var").exists(), "the lock left a trace");
        RunLock::acquire(&path, "reset").expect("free again");
    }
}
