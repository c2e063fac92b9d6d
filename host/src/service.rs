//! Services that outlive us: systemd units where systemd is process 1, otherwise a process of our own that keeps the
//! program running (`junioadm supervise NAME`, see [`crate::supervisor`]).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::error::HostError;
use crate::facts::InitSystem;
use crate::host::Host;
use crate::supervisor::{self, SupervisorState};

const STOP_SECONDS: u64 = 40;
/// systemd counts restarts since the last deliberate start.
const RESTARTS_OF_A_BROKEN_SERVICE: u32 = 3;

/// A service and, for supervised hosts, how its program is started. With systemd the unit file says that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Without `.service`.
    pub name: String,
    pub program: PathBuf,
    /// `$NAME` stands for the words of a variable of the environment file.
    pub args: Vec<String>,
    pub environment_file: PathBuf,
    pub log: PathBuf,
}

/// What is wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTrouble {
    pub state: String,
    pub last_lines: Vec<String>,
}

/// Who keeps services running on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceManager {
    Systemd,
    Supervised,
}

impl ServiceManager {
    #[must_use]
    pub fn of(init: &InitSystem) -> Self {
        match init {
            InitSystem::Systemd => Self::Systemd,
            InitSystem::Other => Self::Supervised,
        }
    }

    /// Starts a service, or starts it anew, and does not wait until it is ready. A changed unit file needs [`Self::reload`]
    /// first.
    pub async fn restart(self, host: &dyn Host, service: &ServiceSpec) -> Result<(), HostError> {
        match self {
            Self::Systemd => systemctl(host, &["restart", "--no-block", &service.name]).await,
            Self::Supervised => {
                self.stop(host, service).await?;
                spawn_supervisor(host, service).await
            }
        }
    }

    /// Lets it start at boot. A supervised host has no boot of its own: nothing to do.
    pub async fn enable(self, host: &dyn Host, name: &str) -> Result<(), HostError> {
        match self {
            Self::Systemd => systemctl(host, &["enable", "--quiet", name]).await,
            Self::Supervised => Ok(()),
        }
    }

    /// Stops it and waits until it is gone; one that is not there is fine. Processes of it that nobody knows of any more,
    /// because its unit or its description was deleted, are ended too.
    pub async fn stop(self, host: &dyn Host, service: &ServiceSpec) -> Result<(), HostError> {
        let name = &service.name;
        // A unit whose file was deleted is unknown and may be active.
        if self == Self::Systemd && (self.is_known(host, name).await? || self.is_active(host, name).await?) {
            systemctl(host, &["stop", name]).await?;
        }
        end(|| supervisor::supervisors(name), name).await?;
        end(|| supervisor::processes(&service.program), name).await
    }

    /// True while any process of it lives, known to its manager or not.
    pub async fn has_processes(self, host: &dyn Host, service: &ServiceSpec) -> Result<bool, HostError> {
        Ok(self.is_active(host, &service.name).await?
            || !supervisor::supervisors(&service.name).is_empty()
            || !supervisor::processes(&service.program).is_empty())
    }

    /// Forgets it at boot; to be called before its unit file is removed.
    pub async fn disable(self, host: &dyn Host, name: &str) -> Result<(), HostError> {
        match self {
            Self::Systemd if self.is_known(host, name).await? => {
                // A unit that failed stays in systemd's memory, also without its file; one that did not is no error to us.
                host.run(&Command::new("systemctl", ["reset-failed", name])).await?;
                systemctl(host, &["disable", "--quiet", name]).await
            }
            // Its file was deleted by hand: systemd does not look for its link any more.
            Self::Systemd => {
                let wants = host.layout().root().join("etc/systemd/system/multi-user.target.wants");
                host.remove_file(&wants.join(format!("{name}.service"))).await.map(|_| ())
            }
            Self::Supervised => {
                host.remove_file(&supervisor::description_path(host.layout(), name)).await?;
                host.remove_file(&supervisor::state_path(host.layout(), name)).await.map(|_| ())
            }
        }
    }

    /// Makes the manager read unit files anew.
    pub async fn reload(self, host: &dyn Host) -> Result<(), HostError> {
        match self {
            Self::Systemd => systemctl(host, &["daemon-reload"]).await,
            Self::Supervised => Ok(()),
        }
    }

    /// True while its program runs or is being started.
    pub async fn is_active(self, host: &dyn Host, name: &str) -> Result<bool, HostError> {
        match self {
            Self::Systemd => {
                let output = host.run(&Command::new("systemctl", ["is-active", name])).await?;
                Ok(matches!(output.stdout_text().as_str(), "active" | "activating" | "reloading"))
            }
            Self::Supervised => Ok(matches!(supervisor::state(host.layout(), name)?, SupervisorState::Running { .. })),
        }
    }

