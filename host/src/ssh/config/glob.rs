//! Files that a pattern names, for `Include`.

use std::path::{Component, Path, PathBuf};

use crate::ssh::pattern;

/// The existing files in the order of their names. A leading dot must be in the pattern, as in a shell.
pub(super) fn files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        found = found.iter().flat_map(|directory| entries(directory, &text)).collect();
    }
    found.retain(|path| path.is_file());
    found
}

fn entries(directory: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| pattern::matches(wanted, name) && (wanted.starts_with('.') || !name.starts_with('.')))
        .collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}
