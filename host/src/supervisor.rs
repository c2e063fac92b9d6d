//! Keeps one program running where systemd is not process 1. `junioadm supervise NAME` is this module and nothing else.
//!
//! The supervisor holds a file lock while it lives and writes its own and its child's process id into the locked file, so
//! that a crashed one is never taken for a running one, and a child that it left behind is ended before a new one starts.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use junio_api::Layout;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::HostError;
use crate::service::ServiceSpec;

const RESTART_PAUSE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);
/// How often the log's size is looked at, and at what size it becomes `LOG.1` and starts anew.
const LOG_LOOK: Duration = Duration::from_secs(30);
const LOG_LIMIT: u64 = 16 << 20;

/// Whether somebody keeps a service running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorState {
    Stopped,
    Running { pid: Pid, child: Option<Pid> },
}

/// Where the description of a supervised service is kept.
#[must_use]
pub fn description_path(layout: &Layout, name: &str) -> PathBuf {
    layout.junioadm_dir().join("services").join(format!("{name}.json"))
}

/// The locked file with the process ids.
#[must_use]
pub fn state_path(layout: &Layout, name: &str) -> PathBuf {
    layout.junioadm_dir().join("services").join(format!("{name}.pid"))
}

/// Looks whether a supervisor lives.
pub fn state(layout: &Layout, name: &str) -> Result<SupervisorState, HostError> {
    let path = state_path(layout, name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if crate::files::is_absent(&error) => return Ok(SupervisorState::Stopped),
        Err(source) => return Err(HostError::Read { path, source }),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_free) => Ok(SupervisorState::Stopped),
        Err((_, Errno::EWOULDBLOCK)) => {
            let (pid, child) = read_ids(&path);
            Ok(pid.map_or(SupervisorState::Stopped, |pid| SupervisorState::Running { pid, child }))
        }
        Err((_, errno)) => Err(HostError::Read { path, source: errno.into() }),
    }
}

fn read_ids(path: &Path) -> (Option<Pid>, Option<Pid>) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut ids = text.lines().map(|line| line.trim().parse().ok().map(Pid::from_raw));
    (ids.next().flatten(), ids.next().flatten())
}

/// Processes that run `program` in our process namespace: the ones of containers are not ours to see.
#[must_use]
pub fn processes(program: &Path) -> Vec<Pid> {
    // A program that was replaced while it ran has another name there.
    let deleted = PathBuf::from(format!("{} (deleted)", program.display()));
    find(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program || exe == deleted))
}

/// Supervisors of the service `name`, known by their command line, also when their state file was deleted.
#[must_use]
pub fn supervisors(name: &str) -> Vec<Pid> {
    find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        matches!(words.as_slice(), [program, b"supervise", service]
            if program.ends_with(b"junioadm") && *service == name.as_bytes())
    })
}

fn find(wanted: impl Fn(i32) -> bool) -> Vec<Pid> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = namespace("self");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| wanted(*pid) && namespace(&pid.to_string()) == ours)
        .map(Pid::from_raw)
        .collect()
}

