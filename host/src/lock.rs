//! One run at a time: a file lock that names its owner and ends with the owner's process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::HostError;
use crate::files;

/// Held while it lives. The kernel releases it when the process dies, so a crash leaves nothing to clean.
#[derive(Debug)]
pub struct RunLock {
    _file: Flock<File>,
}

impl RunLock {
    /// Takes the lock for `purpose` (for example `init`), or says who has it.
    pub fn acquire(path: &Path, purpose: &str) -> Result<Self, HostError> {
        if let Some(parent) = path.parent() {
            files::create_dir(parent, 0o700)?;
        }
        let fail = |source| HostError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0).map_err(fail)?;
                file.seek(SeekFrom::Start(0)).map_err(fail)?;
                write!(file, "junioadm {purpose}, process {}", std::process::id()).map_err(fail)?;
                Ok(Self { _file: file })
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
        RunLock::acquire(&path, "reset").expect("free again");
    }
}
