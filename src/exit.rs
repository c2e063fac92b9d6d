//! What the exit code says. The numbers are API.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// A defect of ours.
    Bug = 1,
    /// The command line or the configuration is wrong; nothing was done.
    Usage = 2,
    /// A check failed; nothing was changed.
    Preflight = 3,
    /// A phase failed.
    Phase = 4,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Ends the process here and now, for the second Ctrl-C.
#[expect(clippy::exit, reason = "the second Ctrl-C must not wait for anything")]
pub fn now(exit: Exit) -> ! {
    std::process::exit(exit as i32)
}
