//! One host as it is driven: over SSH, or this machine itself. Counts what is sent.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use junio_api::{Layout, Secret};
use junio_bundle::{Bundle, Part};
use junio_host::ssh::{Connection, Stream};
use junio_host::{Command, CommandOutput, Host, Local, run_streaming};
use serde_json::Value;
use tokio::io::AsyncSeekExt;

use super::asking::Asking;
use super::error::{FleetError, HostFailure};
use super::event::FleetEvent;
use super::inventory::Inventory;
use super::options::{Fleet, Way};

/// Where junioadm goes on a host.
pub(crate) const PROGRAM: &str = "/usr/local/bin/junioadm";

/// Prints what the host is, then the inventory if its junioadm is the one whose digest is given. Nothing is changed.
const LOOK: &str = r#"
uname -sm
sum=$(sha256sum "$1" 2>/dev/null) || sum=none
sum=${sum%% *}
echo "$sum"
if [ "$sum" = "$2" ]; then exec "$1" agent inventory; fi
"#;

/// Notes that junioadm came from here, so that `reset` from here takes it away again; then prints the inventory.
const ADOPT: &str = r#"
set -eu
if [ "$3" = none ] || [ -f /var/lib/junioadm/sent-junioadm ]; then
    mkdir -p -m 0700 /var/lib/junioadm
    echo "$2" >/var/lib/junioadm/sent-junioadm
fi
exec "$1" agent inventory
"#;

enum Route {
    Ssh(Box<Connection>),
    This(Local),
}

/// A host that we are logged in to.
pub(crate) struct Machine<'a> {
    way: Route,
    fleet: &'a Fleet<'a>,
    host: &'a str,
    sent: &'a AtomicU64,
}

/// What the first look at a host shows.
pub(crate) enum Look {
    /// junioadm is there, as we have it.
    Same(Box<Inventory>),
    /// There is none, or another one, whose digest this is.
    Other(String),
}

impl<'a> Machine<'a> {
    /// Logs in. Nothing on the host is changed.
    pub(crate) async fn open(
        fleet: &'a Fleet<'a>,
        host: &'a str,
        way: &Way,
        sent: &'a AtomicU64,
    ) -> Result<Self, HostFailure> {
        let way = match way {
            Way::This => Route::This(Local::default()),
            Way::Ssh(target) => {
                let connection = Connection::connect(target, &fleet.options.ssh, &Asking::of(fleet)).await?;
                for (name, identity) in connection.identities() {
                    if identity.pinned {
                        let text = format!(
                            "{name} is new: its {} key {} was written down ({})",
                            identity.algorithm, identity.fingerprint, identity.known_by
                        );
                        fleet.event(&FleetEvent::Warning { host: host.to_owned(), text });
                    }
                }
                for text in connection.warnings() {
                    fleet.event(&FleetEvent::Warning { host: host.to_owned(), text: text.clone() });
                }
                Route::Ssh(Box::new(connection))
            }
        };
        Ok(Self { way, fleet, host, sent })
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        if let Route::Ssh(connection) = self.way {
            connection.close().await;
        }
    }

    /// Architecture and junioadm of the host, and its inventory if both are as ours.
    pub(crate) async fn look(&self) -> Result<Look, HostFailure> {
        if matches!(self.way, Route::This(_)) {
            let inventory = super::inventory(&Layout::default(), &self.fleet.options.bundle).await;
            return Ok(Look::Same(Box::new(inventory)));
        }
        let output = self.run(&["sh", "-c", LOOK, "sh", PROGRAM, &self.fleet.program.sha256], None).await?;
        let text = output.stdout_text();
        let mut lines = text.splitn(3, '\n');
        let (system, digest) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        match system.split_once(' ') {
            Some(("Linux", machine)) if machine == std::env::consts::ARCH => {}
            Some(("Linux", machine)) => {
                let (found, ours) = (machine.to_owned(), std::env::consts::ARCH);
                return Err(FleetError::Architecture { found, ours }.into());
            }
            _ => {
                let said = [text.as_str(), &output.stderr_text()].join(" ").trim().replace('\n', "; ");
                return Err(FleetError::Probe { said }.into());
            }
        }
        match lines.next() {
            Some(inventory) => Ok(Look::Same(Box::new(parse(inventory)?))),
            None if digest == self.fleet.program.sha256 => Err(FleetError::Agent { said: output.stderr_text() }.into()),
            None => Ok(Look::Other(digest.to_owned())),
        }
    }

