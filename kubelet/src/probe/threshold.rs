//! Turns single outcomes into verdicts by the probe's thresholds. Pure.

use super::results::Verdict;

/// Counts equal outcomes in a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Threshold {
    last: Option<bool>,
    run: i32,
}

impl Threshold {
    /// Takes one outcome; a verdict only when its threshold is reached.
    pub fn take(&mut self, success: bool, success_threshold: i32, failure_threshold: i32) -> Option<Verdict> {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        match success {
            true if self.run >= success_threshold.max(1) => Some(Verdict::Success),
            false if self.run >= failure_threshold.max(1) => Some(Verdict::Failure),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_a_row() {
        let mut threshold = Threshold::default();
        let verdicts: Vec<Option<Verdict>> = [false, false, true, false, false, false, true, true]
            .into_iter()
            .map(|success| threshold.take(success, 2, 3))
            .collect();
        assert_eq!(verdicts, [None, None, None, None, None, Some(Verdict::Failure), None, Some(Verdict::Success)]);
        assert_eq!(Threshold::default().take(true, 0, 0), Some(Verdict::Success));
    }
}
