//! Where pods come from: files on this node and the API server. Each source tells its full set or a change; the sync loop
//! merges them.

pub mod apiserver;
pub mod file;
pub mod static_pod;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

/// News from a source.
#[derive(Debug, Clone)]
pub enum SourceUpdate {
    /// All static pods there are now.
    Static(Vec<Arc<Pod>>),
    /// All pods that the API server has bound to this node.
    ApiAll(Vec<Arc<Pod>>),
    /// A pod was added or changed.
    ApiApplied(Arc<Pod>),
    /// A pod is gone from the API server.
    ApiDeleted(Arc<Pod>),
}
