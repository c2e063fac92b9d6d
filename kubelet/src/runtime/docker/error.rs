//! Engine client errors sorted into `RuntimeError`.

use bollard::errors::Error;

use super::socket::SocketError;
use crate::runtime::RuntimeError;

/// HTTP statuses of the engine that have a meaning of their own here.
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const CONFLICT: u16 = 409;

/// `kind` is what a 404 says is missing.
pub(super) fn classify(operation: &'static str, kind: &'static str, object: &str, error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            refused(operation, kind, object, status_code, message)
        }
        Error::DockerStreamError { error } => {
            RuntimeError::Refused { operation, object: object.to_owned(), message: error }
        }
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
            RuntimeError::Refused { operation, object: object.to_owned(), message: error.to_string() }
        }
        other => RuntimeError::Unreachable(Box::new(other)),
    }
}

pub(super) fn classify_socket(
    operation: &'static str,
    kind: &'static str,
    object: &str,
    error: SocketError,
) -> RuntimeError {
    match error {
        SocketError::Status { status, message } => refused(operation, kind, object, status, message),
        other => RuntimeError::Unreachable(Box::new(other)),
    }
}

pub(super) fn io(operation: &'static str, object: impl ToString, source: std::io::Error) -> RuntimeError {
    RuntimeError::Io { operation, object: object.to_string(), source }
}

/// Gone is as good as done for everything that stops or removes.
pub(super) fn gone_is_done(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(RuntimeError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn refused(operation: &'static str, kind: &'static str, object: &str, status: u16, message: String) -> RuntimeError {
    // 404 alone is not enough: the engine also answers it when a command is missing inside a container or a registry
    // does not know an image.
    let lower = message.to_ascii_lowercase();
    if status == NOT_FOUND && kind != "image" && lower.contains("no such image") {
        // A create answers so for its image; the caller knows the reference.
        return RuntimeError::ImageAbsent { reference: object.to_owned() };
    }
    if status == NOT_FOUND && lower.contains("no such") {
        return RuntimeError::NotFound { kind, id: object.to_owned() };
    }
    RuntimeError::Refused { operation, object: object.to_owned(), message }
}
