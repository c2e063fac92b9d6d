//! The ssh-agent: which keys it has, and signatures with them. Private keys never leave it.

use std::path::Path;
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// An agent answers at once; only a signature may wait for a person.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Agent {
    pub client: AgentClient<UnixStream>,
    pub identities: Vec<AgentIdentity>,
}

impl Agent {
    /// Connects and lists the keys. `binding` tells the agent which host this is for, so that keys bound to hosts work.
    ///
    /// # Errors
    /// Why there are no keys to be had from it, in words.
    pub async fn open(socket: &Path, binding: Option<&AgentSessionBinding>) -> Result<Self, String> {
        let asked = timeout(ANSWER, async {
            let mut client = AgentClient::connect_uds(socket).await.map_err(|error| error.to_string())?;
            if let Some(binding) = binding {
                // agents before OpenSSH 8.9 do not know this request and need not
                let _ = client.bind_session(binding, false).await;
            }
            let identities = client.request_identities().await.map_err(|error| error.to_string())?;
            Ok(Self { client, identities })
        });
        asked.await.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())))
    }
}
