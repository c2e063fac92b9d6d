//! What can be asked of a host and what can be done to it. A dry run gets a [`HostRead`] only.

use std::path::Path;

use async_trait::async_trait;
use junio_api::Layout;

use crate::command::{Command, CommandOutput};
use crate::error::HostError;

/// What is known about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub directory: bool,
    /// Permission bits.
    pub mode: u32,
    pub length: u64,
}

/// Looking at a host; nothing here changes it.
#[async_trait]
pub trait HostRead: Send + Sync {
    fn layout(&self) -> &Layout;

    /// The content of a file; `None` when there is none.
    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, HostError>;

    /// The names in a directory, sorted; empty when there is none.
    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError>;

    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError>;
}

/// Changing a host. Callers journal before they call.
#[async_trait]
pub trait Host: HostRead {
    /// Makes `path` hold `content` with `mode`, atomically and durably; parents must exist.
    async fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), HostError>;

    /// Makes a directory with its parents; `mode` is set on the last one, also when it exists.
    async fn create_dir(&self, path: &Path, mode: u32) -> Result<(), HostError>;

    /// Removes a file or link; false when there was none.
    async fn remove_file(&self, path: &Path) -> Result<bool, HostError>;

    /// Removes a tree without following links or crossing into another file system; false when there was none.
    async fn remove_tree(&self, path: &Path) -> Result<bool, HostError>;

    /// Gives the file or link at `path` the second name `kept`, owner and mode included, for [`Host::put_back`].
    async fn keep(&self, path: &Path, kept: &Path) -> Result<(), HostError>;

    /// Puts a kept file back at `path`, atomically; `kept` stays, so that it can be done again.
    async fn put_back(&self, kept: &Path, path: &Path) -> Result<(), HostError>;

    /// Runs a program to its end; a bad exit code is in the output, not an error.
    async fn run(&self, command: &Command) -> Result<CommandOutput, HostError>;

    /// Runs a program; a bad exit code is an error that carries stderr.
    async fn run_ok(&self, command: &Command) -> Result<CommandOutput, HostError> {
        let output = self.run(command).await?;
        if output.success() {
            return Ok(output);
        }
        Err(HostError::Command {
            command: command.line(),
            status: output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}")),
            stderr: output.stderr_text(),
        })
    }
}
