//! What probes have found, by container instance.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::runtime::ContainerId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// As in messages: `Readiness probe failed: ...`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// What counts before the first probe of an instance.
    pub(super) fn initial(self) -> Verdict {
        match self {
            Self::Startup => Verdict::Unknown,
            Self::Liveness => Verdict::Success,
            Self::Readiness => Verdict::Failure,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    #[default]
    Unknown,
    Success,
    Failure,
}

/// What the status and the restart rules want to know of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeResults {
    /// No startup probe, or it has succeeded.
    pub started: bool,
    /// Started, and no readiness probe or it succeeds.
    pub ready: bool,
    /// Kill it.
    pub liveness_failed: bool,
    /// Kill it.
    pub startup_failed: bool,
}

/// Identifies a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub uid: String,
    pub container: String,
    pub kind: ProbeKind,
}

/// Each worker owns a sender; everybody reads here.
#[derive(Default)]
pub(super) struct ResultStore(Mutex<HashMap<Key, watch::Receiver<Found>>>);

/// The verdict on one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub id: Option<ContainerId>,
    pub verdict: Verdict,
}

impl ResultStore {
    pub fn insert(&self, key: Key, found: watch::Receiver<Found>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found);
    }

    pub fn receiver(&self, key: &Key) -> Option<watch::Receiver<Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub fn remove(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub fn remove_pod(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| key.uid != uid);
    }

    /// The verdict on exactly this instance, the initial one if it has none yet; `None` if nothing probes it.
    pub fn verdict(&self, uid: &str, container: &str, kind: ProbeKind, id: &ContainerId) -> Option<Verdict> {
        let key = Key { uid: uid.to_owned(), container: container.to_owned(), kind };
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = store.get(&key)?.borrow().clone();
        Some(if found.id.as_ref() == Some(id) { found.verdict } else { kind.initial() })
    }

    pub fn results(&self, uid: &str, container: &str, id: &ContainerId) -> ProbeResults {
        let verdict = |kind| self.verdict(uid, container, kind, id);
        let startup = verdict(ProbeKind::Startup);
        let started = matches!(startup, None | Some(Verdict::Success));
        ProbeResults {
            started,
            ready: started && matches!(verdict(ProbeKind::Readiness), None | Some(Verdict::Success)),
            liveness_failed: verdict(ProbeKind::Liveness) == Some(Verdict::Failure),
            startup_failed: startup == Some(Verdict::Failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_only_the_instance_that_was_probed() {
        let store = ResultStore::default();
        let (one, two) = (ContainerId("1".into()), ContainerId("2".into()));
        assert_eq!(
            store.results("u", "c", &one),
            ProbeResults { started: true, ready: true, liveness_failed: false, startup_failed: false }
        );
        let mut senders = Vec::new();
        for (kind, verdict) in [(ProbeKind::Liveness, Verdict::Failure), (ProbeKind::Readiness, Verdict::Success)] {
            let (sender, receiver) = watch::channel(Found { id: Some(one.clone()), verdict });
            store.insert(Key { uid: "u".into(), container: "c".into(), kind }, receiver);
            senders.push(sender);
        }
        assert_eq!(
            store.results("u", "c", &one),
            ProbeResults { started: true, ready: true, liveness_failed: true, startup_failed: false }
        );
        assert_eq!(
            store.results("u", "c", &two),
            ProbeResults { started: true, ready: false, liveness_failed: false, startup_failed: false }
        );
        let (_sender, receiver) = watch::channel(Found::default());
        store.insert(Key { uid: "u".into(), container: "c".into(), kind: ProbeKind::Startup }, receiver);
        let results = store.results("u", "c", &one);
        assert!(!results.started && !results.ready && !results.startup_failed);
    }
}
