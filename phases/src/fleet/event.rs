//! What happens on many hosts at once, told to whoever shows it. Every event names its host; none carries a secret.

use serde::Serialize;
use serde_json::Value;

/// One thing that happened on one host. Serialized as an object with `type` in kebab-case.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum FleetEvent {
    /// A step of ours begins.
    Step { host: String, text: String },
    /// Something that does not stop the host.
    Warning { host: String, text: String },
    /// Bytes on their way; ends with `done == total`.
    Sending { host: String, what: String, done: u64, total: u64 },
    /// An event of `junioadm` on the host, as it came: see [`crate::Event`].
    Remote { host: String, event: Value },
    /// The host is through; `failed` has its reason in the report.
    Finished { host: String, result: super::HostResult },
}

impl FleetEvent {
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Step { host, .. }
            | Self::Warning { host, .. }
            | Self::Sending { host, .. }
            | Self::Remote { host, .. }
            | Self::Finished { host, .. } => host,
        }
    }
}

/// Receives events of several hosts, interleaved.
pub trait FleetReporter: Send + Sync {
    fn event(&self, event: &FleetEvent);
}
