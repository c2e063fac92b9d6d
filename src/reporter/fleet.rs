//! Many hosts at once: each line begins with its host; on a terminal, bars below them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use junio_phases::fleet::{FleetEvent, FleetReporter};
use serde_json::Value;

use crate::printer::Printer;

/// `HOST | line` on stderr.
#[derive(Debug)]
pub struct FleetText {
    printer: Printer,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bars: HashMap<String, ProgressBar>,
    /// What each wait of a host was last said to be blocked by.
    waits: HashMap<(String, String), Option<String>>,
    /// Of the longest host's name so far.
    width: usize,
}

impl FleetText {
    pub fn new(printer: Printer) -> Self {
        let terminal = printer.is_terminal();
        Self { printer, terminal, state: Mutex::default() }
    }

    fn say(&self, state: &mut State, host: &str, text: &str) {
        state.width = state.width.max(host.chars().count());
        for line in text.lines() {
            self.printer.err(format!("{host:<width$} | {line}", width = state.width).trim_end());
        }
    }

    fn remote(&self, state: &mut State, host: &str, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        match text("type") {
            "line" => self.say(state, host, &format!("[{}] {}", text("bracket"), text("text"))),
            "warning" => {
                let check = event["check"].as_str().map(|check| format!("[{check}] ")).unwrap_or_default();
                self.say(state, host, &format!("warning: {check}{}", text("text")));
            }
            "waiting" => {
                let blocked = event["blockedBy"].as_str().map(str::to_owned);
                let key = (host.to_owned(), text("what").to_owned());
                let before = state.waits.insert(key, blocked.clone());
                if let (Some(by), true) = (&blocked, before.flatten() != blocked) {
                    self.say(state, host, &format!("waiting for {}, blocked by: {by}", text("what")));
                }
            }
            "progress" if self.terminal => {
                let (done, total) = (event["done"].as_u64().unwrap_or(0), event["total"].as_u64().unwrap_or(0));
                self.bar(state, host, text("what"), done, total);
            }
            _ => {}
        }
    }

    fn bar(&self, state: &mut State, host: &str, what: &str, done: u64, total: u64) {
        if done >= total {
            if let Some(bar) = state.bars.remove(host) {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = state.bars.entry(host.to_owned()).or_insert_with(|| {
            let bar = self.printer.bars().add(ProgressBar::new(total));
            let template = "{prefix} | {msg} [{bar:30}] {bytes}/{total_bytes}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(host.to_owned());
            bar
        });
        bar.set_message(what.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl FleetReporter for FleetText {
    fn event(&self, event: &FleetEvent) {
        log(event);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match event {
            FleetEvent::Step { host, text } => self.say(state, host, text),
            FleetEvent::Warning { host, text } => self.say(state, host, &format!("warning: {text}")),
            FleetEvent::Remote { host, event } => self.remote(state, host, event),
            FleetEvent::Sending { host, what, done, total } if self.terminal => {
                self.bar(state, host, &format!("sending {what}"), *done, *total);
            }
            FleetEvent::Finished { host, result } => {
                if let Some(bar) = state.bars.remove(host) {
                    bar.finish_and_clear();
                }
                self.say(state, host, result.word());
            }
            _ => {}
        }
    }
}

impl Drop for FleetText {
    fn drop(&mut self) {
        for (_, bar) in self.state.lock().unwrap_or_else(PoisonError::into_inner).bars.drain() {
            bar.finish_and_clear();
        }
    }
}

/// One JSON object a line on stderr, as events come.
#[derive(Debug)]
pub struct FleetJson {
    printer: Printer,
}

impl FleetJson {
    pub fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl FleetReporter for FleetJson {
    fn event(&self, event: &FleetEvent) {
        log(event);
        if let Ok(line) = serde_json::to_string(event) {
            self.printer.err(&line);
        }
    }
}

/// Events carry no secrets, so the log may hold them.
fn log(event: &FleetEvent) {
    if let (false, Ok(line)) = (matches!(event, FleetEvent::Sending { .. }), serde_json::to_string(event)) {
        tracing::debug!(target: "event", "{line}");
    }
}
