//! The record of every change to the host, written before the change and synced, so that `reset` can prove what is ours.
//!
//! One JSON object a line below `/var/lib/junioadm`. A line is an intent: the change after it may or may not have happened,
//! and undoing one that did not happen does nothing. A line torn by a crash is the last one and its change never began.
//! The journal holds paths and hashes, never contents or secrets.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use junio_api::Code;
use junio_api::hint::{Hint, NextStep};
use serde::{Deserialize, Serialize};

/// Something on the host that a phase is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A file is written. `previous` is what was there before the first write of ours.
    File { path: PathBuf, previous: Option<Previous> },
    /// A directory is made or filled. `existed`: it is not ours to remove when empty.
    Directory { path: PathBuf, existed: bool },
    /// A kernel setting.
    Sysctl { name: String, value: String, previous: String },
    /// The tables of nftables before the cluster's programs make some (`FAMILY NAME`).
    PacketFilter { tables: Vec<String> },
    /// A service is installed and started.
    Service { name: String },
    /// Image references are given to Docker that it did not have.
    Images { references: Vec<String> },
    /// A bootstrap token is made; only its public half is kept.
    Token { id: String },
    /// From here on our kubelet makes containers, mounts, control groups, logs, links and packet filter rules.
    Kubelet { node: String },
}

/// A file before we wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub sha256: String,
    pub mode: u32,
    /// It has this second name until `reset` puts it back.
    pub backup: Option<PathBuf>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    /// The phase's name.
    pub phase: String,
    #[serde(flatten)]
    pub change: Change,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the journal {}", .path.display())]
pub struct JournalError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl Hint for JournalError {
    fn code(&self) -> Code {
        Code("JOURNAL")
    }

    fn next_step(&self) -> Option<NextStep> {
        Some(NextStep::command("df -h /var/lib").because("nothing is changed on a host that cannot be recorded first"))
    }
}

/// An open journal; lines are appended from several tasks.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Opened at the first change, so that looking leaves no trace.
    file: Option<File>,
    known: Vec<Change>,
}

impl Journal {
    /// Reads what earlier runs recorded. Nothing is created yet.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let known = read(path)?.into_iter().map(|entry| entry.change).collect();
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { file: None, known }) })
    }

    /// True when no run recorded anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().known.is_empty()
    }

    /// True when this change was recorded before, by this or an earlier run.
    #[must_use]
    pub fn knows(&self, matches: impl Fn(&Change) -> bool) -> bool {
        self.lock().known.iter().any(matches)
    }

    /// Ids of bootstrap tokens that runs on this host made.
    #[must_use]
    pub fn token_ids(&self) -> Vec<String> {
        let known = &self.lock().known;
        known
            .iter()
            .filter_map(|change| if let Change::Token { id } = change { Some(id.clone()) } else { None })
            .collect()
    }

    /// Records changes that are about to happen, durably, in one write. Those that are known already are left out.
    pub fn intend(&self, phase: &str, changes: &[Change]) -> Result<(), JournalError> {
        let mut state = self.lock();
        let new: Vec<&Change> =
            changes.iter().filter(|change| !state.known.iter().any(|known| same_target(known, change))).collect();
        if new.is_empty() {
            return Ok(());
        }
        let at = jiff::Timestamp::now().to_string();
        let mut text = String::new();
        for change in &new {
            let entry = Entry { at: at.clone(), phase: phase.to_owned(), change: (*change).clone() };
            let line = serde_json::to_string(&entry).map_err(|e| self.failed("write")(e.into()))?;
            text.push_str(&line);
            text.push('\n');
        }
        if state.file.is_none() {
            state.file = Some(self.create().map_err(self.failed("create"))?);
        }
        let Some(file) = state.file.as_mut() else { return Err(self.failed("open")(io::ErrorKind::NotFound.into())) };
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(self.failed("write"))?;
        let new: Vec<Change> = new.into_iter().cloned().collect();
        state.known.extend(new);
        Ok(())
    }

    fn create(&self) -> io::Result<File> {
        let parent = self.path.parent().unwrap_or_else(|| Path::new("/"));
        std::fs::create_dir_all(parent)?;
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        if !ends_with_newline(&self.path)? {
            // A crash tore the last line: end it, so that the next one is whole.
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        File::open(parent)?.sync_all()?;
        Ok(file)
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> JournalError {
        let path = self.path.clone();
        move |source| JournalError { operation, path: path.clone(), source }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    Ok(std::fs::read(path)?.last().is_none_or(|byte| *byte == b'\n'))
}

/// The first record about a target holds what was there before us; later ones add nothing.
fn same_target(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::File { path: a, .. }, Change::File { path: b, .. })
        | (Change::Directory { path: a, .. }, Change::Directory { path: b, .. }) => a == b,
        (Change::Sysctl { name: a, .. }, Change::Sysctl { name: b, .. })
        | (Change::Service { name: a }, Change::Service { name: b }) => a == b,
        (Change::Images { references: a }, Change::Images { references: b }) => {
            b.iter().all(|reference| a.contains(reference))
        }
        (Change::Token { id: a }, Change::Token { id: b }) => a == b,
        (Change::Kubelet { .. }, Change::Kubelet { .. })
        | (Change::PacketFilter { .. }, Change::PacketFilter { .. }) => true,
        _ => false,
    }
}

