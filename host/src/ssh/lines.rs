//! Bytes that arrive in pieces, handed on as lines.

/// A longer line is handed on in pieces of this size: a host must not fill our memory.
const LONGEST: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Calls `line` for each line that is complete now, without its end.
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.hand_on(&mut line);
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LONGEST {
            self.hand_on(&mut line);
        }
    }

    /// What came after the last line end.
    pub fn finish(mut self, mut line: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            self.hand_on(&mut line);
        }
    }

    fn hand_on(&mut self, line: &mut impl FnMut(&str)) {
        let text = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
        line(&String::from_utf8_lossy(text));
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_a_text_is_cut_its_lines_are_the_same(text in "[a-zäö\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for pair in cuts.windows(2) {
                lines.push(&bytes[pair[0]..pair[1]], |line| found.push(line.to_owned()));
            }
            lines.finish(|line| found.push(line.to_owned()));
            prop_assert_eq!(found, text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
