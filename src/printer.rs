//! The only door to stdout and stderr. A closed pipe (`junioadm … | head`) is no error: what nobody reads is not written.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::MultiProgress;

/// Writes to stdout (data and final reports) and stderr (everything else). Clones share the bars.
#[derive(Debug, Clone)]
pub struct Printer {
    bars: MultiProgress,
    stdout_failed: Arc<Mutex<Option<io::Error>>>,
}

impl Printer {
    pub fn new() -> Self {
        Self { bars: MultiProgress::new(), stdout_failed: Arc::default() }
    }

    /// Data: exactly `text`, and a newline when it has none at its end.
    pub fn out(&self, text: &str) {
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                stdout.write_all(b"\n")?;
            }
            stdout.flush()
        });
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            *self.failure() = Some(error);
        }
    }

    /// One line or more for the person who watches. Nothing can be done when stderr is gone, so nothing is.
    pub fn err(&self, text: &str) {
        self.bars.suspend(|| {
            let mut stderr = io::stderr().lock();
            let newline = if text.ends_with('\n') { "" } else { "\n" };
            stderr.write_all(text.as_bytes()).and_then(|()| stderr.write_all(newline.as_bytes())).ok();
        });
    }

    /// Bytes of another program's output, unchanged.
    pub fn pass_through(&self, to_stdout: bool, bytes: &[u8]) {
        self.bars.suspend(|| {
            if to_stdout {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush()).ok();
            } else {
                io::stderr().lock().write_all(bytes).ok();
            }
        });
    }

    /// Why stdout could not be written (a full disk), once.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.failure().take()
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<io::Error>> {
        self.stdout_failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where bars are drawn; hidden when stderr is no terminal.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// True when a person watches stderr.
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}
