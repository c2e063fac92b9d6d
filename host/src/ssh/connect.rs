//! One connection with one host: TCP or a channel of the host before it, key exchange, the host's key. Not yet logged in.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use russh::client::{Config, Handle, connect_stream};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{ChannelOpenFailure, Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::SshError;
use super::client::{Client, Failure, HostIdentity, Shared, describe};
use super::known_hosts::KnownHosts;
use super::route::Hop;

/// After this many unanswered questions a host is gone.
const UNANSWERED: u32 = 3;

/// A host that we are connected with, and what is known about the connection.
pub(super) struct Link {
    pub handle: Handle<Client>,
    pub hop: Hop,
    pub identity: HostIdentity,
    pub shared: Shared,
}

impl Link {
    /// The error for a connection that ended while something was being done.
    pub fn lost(&self, during: impl Into<String>) -> SshError {
        let reason = self.shared.with(|report| report.ended.clone());
        SshError::Lost {
            host: self.hop.name.clone(),
            port: self.hop.port,
            during: during.into(),
            reason: reason.unwrap_or_else(|| "the host closed it".to_owned()),
        }
    }
}

/// Connects, through `before` when there is one.
pub(super) async fn link(hop: Hop, before: Option<&Link>) -> Result<Link, SshError> {
    let mut known = KnownHosts::load(&hop.known_hosts, hop.known_as.clone())
        .map_err(|(file, source)| SshError::KnownHosts { file, source })?;
    if let Some(file) = &hop.revoked {
        known.revoke(file).map_err(|source| SshError::KnownHosts { file: file.clone(), source })?;
    }
    let config = Arc::new(configuration(&hop, &known));
    match before {
        None => {
            let stream = dial(&hop).await?;
            shake_hands(hop, known, config, stream).await
        }
        Some(before) => {
            let opening = before.handle.channel_open_direct_tcpip(hop.host.clone(), hop.port.into(), "127.0.0.1", 0);
            let unreachable = |reason: String| SshError::Unreachable {
                host: hop.name.clone(),
                port: hop.port,
                via: Some(before.hop.name.clone()),
                reason,
            };
            let channel = match timeout(hop.connect_timeout, opening).await {
                Err(_) => return Err(late(&hop, "the connection is made through another host")),
                Ok(Ok(channel)) => channel,
                Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed))) => {
                    return Err(unreachable("that host could not connect with it".to_owned()));
                }
                Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
                    return Err(unreachable("that host forbids it (AllowTcpForwarding)".to_owned()));
                }
                Ok(Err(error)) => return Err(unreachable(describe(&error))),
            };
            shake_hands(hop, known, config, channel.into_stream()).await
        }
    }
}

fn late(hop: &Hop, during: &'static str) -> SshError {
    SshError::Timeout { host: hop.name.clone(), port: hop.port, seconds: hop.connect_timeout.as_secs(), during }
}

/// A TCP connection with the first address that takes it, all within the time for connecting.
async fn dial(hop: &Hop) -> Result<TcpStream, SshError> {
    let (host, port) = (hop.name.clone(), hop.port);
    let deadline = Instant::now() + hop.connect_timeout;
    let addresses: Vec<SocketAddr> = match timeout_at(deadline, lookup_host((hop.host.as_str(), port))).await {
        Err(_) => return Err(late(hop, "its name is resolved")),
        Ok(Err(source)) => return Err(SshError::Resolve { host: hop.host.clone(), source }),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Err(_) => return Err(late(hop, "the connection is made")),
            Ok(Err(error)) => last = error,
            Ok(Ok(stream)) => {
                prepare(&stream, hop).map_err(|error| SshError::Unreachable {
                    host,
                    port,
                    via: None,
                    reason: error.to_string(),
                })?;
                return Ok(stream);
            }
        }
    }
    match last.kind() {
        io::ErrorKind::ConnectionRefused => Err(SshError::Refused { host, port }),
        io::ErrorKind::TimedOut => Err(late(hop, "the connection is made")),
        _ => Err(SshError::Unreachable { host, port, via: None, reason: last.to_string() }),
    }
}

/// Small messages leave at once, and a link that is cut while data is on its way is noticed by the kernel.
fn prepare(stream: &TcpStream, hop: &Hop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let patience = (hop.keep_alive * (UNANSWERED + 1)).max(Duration::from_secs(1));
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &milliseconds).map_err(io::Error::from)
}

async fn shake_hands<S>(hop: Hop, known: KnownHosts, config: Arc<Config>, stream: S) -> Result<Link, SshError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Shared::default();
    let client = Client { hop: hop.clone(), known, shared: shared.clone() };
    let handle = match timeout(hop.connect_timeout, connect_stream(config, stream, client)).await {
        Err(_) => return Err(late(&hop, "keys are exchanged")),
        Ok(Err(Failure::Ours(error))) => return Err(*error),
        Ok(Err(Failure::Library(error))) => {
            return Err(SshError::Handshake { host: hop.name, port: hop.port, reason: describe(&error) });
        }
        Ok(Ok(handle)) => handle,
    };
    let Some(identity) = shared.with(|report| report.identity.clone()) else {
        let reason = "it showed no host key".to_owned();
        return Err(SshError::Handshake { host: hop.name, port: hop.port, reason });
    };
    Ok(Link { handle, hop, identity, shared })
}

fn configuration(hop: &Hop, known: &KnownHosts) -> Config {
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-junioadm_", env!("CARGO_PKG_VERSION")))),
        preferred: Preferred {
            key: Cow::Owned(key_algorithms(known)),
            host_key_certificates: if known.has_authority() {
                Cow::Owned(ALGORITHMS.to_vec())
            } else {
                Cow::Borrowed(&[])
            },
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(hop.keep_alive),
        keepalive_max: UNANSWERED as usize,
        nodelay: true,
        ..Config::default()
    }
}

/// What a host may sign with. No SHA-1: as OpenSSH since 8.8.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Kinds of keys that the host is known by come first, so that it shows one of those.
fn key_algorithms(known: &KnownHosts) -> Vec<Algorithm> {
    let is_known = |algorithm: &Algorithm| {
        known.keys().any(|key| {
            let of_key = key.algorithm();
            of_key == *algorithm || (of_key.is_rsa() && algorithm.clone().is_rsa())
        })
    };
    let (first, rest): (Vec<_>, Vec<_>) = ALGORITHMS.into_iter().partition(is_known);
    [first, rest].concat()
}
