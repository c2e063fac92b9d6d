//! Changing the host so that it can be undone: every change is recorded in the journal, then made.

use std::path::{Path, PathBuf};

use junio_host::sysctl::{self, SysctlChange};
use junio_host::{Host, HostError, firewall};
use sha2::{Digest, Sha256};

use crate::error::Cause;
use crate::journal::{Change, Journal, Previous};
use crate::phase_id::PhaseId;

/// What pods of a cluster make Docker or the kubelet create on a host that lacks it: kube-proxy and flannel mount both.
const MOUNTED_BY_PODS: [(&str, Kind); 2] = [("run/xtables.lock", Kind::File), ("lib/modules", Kind::Directory)];

#[derive(Clone, Copy)]
enum Kind {
    File,
    Directory,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Created,
    /// It was there with other content or mode.
    Changed,
    Unchanged,
}

/// Host and journal together; the only way in which phases change a host.
#[derive(Clone, Copy)]
pub(crate) struct Changes<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) journal: &'a Journal,
}

impl Changes<'_> {
    /// Makes `path` hold `content` with `mode`; does nothing when it does.
    pub(crate) async fn write(&self, phase: PhaseId, path: &Path, content: &[u8], mode: u32) -> Result<Written, Cause> {
        let previous = self.host.read(path).await?;
        let stat = self.host.stat(path).await?;
        if previous.as_deref() == Some(content) && stat.is_some_and(|stat| stat.mode == mode) {
            return Ok(Written::Unchanged);
        }
        self.intend_files(phase, std::slice::from_ref(&path.to_owned())).await?;
        self.host.write(path, content, mode).await?;
        Ok(if previous.is_some() { Written::Changed } else { Written::Created })
    }

    /// Records files that are about to be written, with what is there now.
    async fn intend_files(&self, phase: PhaseId, paths: &[PathBuf]) -> Result<(), Cause> {
        let mut changes = Vec::new();
        for path in paths {
            if self.journal.knows(|change| matches!(change, Change::File { path: known, .. } if known == path)) {
                continue;
            }
            changes.push(Change::File { path: path.clone(), previous: self.previous(path).await? });
        }
        self.journal.intend(phase.name(), &changes).map_err(Cause::other)
    }

    /// Records files that another crate makes where they are absent and leaves alone where they are not: what was there
    /// before us is its owner's and stays after `reset`.
    pub(crate) async fn intend_absent(&self, phase: PhaseId, paths: &[PathBuf]) -> Result<(), Cause> {
        let mut changes = Vec::new();
        for path in paths {
            if self.host.stat(path).await?.is_none() {
                changes.push(Change::File { path: path.clone(), previous: None });
            }
        }
        self.journal.intend(phase.name(), &changes).map_err(Cause::other)
    }

    /// Records files that another crate is about to replace by rename. Returns those that are somebody else's: they are
    /// kept, and `reset` puts them back.
    pub(crate) async fn intend_replaced(&self, phase: PhaseId, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Cause> {
        let mut foreign = Vec::new();
        for path in paths {
            let known =
                self.journal.knows(|change| matches!(change, Change::File { path: known, .. } if known == path));
            if !known && self.host.stat(path).await?.is_some() {
                foreign.push(path.clone());
            }
        }
        self.intend_files(phase, paths).await?;
        Ok(foreign)
    }

    /// Records what the cluster's pods will create on this host by mounting it, and the tables of its packet filter, so that
    /// `reset` can tell what was not there.
    pub(crate) async fn remember_traces(&self, phase: PhaseId) -> Result<(), Cause> {
        if self.journal.knows(|change| matches!(change, Change::PacketFilter { .. })) {
            return Ok(());
        }
        let mut changes = Vec::new();
        for (path, kind) in MOUNTED_BY_PODS {
            let path = self.host.layout().root().join(path);
            if self.host.stat(&path).await?.is_none() {
                changes.push(match kind {
                    Kind::File => Change::File { path, previous: None },
                    Kind::Directory => Change::Directory { path, existed: false },
                });
            }
        }
        if let Some(tables) = firewall::tables(self.host).await? {
            changes.push(Change::PacketFilter { tables });
        }
        self.journal.intend(phase.name(), &changes).map_err(Cause::other)
    }

    async fn previous(&self, path: &Path) -> Result<Option<Previous>, Cause> {
        let Some(stat) = self.host.stat(path).await? else { return Ok(None) };
        // A link that leads nowhere has no content.
        let content = self.host.read(path).await?.unwrap_or_default();
        let directory = self.host.layout().junioadm_dir().join("backup");
        self.host.create_dir(&directory, 0o700).await?;
        let place = hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..8]);
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let kept = directory.join(format!("{place}-{name}"));
        self.host.keep(path, &kept).await?;
        Ok(Some(Previous { sha256: sha256(&content), mode: stat.mode, backup: Some(kept) }))
    }

    /// Makes directories; those that existed are remembered as not ours.
    pub(crate) async fn directories(&self, phase: PhaseId, wanted: &[(PathBuf, u32)]) -> Result<(), Cause> {
        let mut changes = Vec::new();
        for (path, _) in wanted {
            // Parents that are missing too become ours, outermost first.
            let mut missing = Vec::new();
            let mut current = path.as_path();
            while self.host.stat(current).await?.is_none() {
                missing.push(current.to_owned());
                let Some(parent) = current.parent() else { break };
                current = parent;
            }
            if missing.is_empty() {
                changes.push(Change::Directory { path: path.clone(), existed: true });
            }
            changes.extend(missing.into_iter().rev().map(|path| Change::Directory { path, existed: false }));
        }
        self.journal.intend(phase.name(), &changes).map_err(Cause::other)?;
        for (path, mode) in wanted {
            // The mode of a directory that was there is its owner's business.
            if self.host.stat(path).await?.is_none() {
                self.host.create_dir(path, *mode).await?;
            }
        }
        Ok(())
    }

    /// Sets a kernel setting; what a host refuses is returned, not an error.
    pub(crate) fn sysctl(&self, phase: PhaseId, name: &str, value: &str) -> Result<SysctlChange, Cause> {
        match sysctl::read(name)? {
            Some(previous) if previous != value => {
                let change = Change::Sysctl { name: name.to_owned(), value: value.to_owned(), previous };
                self.journal.intend(phase.name(), &[change]).map_err(Cause::other)?;
                Ok(sysctl::write(name, value)?)
            }
            Some(_) => Ok(SysctlChange::Unchanged),
            None => Ok(SysctlChange::Refused { reason: "this kernel does not have it".to_owned() }),
        }
    }

    /// Records kernel settings that the cluster's own programs will change, so that `reset` can put them back.
    pub(crate) fn remember_sysctls(&self, phase: PhaseId, names: &[&str]) -> Result<(), Cause> {
        let mut changes = Vec::new();
        for name in names {
            if let Some(previous) = sysctl::read(name)? {
                changes.push(Change::Sysctl { name: (*name).to_owned(), value: "the cluster's".to_owned(), previous });
            }
        }
        self.journal.intend(phase.name(), &changes).map_err(Cause::other)
    }

    pub(crate) fn intend(&self, phase: PhaseId, change: Change) -> Result<(), Cause> {
        self.journal.intend(phase.name(), &[change]).map_err(Cause::other)
    }
}

