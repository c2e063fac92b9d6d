//! What the exit code says. The numbers are API, and this is the one place that knows them: the help text and
//! docs/EXIT_CODES.md are held against it.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// A defect of ours.
    Bug = 1,
    Usage = 2,
    Preflight = 3,
    Phase = 4,
    SomeHosts = 5,
    Interrupted = 130,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::Bug, Self::Usage, Self::Preflight, Self::Phase, Self::SomeHosts, Self::Interrupted];

    /// One line for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done, or nothing had to be done",
            Self::Bug => "a defect of junioadm",
            Self::Usage => "the command line or the configuration is wrong; nothing was changed",
            Self::Preflight => "a check failed, or another run holds the lock; nothing was changed",
            Self::Phase => "a phase failed; what is done stays and is reused by the next run",
            Self::SomeHosts => "of several hosts, some failed; the others are done",
            Self::Interrupted => "interrupted (Ctrl-C or SIGTERM)",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_code_with_its_meaning() {
        let page = include_str!("../docs/EXIT_CODES.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit as u8, exit.meaning());
            assert!(page.contains(&row), "docs/EXIT_CODES.md has no row {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).count();
        assert_eq!(rows, Exit::ALL.len());
    }
}
