//! One connection's questions: what another connection was told already is not asked again, unless it was wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use junio_api::Secret;
use junio_host::ssh::{Prompter, Target};

use super::options::Fleet;

pub(crate) struct Asking<'a> {
    fleet: &'a Fleet<'a>,
    /// Keys that this connection has asked for: a second question says that the first answer was wrong.
    asked: Mutex<BTreeSet<PathBuf>>,
}

impl<'a> Asking<'a> {
    pub(crate) fn of(fleet: &'a Fleet<'a>) -> Self {
        Self { fleet, asked: Mutex::default() }
    }
}

#[async_trait]
impl Prompter for Asking<'_> {
    async fn passphrase(&self, key: &Path) -> Option<Secret<String>> {
        let mut given = self.fleet.passphrases.lock().await;
        let first = self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        if let (true, Some(passphrase)) = (first, given.get(key)) {
            return Some(passphrase.clone());
        }
        let passphrase = self.fleet.prompter.passphrase(key).await?;
        given.insert(key.to_owned(), passphrase.clone());
        Some(passphrase)
    }

    async fn sudo_password(&self, target: &Target) -> Option<Secret<String>> {
        self.fleet.prompter.sudo_password(target).await
    }
}
