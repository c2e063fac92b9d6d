//! The part of systemd-logind's D-Bus interface that delays a shutdown (org.freedesktop.login1(5), "Inhibitor Locks").

use std::path::PathBuf;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use zbus::{Connection, MatchRule, MessageStream, OwnedFd, OwnedVariant, message};

const LOGIN: &str = "org.freedesktop.login1";
const LOGIN_PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// The name that upstream's kubelet uses, too.
const OVERRIDE: &str = "/etc/systemd/logind.conf.d/99-kubelet.conf";
const SIGHUP: i32 = 1;
/// logind reads its configuration again some time after the signal, and tells nobody when it has.
const RELOAD_TRIES: u32 = 6;
const RELOAD_FIRST: Duration = Duration::from_millis(100);

/// Why a shutdown cannot be delayed.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    #[error("{operation} by D-Bus")]
    Bus {
        operation: &'static str,
        #[source]
        source: Box<zbus::Error>,
    },
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("systemd-logind waits {allowed:?} at most and was asked for {wanted:?}")]
    TooShort { allowed: Duration, wanted: Duration },
    #[error("systemd-logind ended")]
    Ended,
}

fn bus(operation: &'static str) -> impl Fn(zbus::Error) -> ShutdownError {
    move |source| ShutdownError::Bus { operation, source: Box::new(source) }
}

/// While it lives, a shutdown waits.
pub(super) struct Lock {
    _descriptor: OwnedFd,
}

pub(super) struct Logind {
    connection: Connection,
}

impl Logind {
    pub async fn connect() -> Result<Self, ShutdownError> {
        Ok(Self { connection: Connection::system().await.map_err(bus("reach systemd"))? })
    }

    /// Makes logind wait for `wanted` if it would not: a file in its configuration, which it is told to read.
    pub async fn allow(&self, wanted: Duration) -> Result<(), ShutdownError> {
        if self.allowed().await? >= wanted {
            return Ok(());
        }
        let path = PathBuf::from(OVERRIDE);
        let text = format!("# of the kubelet\n[Login]\nInhibitDelayMaxSec={}\n", wanted.as_secs());
        let written = match path.parent().map(std::fs::create_dir_all) {
            Some(Err(error)) => Err(error),
            _ => std::fs::write(&path, text),
        };
        written.map_err(|source| ShutdownError::Write { path, source })?;
        let (path, manager) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let body = ("systemd-logind.service", "all", SIGHUP);
        self.connection
            .call_method(Some(SYSTEMD), path, Some(manager), "KillUnit", &body)
            .await
            .map_err(bus("have systemd-logind read its configuration"))?;
        let mut pause = RELOAD_FIRST;
        let mut allowed = Duration::ZERO;
        for _ in 0..RELOAD_TRIES {
            tokio::time::sleep(pause).await;
            pause *= 2;
            allowed = self.allowed().await?;
            if allowed >= wanted {
                return Ok(());
            }
        }
        Err(ShutdownError::TooShort { allowed, wanted })
    }

    /// How long logind waits for a lock.
    async fn allowed(&self) -> Result<Duration, ShutdownError> {
        let failed = bus("ask systemd-logind how long it waits");
        let (interface, body) = ("org.freedesktop.DBus.Properties", (MANAGER, "InhibitDelayMaxUSec"));
        let reply = self
            .connection
            .call_method(Some(LOGIN), LOGIN_PATH, Some(interface), "Get", &body)
            .await
            .map_err(&failed)?;
        let value: OwnedVariant = reply.body().deserialize().map_err(&failed)?;
        Ok(Duration::from_micros(u64::try_from(value).map_err(&failed)?))
    }

    /// Takes the lock.
    pub async fn inhibit(&self) -> Result<Lock, ShutdownError> {
        let failed = bus("take systemd-logind's lock");
        let body = ("shutdown", "kubelet", "Pods end before the node does", "delay");
        let reply = self
            .connection
            .call_method(Some(LOGIN), LOGIN_PATH, Some(MANAGER), "Inhibit", &body)
            .await
            .map_err(&failed)?;
        Ok(Lock { _descriptor: reply.body().deserialize().map_err(&failed)? })
    }

    /// `true` when a shutdown begins, `false` when it was called off. Ends with logind's connection.
    pub async fn shutdowns(&self) -> Result<impl Stream<Item = bool> + Unpin + use<>, ShutdownError> {
        let failed = bus("listen to systemd-logind");
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(LOGIN)
            .path(LOGIN_PATH)
            .interface(MANAGER)
            .member("PrepareForShutdown")
            .build()
            .map_err(&failed)?;
        let messages = MessageStream::for_match_rule(rule, &self.connection, None).await.map_err(&failed)?;
        Ok(messages.filter_map(|message| {
            std::future::ready(message.ok().and_then(|message| message.body().deserialize::<bool>().ok()))
        }))
    }
}
