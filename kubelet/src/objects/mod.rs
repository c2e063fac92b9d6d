//! API objects that pods refer to: config maps, secrets, services and service account tokens. Only what a pod of this
//! node names is ever asked for, because the node authorizer allows nothing else.

mod cache;
mod error;
mod references;
mod services;
mod tokens;

pub use cache::ObjectCache;
pub use error::ObjectError;
pub use references::{ObjectKey, ObjectKind, references_of};
pub use services::ServiceSource;
pub use tokens::{TokenManager, TokenRequestSpec};
