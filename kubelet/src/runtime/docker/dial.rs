//! TCP into a pod's loopback, for port-forward.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::client::DockerRuntime;
use super::error::io as io_error;
use crate::network::netns;
use crate::runtime::{ContainerState, RuntimeError, SandboxId};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl DockerRuntime {
    pub(super) async fn connect_inside(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<tokio::net::TcpStream, RuntimeError> {
        let seen = self.inspect(&sandbox.0).await?;
        let pid = seen.pid.filter(|_| matches!(seen.state, ContainerState::Running { .. })).ok_or_else(|| {
            RuntimeError::Refused {
                operation: "connect to",
                object: sandbox.0.clone(),
                message: "the sandbox is not running".to_owned(),
            }
        })?;
        let target = || format!("port {port} of sandbox {}", sandbox.0);
        // The socket stays in the namespace in which it was made, whatever thread uses it later.
        let stream = netns::within(PathBuf::from(format!("/proc/{pid}/ns/net")), move || connect(port))
            .await
            .map_err(|error| io_error("connect to", target(), error))?;
        tokio::net::TcpStream::from_std(stream).map_err(|error| io_error("connect to", target(), error))
    }
}

/// IPv4 first; a server that listens on `::1` alone is found too. The error is that of IPv4.
fn connect(port: u16) -> io::Result<TcpStream> {
    let reach = |address: SocketAddr| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
    let stream = reach((Ipv4Addr::LOCALHOST, port).into())
        .or_else(|error| reach((Ipv6Addr::LOCALHOST, port).into()).map_err(|_| error))?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
