//! Patterns of ssh_config and known_hosts: `*`, `?`, and `!` for "not".

/// Whether a text matches one pattern. Takes time proportional to the product of their lengths, never more.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut here) = (0, 0);
    // where to go back to: the last star, and the text that it has swallowed so far
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[here] => {
                at += 1;
                here += 1;
            }
            _ => match &mut star {
                Some((after, swallowed)) => {
                    *swallowed += 1;
                    at = *after + 1;
                    here = *swallowed;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a text matches one of several patterns and none of the negated ones.
pub(super) fn matches_any<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, text) => return false,
            Some(_) => {}
            None => matched |= matches(pattern, text),
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, in exponential time.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', pattern)), None) => plainly(pattern, text),
            (Some((b'*', rest)), Some((_, shorter))) => plainly(rest, text) || plainly(pattern, shorter),
            (Some((byte, pattern)), Some((first, text))) if *byte == b'?' || byte == first => plainly(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), plainly(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn negation_wins_and_alone_matches_nothing() {
        assert!(matches_any(["*.lab", "web"], "a.lab"));
        assert!(!matches_any(["*.lab", "!a.lab"], "a.lab"));
        assert!(!matches_any(["!a.lab", "*.lab"], "a.lab"));
        assert!(!matches_any(["!b.lab"], "a.lab"));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150)));
    }
}
