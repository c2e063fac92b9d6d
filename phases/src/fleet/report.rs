//! What became of each host.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::error::HostFailure;

/// How a host ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostResult {
    /// It became the control plane.
    Initialized,
    /// It became a node.
    Joined,
    /// It was what it should be; nothing had to be done.
    Already,
    /// It is clean of what junioadm made.
    Reset,
    /// Its node is drained and gone, the host reset.
    Removed,
    /// Its node is drained and gone; the host could not be reached and is as it was.
    Forgotten,
    /// A dry run: what would be done is in `planned`.
    Planned,
    Failed,
}

impl HostResult {
    /// One word for a table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::Joined => "joined",
            Self::Already => "already",
            Self::Reset => "reset",
            Self::Removed => "removed",
            Self::Forgotten => "forgotten",
            Self::Planned => "planned",
            Self::Failed => "failed",
        }
    }
}

/// One host's row.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// As the user names it.
    pub host: String,
    pub node_name: Option<String>,
    pub result: HostResult,
    #[serde(rename = "elapsedMs", serialize_with = "millis")]
    pub elapsed: Duration,
    /// Files and documents that went to the host; what SSH adds is not counted.
    pub bytes_sent: u64,
    pub error: Option<HostFailure>,
    /// What a dry run found to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<String>,
    /// What was done, and what was left, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    pub timeline: Vec<Step>,
}

impl HostReport {
    /// A row for what concerns no host of the file.
    pub(crate) fn failed(host: &str, failure: HostFailure) -> Self {
        Self {
            host: host.to_owned(),
            node_name: None,
            result: HostResult::Failed,
            elapsed: Duration::ZERO,
            bytes_sent: 0,
            error: Some(failure),
            planned: Vec::new(),
            notes: Vec::new(),
            timeline: Vec::new(),
        }
    }
}

/// A step of one host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub step: &'static str,
    /// From the start of the whole run.
    #[serde(rename = "startedMs", serialize_with = "millis")]
    pub started: Duration,
    #[serde(rename = "elapsedMs", serialize_with = "millis")]
    pub elapsed: Duration,
}

/// All hosts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    pub hosts: Vec<HostReport>,
    /// Where the administrator's kubeconfig lies.
    pub kubeconfig: Option<PathBuf>,
    /// Nodes of the cluster that no host of the file stands for; they were left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_file: Vec<String>,
    #[serde(rename = "elapsedMs", serialize_with = "millis")]
    pub elapsed: Duration,
}

impl FleetReport {
    pub fn failed(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|host| host.result == HostResult::Failed)
    }

    /// Nothing had to be done anywhere.
    #[must_use]
    pub fn all_already(&self) -> bool {
        self.hosts.iter().all(|host| host.result == HostResult::Already)
    }

    /// The user interrupted before the end.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.failed().any(|host| host.error.as_ref().is_some_and(HostFailure::is_interruption))
    }
}

/// Keeps a host's times while it is at work.
#[derive(Debug)]
pub(crate) struct Course {
    run_started: Instant,
    started: Instant,
    steps: Vec<Step>,
}

impl Course {
    pub(crate) fn new(run_started: Instant) -> Self {
        Self { run_started, started: Instant::now(), steps: Vec::new() }
    }

    /// Times a piece of work, whatever becomes of it.
    pub(crate) async fn step<T>(&mut self, step: &'static str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let output = work.await;
        self.steps.push(Step { step, started: begun.duration_since(self.run_started), elapsed: begun.elapsed() });
        output
    }

    pub(crate) fn finish(self) -> (Duration, Vec<Step>) {
        (self.started.elapsed(), self.steps)
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
