//! Words for the shell that sshd hands a command to, and words of a host for our messages.

/// Joins words so that a POSIX shell splits them into the same words again; a plain word stays readable.
pub(super) fn quote<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quote_one(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn quote_one(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a host said, on one line and without anything that a terminal would obey.
pub(super) fn plain(bytes: &[u8]) -> String {
    const LONGEST: usize = 500;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim().replace("\r\n", "\n").replace('\n', "; ");
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_host_says_moves_no_cursor() {
        assert_eq!(plain(b" \x1b[2Jone\r\ntwo\xff\x07\n"), "?[2Jone; two\u{fffd}?");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_shell_splits_them_into_the_same_words(words in proptest::collection::vec("[^\0]{0,20}", 1..4)) {
            let script = format!("printf '%s\\0' {}", quote(&words));
            let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
            let mut expected = words.join("\0").into_bytes();
            expected.push(0);
            prop_assert_eq!(output.stdout, expected);
        }
    }
}