/// All whole lines of a journal; empty when there is none.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(JournalError { operation: "read", path: path.to_owned(), source }),
    }
}

/// What `reset` needs to know, the first record of each target counting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    pub files: BTreeMap<PathBuf, Option<Previous>>,
    pub directories: BTreeMap<PathBuf, bool>,
    /// Name to previous value.
    pub sysctls: BTreeMap<String, String>,
    /// Tables of the packet filter that were there before; `None` when nobody looked.
    pub tables: Option<Vec<String>>,
    pub services: Vec<String>,
    pub images: Vec<String>,
    pub kubelet: bool,
}

impl Made {
    /// True when a run of ours recorded anything.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        *self != Self::default()
    }

    #[must_use]
    pub fn from_entries(entries: &[Entry]) -> Self {
        let mut made = Self::default();
        for entry in entries {
            match entry.change.clone() {
                Change::File { path, previous } => {
                    made.files.entry(path).or_insert(previous);
                }
                Change::Directory { path, existed } => {
                    made.directories.entry(path).or_insert(existed);
                }
                Change::Sysctl { name, previous, .. } => {
                    made.sysctls.entry(name).or_insert(previous);
                }
                Change::PacketFilter { tables } => {
                    made.tables.get_or_insert(tables);
                }
                Change::Service { name } if !made.services.contains(&name) => made.services.push(name),
                Change::Service { .. } => {}
                Change::Images { references } => {
                    made.images.extend(references);
                    made.images.sort();
                    made.images.dedup();
                }
                Change::Kubelet { .. } => made.kubelet = true,
                // Tokens live in the cluster and go with it.
                Change::Token { .. } => {}
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, previous: Option<&str>) -> Change {
        let previous = previous.map(|hash| Previous { sha256: hash.to_owned(), mode: 0o644, backup: None });
        Change::File { path: path.into(), previous }
    }

    #[test]
    fn looking_leaves_no_trace_and_records_survive_a_reopening() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("var/journal.ndjson");
        let journal = Journal::open(&path).expect("absent is fine");
        assert!(journal.is_empty() && !path.exists());
        journal.intend("certs/ca", &[file("/etc/a", None)]).expect("recorded");
        let again = Journal::open(&path).expect("readable");
        assert!(again.knows(|change| matches!(change, Change::File { path, .. } if path == Path::new("/etc/a"))));
    }

    #[test]
    fn the_first_record_of_a_target_is_what_counts() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("journal.ndjson");
        let journal = Journal::open(&path).expect("absent is fine");
        journal.intend("certs", &[file("/etc/a", Some("before"))]).expect("recorded");
        journal.intend("certs", &[file("/etc/a", Some("ours")), file("/etc/b", None)]).expect("recorded");
        let made = Made::from_entries(&read(&path).expect("readable"));
        assert_eq!(made.files.len(), 2);
        let previous = made.files[Path::new("/etc/a")].as_ref().expect("it existed");
        assert_eq!(previous.sha256, "before");
    }

    #[test]
    fn a_torn_last_line_is_ignored_and_ended() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("journal.ndjson");
        Journal::open(&path).expect("absent is fine").intend("x", &[file("/etc/a", None)]).expect("recorded");
        let mut text = std::fs::read_to_string(&path).expect("readable");
        text.push_str("{\"at\":\"2026");
        std::fs::write(&path, &text).expect("writable");
        Journal::open(&path).expect("readable").intend("x", &[file("/etc/b", None)]).expect("recorded");
        let made = Made::from_entries(&read(&path).expect("readable"));
        assert_eq!(made.files.len(), 2, "{made:?}");
    }

    #[test]
    fn images_of_several_runs_add_up() {
        let entry = |references: &[&str]| Entry {
            at: String::new(),
            phase: "images".to_owned(),
            change: Change::Images { references: references.iter().map(ToString::to_string).collect() },
        };
        let made = Made::from_entries(&[entry(&["b:1"]), entry(&["a:1", "b:1"])]);
        assert_eq!(made.images, ["a:1", "b:1"]);
    }
}
