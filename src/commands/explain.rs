//! `explain CODE`: what docs/errors says about a code, from inside the program.

use std::fmt::Write as _;

use junio_api::hint::Code;

use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Pages of `docs/errors`; a code is a heading of the second level, its first paragraph is what the list shows.
const PAGES: [&str; 9] = [
    include_str!("../../docs/errors/command.md"),
    include_str!("../../docs/errors/configuration.md"),
    include_str!("../../docs/errors/host.md"),
    include_str!("../../docs/errors/bundle.md"),
    include_str!("../../docs/errors/cluster.md"),
    include_str!("../../docs/errors/join.md"),
    include_str!("../../docs/errors/ssh.md"),
    include_str!("../../docs/errors/fleet.md"),
    include_str!("../../docs/errors/lab.md"),
];

pub fn run(code: Option<&str>, printer: &Printer) -> Result<Exit, CommandError> {
    match code {
        None => printer.out(&list()),
        Some(code) => printer.out(&explain(code).ok_or_else(|| CommandError::UnknownCode(code.to_owned()))?),
    }
    Ok(Exit::Ok)
}

/// Code and text of every entry.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGES.iter().flat_map(|page| page.split("\n## ").skip(1)).filter_map(|entry| entry.split_once('\n'))
}

/// The code that is spelled `JUNIO-...`, if it is one of ours: what another junioadm says is text.
pub fn known(code: &str) -> Option<Code> {
    entries()
        .filter_map(|(entry, _)| entry.strip_prefix("JUNIO-"))
        .find(|name| code.strip_prefix("JUNIO-") == Some(name))
        .map(Code)
}

fn explain(code: &str) -> Option<String> {
    let wanted = code.trim().to_uppercase();
    let wanted = wanted.strip_prefix("JUNIO-").unwrap_or(&wanted);
    let (code, text) = entries().find(|(code, _)| code.strip_prefix("JUNIO-") == Some(wanted))?;
    Some(format!("{code}\n\n{}\n", text.trim()))
}

fn list() -> String {
    let mut text = String::new();
    for (code, entry) in entries() {
        let first = entry.trim().lines().next().unwrap_or_default();
        let _ = writeln!(text, "{code:<36} {first}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_code_in_any_case() {
        assert!(entries().count() > 20);
        for (code, text) in entries() {
            assert!(code.starts_with("JUNIO-") && !text.trim().is_empty(), "{code}");
            assert!(explain(&code.to_lowercase()).is_some_and(|found| found.starts_with(code)), "{code}");
            assert!(explain(code.trim_start_matches("JUNIO-")).is_some(), "{code}");
        }
        assert_eq!(explain("JUNIO-NO-SUCH"), None);
    }

    #[test]
    fn no_code_is_explained_twice() {
        let mut codes: Vec<&str> = entries().map(|(code, _)| code).collect();
        codes.sort_unstable();
        let all = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
