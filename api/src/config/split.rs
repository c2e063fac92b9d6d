//! Cuts a text into its YAML documents, each padded with empty lines so that line numbers stay those of the whole text.

/// One document.
#[derive(Debug)]
pub struct Part {
    /// The document behind as many empty lines as stand before it in the whole text.
    pub padded: String,
    /// 1-based line of its first line that is no comment.
    pub first_line: u64,
}

/// The documents of a text that hold more than comments.
pub fn documents(text: &str) -> impl Iterator<Item = Part> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parts = vec![(0, Vec::new())];
    for (number, line) in text.lines().enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(rest) = marker(line, "---") {
            parts.push((number, vec![format!("   {rest}")]));
        } else if marker(line, "...").is_some() {
            parts.push((number, vec![String::new()]));
        } else if let Some((_, lines)) = parts.last_mut() {
            lines.push(line.to_owned());
        }
    }
    parts.into_iter().filter_map(|(before, lines)| {
        let first = lines.iter().position(|line| holds_something(line))?;
        let padded = "\n".repeat(before) + &lines.join("\n") + "\n";
        Some(Part { padded, first_line: (before + first + 1) as u64 })
    })
}

/// What follows a document marker at the start of a line; block scalars cannot hold one.
fn marker<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    line.strip_prefix(marker).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

fn holds_something(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
}