/// Runs the service `name` of this host until SIGTERM or SIGINT; restarts the program a second after it ends.
pub async fn run(layout: &Layout, name: &str) -> Result<(), HostError> {
    // A session of its own: the terminal that started us may go away. It fails harmlessly when we lead one already.
    let _ = nix::unistd::setsid();
    let path = description_path(layout, name);
    let text = fs::read(&path).map_err(|source| HostError::Read { path, source })?;
    let service: ServiceSpec = serde_json::from_slice(&text)
        .map_err(|source| HostError::ServiceDescription { name: name.to_owned(), source })?;
    let mut state = StateFile::claim(&state_path(layout, name), &service.program)?;
    let kernel = |source| HostError::Kernel { call: "sigaction", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(kernel)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(kernel)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(kernel)?;
    let mut look = tokio::time::interval(LOG_LOOK);
    loop {
        let mut child = tokio::process::Command::new(&service.program)
            .args(arguments(&service))
            .spawn()
            .map_err(|source| HostError::Spawn { program: service.program.display().to_string(), source })?;
        state.set_child(child.id())?;
        let stop = loop {
            tokio::select! {
                ended = child.wait() => {
                    tracing::warn!(service = name, ?ended, "the service ended, starting it again");
                    break false;
                }
                _ = terminate.recv() => break true,
                _ = interrupt.recv() => break true,
                _ = hangup.recv() => {}
                _ = look.tick() => rotate(&service.log, LOG_LIMIT),
            }
        };
        if stop {
            if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// Copies a log that has become large and empties it. Its writers append, so they go on at its new end; what they write
/// between the two steps is lost.
fn rotate(log: &Path, limit: u64) {
    let is_large = fs::metadata(log).is_ok_and(|log| log.len() > limit);
    let mut older = log.as_os_str().to_owned();
    older.push(".1");
    if is_large {
        let emptied =
            fs::copy(log, &older).and_then(|_| OpenOptions::new().write(true).open(log)).and_then(|log| log.set_len(0));
        if let Err(error) = emptied {
            tracing::warn!(log = %log.display(), %error, "the log could not be rotated");
        }
    }
}

/// The arguments, with `$NAME` replaced by the words of that variable, as systemd does it.
fn arguments(service: &ServiceSpec) -> Vec<String> {
    let environment = fs::read_to_string(&service.environment_file).unwrap_or_default();
    service
        .args
        .iter()
        .flat_map(|arg| match arg.strip_prefix('$') {
            Some(name) => words(&environment, name),
            None => vec![arg.clone()],
        })
        .collect()
}

/// The words of `NAME="..."` in an environment file.
fn words(environment: &str, name: &str) -> Vec<String> {
    environment
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim().trim_matches('"').split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

struct StateFile {
    file: Flock<File>,
    path: PathBuf,
}

impl StateFile {
    fn claim(path: &Path, program: &Path) -> Result<Self, HostError> {
        let fail = |source| HostError::Write { path: path.to_owned(), source };
        let (_, orphan) = read_ids(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => HostError::Locked { path: path.to_owned(), owner: "another supervisor".to_owned() },
            other => fail(other.into()),
        })?;
        if let Some(orphan) = orphan.filter(|pid| processes(program).contains(pid)) {
            let _ = kill(orphan, Signal::SIGKILL);
        }
        let mut state = Self { file, path: path.to_owned() };
        state.set_child(None)?;
        Ok(state)
    }

    fn set_child(&mut self, child: Option<u32>) -> Result<(), HostError> {
        let fail = |source| HostError::Write { path: self.path.clone(), source };
        let text = format!("{}\n{}\n", std::process::id(), child.map_or_else(String::new, |id| id.to_string()));
        self.file.set_len(0).map_err(fail)?;
        self.file.seek(SeekFrom::Start(0)).map_err(fail)?;
        self.file.write_all(text.as_bytes()).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_environment_file_become_words() {
        let text = "OTHER=1\nKUBELET_KUBEADM_ARGS=\"--hostname-override=x --v=4\"\n";
        assert_eq!(words(text, "KUBELET_KUBEADM_ARGS"), ["--hostname-override=x", "--v=4"]);
        assert!(words("KUBELET_KUBEADM_ARGS=\"\"\n", "KUBELET_KUBEADM_ARGS").is_empty());
        assert!(words("", "X").is_empty());
    }

    #[test]
    fn a_large_log_starts_anew_and_its_writer_goes_on_at_the_new_end() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let log = directory.path().join("log");
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).expect("opened");
        writer.write_all(b"a long line").expect("written");
        rotate(&log, 100);
        assert_eq!(fs::read(&log).expect("readable"), b"a long line");
        rotate(&log, 10);
        writer.write_all(b"next").expect("written");
        assert_eq!(fs::read(&log).expect("readable"), b"next");
        assert_eq!(fs::read(directory.path().join("log.1")).expect("readable"), b"a long line");
    }

    #[test]
    fn our_own_process_is_found_by_its_program() {
        let program = std::env::current_exe().expect("a program");
        assert!(processes(&program).contains(&Pid::this()));
        assert!(processes(Path::new("/no/such/program")).is_empty());
        assert!(supervisors("no-such-service").is_empty());
    }

    #[tokio::test]
    async fn a_service_is_restarted_and_its_supervisor_is_seen_while_it_lives() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let marker = root.path().join("starts");
        let service = ServiceSpec {
            name: "counter".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), format!("echo x >> {}", marker.display())],
            environment_file: root.path().join("none"),
            log: root.path().join("log"),
        };
        let description = description_path(&layout, "counter");
        crate::files::create_dir(description.parent().expect("a parent"), 0o700).expect("created");
        fs::write(&description, serde_json::to_vec(&service).expect("plain data")).expect("written");
        assert_eq!(state(&layout, "counter").expect("readable"), SupervisorState::Stopped);
        let supervised = tokio::spawn({
            let layout = layout.clone();
            async move { run(&layout, "counter").await }
        });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&marker).map_or(0, |text| text.lines().count()) < 2 {
            assert!(tokio::time::Instant::now() < deadline, "not restarted: {:?}", supervised.is_finished());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(matches!(state(&layout, "counter").expect("readable"), SupervisorState::Running { .. }));
        supervised.abort();
        let _ = supervised.await;
        assert_eq!(state(&layout, "counter").expect("readable"), SupervisorState::Stopped);
    }
}
