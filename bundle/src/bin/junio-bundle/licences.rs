//! One text with the licences of everything in the bundle; a text that many components share is printed once.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::error::BuildError;
use crate::inventory::Inventory;

const HEAD: &str = "junioadm's bundle contains the components below. Each is listed with the licence that it came with.\n\
junioadm itself is licensed under Apache-2.0.\n";

/// The content of licences.txt.
pub fn render(inventory: &Inventory) -> Result<String, BuildError> {
    let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut declared = Vec::new();
    for component in &inventory.components {
        for (file, text) in &component.texts {
            by_text.entry(text.trim()).or_default().push(format!("{} ({file})", component.purl));
        }
        if component.texts.is_empty() {
            // Rust crates may only declare an SPDX expression; the texts of all of these are in this file anyway.
            match &component.license {
                Some(license) => declared.push(format!("{}: {license}", component.purl)),
                None => {
                    return Err(BuildError::Unexpected(format!(
                        "{} has neither a licence text nor a declaration",
                        component.purl
                    )));
                }
            }
        }
    }
    let mut sections: Vec<_> = by_text.into_iter().collect();
    sections.sort_by(|a, b| a.1.cmp(&b.1));
    let mut out = HEAD.to_owned();
    let line = "=".repeat(100);
    let mut section = |title: &[String], text: &str| writeln!(out, "\n{line}\n{}\n\n{text}", title.join("\n"));
    let written = (|| {
        if !declared.is_empty() {
            section(&["declared without a text of their own".to_owned()], &declared.join("\n"))?;
        }
        sections.iter().try_for_each(|(text, components)| section(components, text))
    })();
    written.map_err(|_: std::fmt::Error| BuildError::Unexpected("cannot format the licences".to_owned()))?;
    Ok(out)
}
