//! Asks containers whether they started, live and are ready. One task per container and kind of probe; the results are
//! read by the status and by the pod's worker.

mod check;
mod counts;
mod grpc;
mod http;
mod manager;
mod results;
mod target;
#[cfg(test)]
pub(crate) mod tests_support;
mod threshold;
mod tls;
mod worker;

pub use check::{Outcome, USER_AGENT, check_once};
pub use counts::{BUCKETS, ProbeCount};
pub use http::{HttpError, HttpReply, HttpRequest, http_get};
pub use manager::{ProbeEvents, ProbeManager, ProbeUpdate};
pub use results::{ProbeKind, ProbeResults, Verdict};
pub use target::{TargetError, http_request, resolve_port};