    /// Puts our junioadm on the host, in the place of the one with this digest (`none`), and asks it for the inventory.
    pub(crate) async fn install(&self, earlier: &str) -> Result<Inventory, HostFailure> {
        let Route::Ssh(connection) = &self.way else { return Err(FleetError::Agent { said: String::new() }.into()) };
        let program = &self.fleet.program;
        let path = Path::new(PROGRAM);
        let counted = Counted::new(self);
        let progress = |done| {
            counted.reached(done);
            self.sending("junioadm", done, program.size);
        };
        connection.send_file(&program.path, path, 0o755, Some(&program.sha256), progress).await?;
        self.sending("junioadm", program.size, program.size);
        let output = self.check(&["sh", "-c", ADOPT, "sh", PROGRAM, &program.sha256, earlier], None).await?;
        parse(&output.stdout_text())
    }

    /// Sends one part's frame, from where an earlier attempt stopped.
    pub(crate) async fn send_part(
        &self,
        bundle: &Bundle,
        part: &Part,
        path: &Path,
        progress: impl Fn(u64),
    ) -> Result<(), HostFailure> {
        // This machine has the bundle itself.
        let Route::Ssh(connection) = &self.way else { return Ok(()) };
        let unreadable = |source| FleetError::File { path: bundle.path().to_owned(), source };
        let offset = Some(connection.received(path).await?).filter(|offset| *offset <= part.stored_size).unwrap_or(0);
        let mut source = tokio::fs::File::open(bundle.path()).await.map_err(unreadable)?;
        source.seek(std::io::SeekFrom::Start(bundle.place(part) + offset)).await.map_err(unreadable)?;
        let counted = Counted::new(self);
        counted.starts_at(offset);
        let progress = |done| {
            counted.reached(done);
            progress(done);
        };
        connection.send(source, part.stored_size, path, 0o600, offset, progress).await?;
        connection.finish(path, Some(&part.stored_sha256)).await?;
        Ok(())
    }

    /// Runs a program as root; any exit code is a result.
    pub(crate) async fn run(&self, words: &[&str], stdin: Option<&[u8]>) -> Result<CommandOutput, HostFailure> {
        match &self.way {
            Route::Ssh(connection) => Ok(connection.run(words, stdin).await?),
            Route::This(local) => {
                let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
                let command = Command::new(self.program(program), arguments.iter().copied());
                Ok(local.run(&command.stdin(stdin.unwrap_or_default())).await?)
            }
        }
    }

    /// On this machine the running program is the junioadm to use.
    fn program<'b>(&'b self, word: &'b str) -> &'b str {
        if word == PROGRAM { self.fleet.program.path.to_str().unwrap_or(word) } else { word }
    }

    /// Runs a program that must succeed.
    pub(crate) async fn check(&self, words: &[&str], stdin: Option<&[u8]>) -> Result<CommandOutput, HostFailure> {
        let output = self.run(words, stdin).await?;
        if output.success() {
            return Ok(output);
        }
        Err(ended(words, output.code, output.stderr_text()))
    }