    /// True when its program has said that it is ready (systemd), or runs (supervised: nobody listens to what it says).
    pub async fn is_ready(self, host: &dyn Host, name: &str) -> Result<bool, HostError> {
        match self {
            Self::Systemd => {
                let output = host.run(&Command::new("systemctl", ["is-active", name])).await?;
                Ok(output.stdout_text() == "active")
            }
            Self::Supervised => self.is_active(host, name).await,
        }
    }

    /// A state from which the service does not recover by itself: it failed, or keeps ending.
    pub async fn trouble(self, host: &dyn Host, service: &ServiceSpec) -> Result<Option<ServiceTrouble>, HostError> {
        match self {
            Self::Systemd => {
                let query = Command::new(
                    "systemctl",
                    ["show", "--property=ActiveState,SubState,NRestarts,Result,ExecMainStatus", &service.name],
                );
                let output = host.run(&query).await?.stdout_text();
                let value = |key: &str| {
                    output.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
                };
                let restarts: u32 = value("NRestarts").parse().unwrap_or(0);
                if value("ActiveState") != "failed" && restarts < RESTARTS_OF_A_BROKEN_SERVICE {
                    return Ok(None);
                }
                let state = format!(
                    "{}, result {}, exit status {}, {restarts} restarts",
                    value("ActiveState"),
                    value("Result"),
                    value("ExecMainStatus")
                );
                let log = host
                    .run(&Command::new("journalctl", ["-u", &service.name, "-n", "20", "-o", "cat", "--no-pager"]))
                    .await?;
                Ok(Some(ServiceTrouble { state, last_lines: log.stdout_text().lines().map(str::to_owned).collect() }))
            }
            Self::Supervised => {
                // The supervisor starts the program again a second after it ends; one that never gets there has no supervisor.
                if self.is_active(host, &service.name).await?
                    || !supervisor::state_path(host.layout(), &service.name).exists()
                {
                    return Ok(None);
                }
                let log = host.read(&service.log).await?.unwrap_or_default();
                let text = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = text.lines().collect();
                let last_lines =
                    lines[lines.len().saturating_sub(20)..].iter().map(|line| (*line).to_owned()).collect();
                Ok(Some(ServiceTrouble { state: "its supervisor ended".to_owned(), last_lines }))
            }
        }
    }

    async fn is_known(self, host: &dyn Host, name: &str) -> Result<bool, HostError> {
        let output = host.run(&Command::new("systemctl", ["show", "--property=LoadState", "--value", name])).await?;
        Ok(output.stdout_text() == "loaded")
    }

    /// What a user types to see its log.
    #[must_use]
    pub fn log_command(self, service: &ServiceSpec) -> String {
        match self {
            Self::Systemd => format!("journalctl -u {}", service.name),
            Self::Supervised => format!("tail -n 50 {}", service.log.display()),
        }
    }
}

async fn systemctl(host: &dyn Host, args: &[&str]) -> Result<(), HostError> {
    host.run_ok(&Command::new("systemctl", args.iter().copied())).await.map(|_| ())
}

async fn spawn_supervisor(host: &dyn Host, service: &ServiceSpec) -> Result<(), HostError> {
    let layout = host.layout();
    let description = supervisor::description_path(layout, &service.name);
    if let Some(parent) = description.parent() {
        host.create_dir(parent, 0o700).await?;
    }
    let text = serde_json::to_vec_pretty(service)
        .map_err(|source| HostError::ServiceDescription { name: service.name.clone(), source })?;
    host.write(&description, &text, 0o600).await?;
    if let Some(parent) = service.log.parent() {
        host.create_dir(parent, 0o755).await?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&service.log)
        .map_err(|source| HostError::Write { path: service.log.clone(), source })?;
    let again = log.try_clone().map_err(|source| HostError::Write { path: service.log.clone(), source })?;
    let program =
        std::env::current_exe().map_err(|source| HostError::Spawn { program: "junioadm".to_owned(), source })?;
    // Not waited for: it outlives us by design, and process 1 reaps it.
    std::process::Command::new(&program)
        .args(["supervise", &service.name])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(again)
        .spawn()
        .map(|_| ())
        .map_err(|source| HostError::Spawn { program: program.display().to_string(), source })
}

/// Asks the processes to end and waits until they have.
async fn end(processes: impl Fn() -> Vec<Pid>, name: &str) -> Result<(), HostError> {
    let found = processes();
    for pid in &found {
        // Ended between the look and the signal is as good as stopped.
        let _ = kill(*pid, Signal::SIGTERM);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(STOP_SECONDS);
    while processes().iter().any(|pid| found.contains(pid)) {
        if tokio::time::Instant::now() > deadline {
            return Err(HostError::CommandTimeout { command: format!("stopping {name}"), seconds: STOP_SECONDS });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
