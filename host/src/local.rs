//! The machine that we run on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use junio_api::Layout;
use tokio::io::AsyncWriteExt;

use crate::command::{Command, CommandOutput};
use crate::error::HostError;
use crate::files;
use crate::host::{Host, HostRead, Stat};

/// This machine, seen through a layout that may be rooted in a test's directory. File operations are short and block.
#[derive(Debug, Clone, Default)]
pub struct Local {
    layout: Layout,
}

impl Local {
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

#[async_trait]
impl HostRead for Local {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, HostError> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(source) => Err(HostError::Read { path: path.to_owned(), source }),
        }
    }

    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError> {
        let fail = |source| HostError::Read { path: directory.to_owned(), source };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if files::is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = entries
            .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        names.sort();
        Ok(names)
    }

    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Stat {
                directory: metadata.is_dir(),
                mode: metadata.permissions().mode() & 0o7777,
                length: metadata.len(),
            })),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(source) => Err(HostError::Read { path: path.to_owned(), source }),
        }
    }
}

#[async_trait]
impl Host for Local {
    async fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), HostError> {
        files::write_atomic(path, content, mode)
    }

    async fn create_dir(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        files::create_dir(path, mode)
    }

    async fn remove_file(&self, path: &Path) -> Result<bool, HostError> {
        files::remove_file(path)
    }

    async fn remove_tree(&self, path: &Path) -> Result<bool, HostError> {
        files::remove_tree(path)
    }

    async fn keep(&self, path: &Path, kept: &Path) -> Result<(), HostError> {
        files::keep(path, kept)
    }

    async fn put_back(&self, kept: &Path, path: &Path) -> Result<(), HostError> {
        files::put_back(kept, path)
    }

    async fn run(&self, command: &Command) -> Result<CommandOutput, HostError> {
        let spawn = |source| HostError::Spawn { program: command.program.clone(), source };
        let mut child = tokio::process::Command::new(&command.program)
            .args(&command.args)
            .stdin(if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read all of it says so by its exit code.
                let _ = stdin.write_all(&command.stdin).await;
            }
        };
        let run = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(command.timeout, run)
            .await
            .map_err(|_| HostError::CommandTimeout { command: command.line(), seconds: command.timeout.as_secs() })?
            .map_err(spawn)?;
        Ok(CommandOutput { code: output.status.code(), stdout: output.stdout, stderr: output.stderr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn absent_files_are_none_and_absent_directories_are_empty() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let host = Local::new(Layout::new(directory.path()));
        assert_eq!(host.read(&directory.path().join("no/such")).await.expect("readable"), None);
        assert!(host.list(&directory.path().join("none")).await.expect("listable").is_empty());
        assert_eq!(host.stat(&directory.path().join("none")).await.expect("readable"), None);
    }

    #[tokio::test]
    async fn a_bad_exit_code_carries_the_standard_error() {
        let host = Local::default();
        let error =
            host.run_ok(&Command::new("sh", ["-c", "cat >&2; exit 3"]).stdin("oops")).await.expect_err("exit code 3");
        assert_eq!(error.to_string(), "sh -c cat >&2; exit 3 ended with exit code 3: oops");
    }
}