    /// Runs `junioadm WORDS --output json` on the host: its events go to the reporter, its report is the result, and its error
    /// is ours. What goes to its standard input is seen by nobody else on the host.
    pub(crate) async fn junioadm(&self, words: &[&str], stdin: Option<Secret<Vec<u8>>>) -> Result<Value, HostFailure> {
        let words = [&[PROGRAM], words, &["--output", "json"]].concat();
        let (report, failure) = (Mutex::new(String::new()), Mutex::new(None));
        let on_line = |stream: Stream, line: &str| match stream {
            Stream::Output => {
                let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                report.push_str(line);
                report.push('\n');
            }
            // what is no event is of no use here, and the last lines are in the error
            Stream::Error => match serde_json::from_str::<Value>(line) {
                Ok(event) if event["type"] == "error" => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(HostFailure::said(&event));
                }
                Ok(event) if event["type"].is_string() => {
                    self.fleet.event(&FleetEvent::Remote { host: self.host.to_owned(), event });
                }
                _ => {}
            },
        };
        self.count(stdin.as_ref().map_or(0, |stdin| stdin.expose().len() as u64));
        let ended_with = match &self.way {
            Route::Ssh(connection) => connection.run_streaming(&words, stdin.as_ref(), on_line).await?,
            Route::This(_) => {
                let words: Vec<&str> = words.iter().map(|word| self.program(word)).collect();
                run_streaming(&words, stdin.as_ref(), on_line).await?
            }
        };
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (ended_with.code, failure) {
            (Some(0), _) if report.trim().is_empty() => Ok(Value::Null),
            (Some(0), _) => serde_json::from_str(&report).map_err(|_| FleetError::Agent { said: report }.into()),
            (_, Some(failure)) => Err(failure),
            (code, None) => Err(ended(&words, code, ended_with.stderr)),
        }
    }

    /// Tells of bytes on their way.
    pub(crate) fn sending(&self, what: &str, done: u64, total: u64) {
        let (host, what) = (self.host.to_owned(), what.to_owned());
        self.fleet.event(&FleetEvent::Sending { host, what, done, total });
    }

    pub(crate) fn count(&self, bytes: u64) {
        if matches!(self.way, Route::Ssh(_)) {
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Where this machine's junioadm finds its bundle, when that is not the usual place.
    pub(crate) fn bundle_option(&self) -> Vec<&str> {
        let bundle = &self.fleet.options.bundle;
        match (&self.way, bundle.to_str()) {
            (Route::This(_), Some(path)) if *bundle != Layout::default().bundle() => vec!["--bundle", path],
            _ => Vec::new(),
        }
    }
}

/// Counts a file's bytes while they go, so that those of a transfer that was cut count, too.
struct Counted<'a> {
    machine: &'a Machine<'a>,
    so_far: AtomicU64,
}

impl<'a> Counted<'a> {
    fn new(machine: &'a Machine<'a>) -> Self {
        Self { machine, so_far: AtomicU64::new(u64::MAX) }
    }

    fn starts_at(&self, offset: u64) {
        self.so_far.store(offset, Ordering::Relaxed);
    }

    /// A resumed transfer begins with what was there: its first piece is at most this long.
    fn reached(&self, done: u64) {
        const PIECE: u64 = 128 * 1024;
        let before = self.so_far.swap(done, Ordering::Relaxed);
        let before = if before == u64::MAX { done.saturating_sub(PIECE) } else { before };
        self.machine.count(done.saturating_sub(before));
    }
}

fn parse(text: &str) -> Result<Inventory, HostFailure> {
    serde_json::from_str(text.trim()).map_err(|_| FleetError::Agent { said: text.chars().take(200).collect() }.into())
}

fn ended(words: &[&str], code: Option<i32>, said: String) -> HostFailure {
    // Arguments may be a whole script.
    let command = words.iter().take(4).filter(|word| !word.contains('\n')).copied().collect::<Vec<_>>().join(" ");
    let status = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    FleetError::Command { command, status, said }.into()
}

/// True when a host cannot be reached at all, which is no wonder for one that is to go.
pub(crate) fn is_unreachable(failure: &HostFailure) -> bool {
    ["JUNIO-SSH-RESOLVE", "JUNIO-SSH-REFUSED", "JUNIO-SSH-UNREACHABLE", "JUNIO-SSH-TIMEOUT"]
        .contains(&failure.code.as_str())
}
