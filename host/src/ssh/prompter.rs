//! Where secrets come from. The binary asks on a terminal; tests and unattended runs answer by themselves.

use std::path::Path;

use async_trait::async_trait;
use junio_api::Secret;

use super::Target;

/// Answers `None` when there is nobody to ask; then the connection fails with an error that says what was needed.
#[async_trait]
pub trait Prompter: Send + Sync {
    /// The passphrase of a private key. Asked up to three times while it is wrong.
    async fn passphrase(&self, key: &Path) -> Option<Secret<String>>;

    /// The password that sudo wants of the user on this host. Asked once per connection.
    async fn sudo_password(&self, target: &Target) -> Option<Secret<String>>;
}

/// Nobody to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompter;

#[async_trait]
impl Prompter for NoPrompter {
    async fn passphrase(&self, _key: &Path) -> Option<Secret<String>> {
        None
    }

    async fn sudo_password(&self, _target: &Target) -> Option<Secret<String>> {
        None
    }
}