/// As hexadecimal digits.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

impl From<HostError> for Cause {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Locked { path, owner } => Self::Locked { path, owner },
            other => Self::other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Made, read};
    use junio_api::Layout;
    use junio_host::Local;

    #[tokio::test]
    async fn a_replaced_file_is_kept_and_an_equal_one_is_left_alone() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let host = Local::new(layout.clone());
        let journal = Journal::open(&layout.journal()).expect("absent is fine");
        let changes = Changes { host: &host, journal: &journal };
        let path = root.path().join("etc/x.conf");
        changes.directories(PhaseId::KubeletStart, &[(root.path().join("etc"), 0o755)]).await.expect("made");
        std::fs::write(&path, "before").expect("writable");
        let write = |content: &'static [u8]| changes.write(PhaseId::KubeletStart, &path, content, 0o600);
        assert_eq!(write(b"ours").await.expect("written"), Written::Changed);
        assert_eq!(write(b"ours").await.expect("written"), Written::Unchanged);
        assert_eq!(write(b"ours, again").await.expect("written"), Written::Changed);
        let made = Made::from_entries(&read(&layout.journal()).expect("readable"));
        let previous = made.files[&path].clone().expect("it existed");
        assert_eq!(std::fs::read(previous.backup.expect("kept")).expect("readable"), b"before");
        assert!(!made.directories[&root.path().join("etc")]);
    }
}
