//! Every error code in the source is explained in `docs/errors`, and nothing is explained that no longer exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CRATES: [&str; 7] = ["api", "pki", "templates", "host", "bundle", "phases", "lab"];

/// The text of every Rust file below a directory, tests at its end cut off.
fn sources(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).expect("the source tree").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            into.push_str(text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default());
        }
    }
}

/// Codes appear as `Code("NAME")`, as the second argument of a preflight verdict, or as the arms of a `Code(match ... { ... => "NAME" })`.
fn codes(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("Code(") {
        let rest = &text[at + 5..];
        let inside = match rest.strip_prefix('"') {
            Some(inside) => &rest[..inside.find('"').expect("closed") + 2],
            None => balanced(rest),
        };
        let is_match = rest.starts_with("match ");
        if !rest.starts_with('"') && !is_match {
            continue;
        }
        for part in inside.split('"').skip(1).step_by(2) {
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') {
                found.insert(format!("JUNIO-{part}"));
            }
        }
    }
    // A preflight check's verdict takes check name and code, both as text; names of checks are never all capitals but CRI.
    for call in ["Verdict::error(", "Verdict::warning("] {
        for (at, _) in text.match_indices(call) {
            let literals = balanced(&text[at + call.len()..]).split('"').skip(1).step_by(2);
            let codes = literals.filter(|part| {
                part.len() > 3 && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
            });
            found.extend(codes.map(|code| format!("JUNIO-{code}")));
        }
    }
    found
}

/// Up to the parenthesis that closes the one before `text`.
fn balanced(text: &str) -> &str {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

#[test]
fn every_code_is_explained_and_every_explanation_is_of_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    for name in CRATES {
        sources(&root.join(name).join("src"), &mut text);
    }
    let used = codes(&text);
    assert!(used.len() > 30, "the search found too little: {used:?}");
    let mut explained = BTreeSet::new();
    for page in fs::read_dir(root.join("docs/errors")).expect("there").flatten() {
        let page = fs::read_to_string(page.path()).expect("text");
        explained.extend(page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned));
    }
    let missing: Vec<_> = used.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&used).collect();
    assert!(missing.is_empty(), "add to docs/errors: {missing:#?}");
    assert!(stale.is_empty(), "no longer in the source: {stale:#?}");
}
