//! One line of ssh_config: a keyword and its arguments.

/// Keyword in lower case, and arguments without their quotes. `None` for blank lines and comments.
///
/// # Errors
/// A quote that is not closed.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, String> {
    let line = line.trim_matches([' ', '\t', '\r', '\n', '\x0c']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let keyword = line[..end].trim_matches('"').to_ascii_lowercase();
    let rest = line[end..].trim_start_matches([' ', '\t']);
    // at most one equals sign, with or without blanks
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((keyword, arguments(rest)?)))
}

fn arguments(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        match characters.peek() {
            None | Some('#') => return Ok(found),
            Some(_) => {}
        }
        let (mut word, mut quote) = (String::new(), None);
        loop {
            let Some(c) = characters.peek().copied() else {
                if quote.is_some() {
                    return Err("a quote is not closed".to_owned());
                }
                break;
            };
            if quote.is_none() && (c == ' ' || c == '\t') {
                break;
            }
            characters.next();
            match c {
                '\\' => {
                    let escaped = |next: &char| matches!(next, '"' | '\'' | '\\') || (quote.is_none() && *next == ' ');
                    word.push(characters.next_if(escaped).unwrap_or('\\'));
                }
                '"' | '\'' if quote == Some(c) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(c),
                _ => word.push(c),
            }
        }
        found.push(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> (String, Vec<String>) {
        split(line).expect("well formed").expect("a keyword")
    }

    #[test]
    fn the_forms_of_a_line() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (line, keyword, arguments) in [
            ("Port 22", "port", words(&["22"])),
            ("\tPort=22\r", "port", words(&["22"])),
            ("Port = 22", "port", words(&["22"])),
            ("Host a  b\t!c", "host", words(&["a", "b", "!c"])),
            ("IdentityFile \"~/my keys/id\" # mine", "identityfile", words(&["~/my keys/id"])),
            ("IdentityFile ~/a\\ b", "identityfile", words(&["~/a b"])),
            ("User 'a b'\"c\"", "user", words(&["a bc"])),
            ("User \"\"", "user", words(&[""])),
            ("User a\\\"b", "user", words(&["a\"b"])),
            ("User a=b", "user", words(&["a=b"])),
            ("Include", "include", words(&[])),
            ("User a#b", "user", words(&["a#b"])),
        ] {
            assert_eq!(read(line), (keyword.to_owned(), arguments), "{line}");
        }
        assert_eq!(split("  # Port 22"), Ok(None));
        assert_eq!(split(""), Ok(None));
        assert!(split("User \"a").is_err());
    }

    proptest! {
        #[test]
        fn no_line_stops_the_reader(line in "[^\n]{0,60}") {
            let _ = split(&line);
        }
    }
}
