//! Asks for passphrases and passwords on the terminal, one question at a time, without showing what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use junio_api::Secret;
use junio_host::ssh::{Prompter, Target};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::printer::Printer;

/// The person at the terminal, where there is one.
pub struct Terminal {
    printer: Printer,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// How the terminal was before a question that is still open: an interrupted run must not leave it mute.
    before: Arc<Mutex<Option<(File, Termios)>>>,
}

impl Terminal {
    pub fn new(printer: &Printer) -> Self {
        Self { printer: printer.clone(), one_at_a_time: tokio::sync::Mutex::default(), before: Arc::default() }
    }

    async fn ask(&self, question: String) -> Option<Secret<String>> {
        let _turn = self.one_at_a_time.lock().await;
        let (printer, before) = (self.printer.clone(), Arc::clone(&self.before));
        tokio::task::spawn_blocking(move || read_hidden(&question, &printer, &before)).await.ok()?.ok()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

#[async_trait]
impl Prompter for Terminal {
    async fn passphrase(&self, key: &Path) -> Option<Secret<String>> {
        self.ask(format!("Passphrase of {}: ", key.display())).await
    }

    async fn sudo_password(&self, target: &Target) -> Option<Secret<String>> {
        self.ask(format!("Password of {target} for sudo: ")).await
    }
}

fn read_hidden(
    question: &str,
    printer: &Printer,
    before: &Mutex<Option<(File, Termios)>>,
) -> io::Result<Secret<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    *before.lock().unwrap_or_else(PoisonError::into_inner) = Some((terminal.try_clone()?, shown));
    let ask = || -> io::Result<String> {
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden)?;
        printer.err(question);
        let mut line = String::new();
        BufReader::new(&terminal).read_line(&mut line)?;
        Ok(line)
    };
    let read = ask();
    restore(before);
    let line = read?;
    let text = Secret::new(line.trim_end_matches(['\r', '\n']).to_owned());
    drop(Secret::new(line));
    if text.expose().is_empty() { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(text) }
}

fn restore(before: &Mutex<Option<(File, Termios)>>) {
    if let Some((terminal, shown)) = before.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // a terminal that is gone needs nothing
        let _ = tcsetattr(&terminal, SetArg::TCSANOW, &shown);
    }
}
