//! Our side of the protocol's callbacks: the judgement about the host's key, and a no to whatever a host wants to open here.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::Channel;
use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::time::{Instant, sleep};

use super::known_hosts::{self, KnownHosts, Pin, Verdict};
use super::route::Hop;
use super::words::plain;
use super::{HostKeyPolicy, SshError};

/// Writing a key down takes a moment; whoever holds the lock longer is stuck.
const TURN: Duration = Duration::from_secs(5);

/// Who a host proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    /// `ssh-ed25519` and the like.
    pub algorithm: String,
    /// `SHA256:...`.
    pub fingerprint: String,
    /// Where the key, or the authority that signed it, stands: `FILE:LINE`.
    pub known_by: String,
    /// It was met for the first time and is written down now.
    pub pinned: bool,
}

/// What the handler tells the connection.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub identity: Option<HostIdentity>,
    /// Why the connection ended.
    pub ended: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Report>>);

impl Shared {
    pub fn with<T>(&self, look: impl FnOnce(&mut Report) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Client {
    pub hop: Hop,
    pub known: KnownHosts,
    pub shared: Shared,
}

/// An error of the library, or our own refusal.
#[derive(Debug)]
pub(super) enum Failure {
    Library(russh::Error),
    Ours(Box<SshError>),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Library(error)
    }
}

impl Client {
    async fn judge(&self, shown: &PublicKeyOrCertificate) -> Result<HostIdentity, SshError> {
        let key = shown.public_key();
        let verdict = match shown.certificate() {
            Some(certificate) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                self.known.judge_certificate(certificate, now)
            }
            None => self.known.judge(&key),
        };
        if verdict == Verdict::Unknown && self.hop.host_keys == HostKeyPolicy::AcceptNew {
            return self.accept(&key).await;
        }
        self.settle(&key, verdict, false)
    }

    async fn accept(&self, key: &PublicKey) -> Result<HostIdentity, SshError> {
        // without a file to write to, nothing would be remembered: that is no acceptance of the first key but of any key
        let Some(file) = self.hop.known_hosts.first() else { return self.settle(key, Verdict::Unknown, false) };
        let failed = |source| SshError::KnownHosts { file: file.clone(), source };
        let deadline = Instant::now() + TURN;
        loop {
            match known_hosts::pin(file, self.known.name(), key, self.hop.hash_known_hosts).map_err(failed)? {
                Pin::Done { verdict, added } => return self.settle(key, verdict, added),
                // the kernel tells nobody when a lock becomes free
                Pin::Busy if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
                Pin::Busy => {
                    return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked")));
                }
            }
        }
    }

    fn settle(&self, key: &PublicKey, verdict: Verdict, pinned: bool) -> Result<HostIdentity, SshError> {
        let (host, port) = (self.hop.name.clone(), self.hop.port);
        let (algorithm, fingerprint) = (known_hosts::named(key), known_hosts::fingerprint(key));
        match verdict {
            Verdict::Known(place) => Ok(HostIdentity { algorithm, fingerprint, known_by: place.to_string(), pinned }),
            Verdict::Unknown => Err(SshError::UnknownHostKey { host, port, algorithm, fingerprint }),
            Verdict::Revoked(at) => Err(SshError::RevokedHostKey { host, port, fingerprint, at: at.to_string() }),
            Verdict::BadCertificate(reason) => Err(SshError::HostCertificate { host, port, reason }),
            Verdict::Changed(known) => Err(SshError::ChangedHostKey {
                host,
                port,
                algorithm,
                fingerprint,
                file: known.first().map(|(place, _)| place.file.clone()).unwrap_or_default(),
                known: known.into_iter().map(|(place, key)| format!("{place} has {key}")).collect(),
                name: self.known.name().to_string(),
            }),
        }
    }
}

impl Handler for Client {
    type Error = Failure;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let identity = self.judge(shown).await.map_err(|error| Failure::Ours(Box::new(error)))?;
        self.shared.with(|report| report.identity = Some(identity));
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the host says: {}", plain(info.message.as_bytes())), Ok(()))
            }
            DisconnectReason::Error(Failure::Library(error)) => (describe(&error), Err(Failure::Library(error))),
            DisconnectReason::Error(ours) => ("refused by us".to_owned(), Err(ours)),
        };
        self.shared.with(|report| {
            report.ended.get_or_insert(text);
        });
        result
    }

    // A host has no business opening channels here. Dropping the handle of a request refuses it; the defaults accept.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

/// An error of the library in our words, where it has words that say little.
pub(super) fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::HUP | russh::Error::Disconnect | russh::Error::RecvError => "the host closed it".to_owned(),
        russh::Error::SendError => "it is closed".to_owned(),
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => "the host no longer answers".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the host closed it".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            "the host no longer answers".to_owned()
        }
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!("no algorithm for {kind:?} in common; the host offers {}", plain(theirs.join(", ").as_bytes()))
        }
        other => other.to_string(),
    }
}
