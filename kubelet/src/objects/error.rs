//! Why an object that a pod names is not at hand.

use super::ObjectKey;

#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// Standalone kubelet: nothing of the API exists.
    #[error("{0} is needed, but this kubelet has no API server")]
    NoApiServer(ObjectKey),
    /// The API server answered that it does not exist.
    #[error("{0} not found")]
    NotFound(ObjectKey),
    /// The API server did not answer, or refused; it is asked again in the background.
    #[error("{key} is not known yet: {message}")]
    Unavailable { key: ObjectKey, message: String },
    /// A service account token was refused.
    #[error("token of service account {namespace}/{name}: {message}")]
    Token { namespace: String, name: String, message: String },
}
