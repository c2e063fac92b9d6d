//! Bars and spinners on a terminal. Where stderr is none, indicatif draws nothing.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use junio_phases::PhaseId;

/// What moves at the bottom of the screen, one bar for each thing of a phase.
#[derive(Debug, Default)]
pub struct Bars {
    bars: HashMap<(PhaseId, String), ProgressBar>,
}

impl Bars {
    pub fn progress(&mut self, screen: &MultiProgress, phase: PhaseId, what: &str, done: u64, total: u64) {
        if done >= total {
            self.remove(phase, what);
            return;
        }
        let bar = self.bars.entry((phase, what.to_owned())).or_insert_with(|| {
            let bar = screen.add(ProgressBar::new(total));
            let template = if total > 10_000 {
                "[{prefix}] {msg} [{bar:30}] {bytes}/{total_bytes}"
            } else {
                "[{prefix}] {msg} [{bar:30}] {pos}/{len}"
            };
            bar.set_style(style(template).progress_chars("=> "));
            bar.set_prefix(phase.bracket());
            bar.set_message(what.to_owned());
            bar
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    pub fn waiting(
        &mut self,
        screen: &MultiProgress,
        phase: PhaseId,
        what: &str,
        deadline: &str,
        blocked_by: Option<&str>,
    ) {
        let bar = self.bars.entry((phase, what.to_owned())).or_insert_with(|| {
            let bar = screen.add(ProgressBar::new_spinner());
            bar.set_style(style("[{prefix}] {spinner} {msg} ({elapsed})"));
            bar.set_prefix(phase.bracket());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let blocked = blocked_by.map(|by| format!(", blocked by: {by}")).unwrap_or_default();
        bar.set_message(format!("waiting for {what} (up to {deadline}){blocked}"));
    }

    pub fn remove(&mut self, phase: PhaseId, what: &str) {
        if let Some(bar) = self.bars.remove(&(phase, what.to_owned())) {
            bar.finish_and_clear();
        }
    }

    pub fn remove_phase(&mut self, phase: PhaseId) {
        self.bars.retain(|(of, _), bar| {
            if *of == phase {
                bar.finish_and_clear();
            }
            *of != phase
        });
    }

    pub fn clear(&mut self) {
        for (_, bar) in self.bars.drain() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
