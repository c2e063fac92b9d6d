//! kubeadm's bracketed lines on stderr, in kubeadm's order, with bars below them on a terminal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use junio_api::duration::GoDuration;
use junio_phases::{Event, PhaseId, Reporter};

use super::bars::Bars;
use super::order::Order;
use crate::printer::Printer;

#[derive(Debug)]
pub struct TextReporter {
    printer: Printer,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: Order,
    bars: Bars,
    /// What each wait was last said to be blocked by.
    waits: HashMap<(PhaseId, String), Option<String>>,
}

impl TextReporter {
    pub fn new(printer: Printer) -> Self {
        let terminal = printer.is_terminal();
        Self { printer, terminal, state: Mutex::default() }
    }

    fn show(&self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.printer.err(&line);
        }
    }

    /// A wait in plain lines: once when it begins, and again whenever what blocks it changes.
    fn waiting(&self, state: &mut State, phase: PhaseId, what: &str, deadline: GoDuration, blocked_by: Option<&str>) {
        if self.terminal {
            state.bars.waiting(self.printer.bars(), phase, what, &deadline.to_string(), blocked_by);
            return;
        }
        let blocked = blocked_by.map(str::to_owned);
        let before = state.waits.insert((phase, what.to_owned()), blocked.clone());
        let text = match (&before, &blocked) {
            (None, None) => format!("[{}] Waiting for {what}. This can take up to {deadline}", phase.bracket()),
            (None, Some(by)) => {
                format!("[{}] Waiting for {what}. This can take up to {deadline}; blocked by: {by}", phase.bracket())
            }
            (Some(then), Some(by)) if then.as_ref() != Some(by) => {
                format!("[{}] Still waiting for {what}, blocked by: {by}", phase.bracket())
            }
            _ => return,
        };
        self.show(state.order.line(phase, text));
    }
}

impl Reporter for TextReporter {
    fn event(&self, event: &Event) {
        super::log(event);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PhaseStarted { phase } => state.order.started(*phase),
            Event::PhaseFinished { phase, .. } => {
                state.bars.remove_phase(*phase);
                let lines = state.order.finished(*phase);
                self.show(lines);
            }
            Event::Line { phase, bracket, text } => {
                let line = state.order.line(*phase, format!("[{bracket}] {text}"));
                self.show(line);
            }
            Event::Progress { phase, what, done, total } if self.terminal => {
                state.bars.progress(self.printer.bars(), *phase, what, *done, *total);
            }
            Event::Progress { .. } => {}
            Event::Waiting { phase, what, deadline, blocked_by } => {
                self.waiting(&mut state, *phase, what, GoDuration(*deadline), blocked_by.as_deref());
            }
            Event::Waited { phase, what, elapsed } => {
                state.bars.remove(*phase, what);
                state.waits.remove(&(*phase, what.clone()));
                let line = format!("[{}] {what} after {}", phase.bracket(), rounded(*elapsed));
                let line = state.order.line(*phase, line);
                self.show(line);
            }
            Event::Warning { check: Some(check), code, text, .. } => {
                let code = code.map_or_else(String::new, |code| format!(" ({code})"));
                self.printer.err(&format!("\t[WARNING {check}]: {text}{code}"));
            }
            Event::Warning { text, .. } => self.printer.err(&format!("warning: {text}")),
            // The error at the end shows all of them with their repair.
            _ => {}
        }
    }
}

fn rounded(elapsed: std::time::Duration) -> GoDuration {
    GoDuration(std::time::Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
}

impl Drop for TextReporter {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bars.clear();
        let rest = state.order.rest();
        drop(state);
        self.show(rest);
    }
}
