//! The engine's events, filtered to this kubelet's containers. An event only says "look again".

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::EventMessage;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::client::DockerRuntime;
use super::labels;
use super::socket::SocketError;
use crate::error_chain::chain;
use crate::runtime::RuntimeEvent;

const BACKLOG: usize = 256;
/// Pauses between attempts to reach an engine that is down.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl DockerRuntime {
    /// Begins with `Resync` once the subscription stands: what is listed afterwards cannot miss a change.
    pub(super) fn event_stream(&self) -> BoxStream<'static, RuntimeEvent> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let runtime = self.clone();
        let mut early = self.inner.early.subscribe();
        tokio::spawn(async move {
            let other = sender.clone();
            let forward_early = async {
                loop {
                    match early.recv().await {
                        Ok(event) => {
                            if other.send(event).await.is_err() {
                                return;
                            }
                        }
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            };
            tokio::select! {
                () = other.closed() => {}
                () = runtime.follow_events(sender.clone()) => {}
                () = forward_early => {}
            }
        });
        Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        }))
    }

    /// Returns when nobody listens any more.
    async fn follow_events(&self, sender: mpsc::Sender<RuntimeEvent>) {
        let mut since = None;
        let mut pause = FIRST_PAUSE;
        let mut down = false;
        loop {
            match self.subscribe(since).await {
                Ok(body) => {
                    if sender.send(RuntimeEvent::Resync).await.is_err() {
                        return;
                    }
                    down = false;
                    if self.forward(body, &sender, &mut since, &mut pause).await.is_none() {
                        return;
                    }
                    tracing::warn!("the engine ended its event stream");
                }
                Err(error) => {
                    if !down && sender.send(RuntimeEvent::Down(chain(&error))).await.is_err() {
                        return;
                    }
                    down = true;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn subscribe(&self, since: Option<i64>) -> Result<Incoming, SocketError> {
        let filters = serde_json::json!({
            "type": ["container"],
            "event": ["start", "die", "destroy"],
            "label": [labels::owner_filter(&self.inner.options.owner)],
        });
        let mut path = format!("/events?filters={}", escape(&filters.to_string()));
        if let Some(nanos) = since {
            const SECOND: i64 = 1_000_000_000;
            path += &format!("&since={}.{:09}", nanos / SECOND, nanos % SECOND);
        }
        self.inner.socket.get(&path).await
    }

    /// `None` when nobody listens any more; `Some` when the stream ended.
    async fn forward(
        &self,
        mut body: Incoming,
        sender: &mpsc::Sender<RuntimeEvent>,
        since: &mut Option<i64>,
        pause: &mut Duration,
    ) -> Option<()> {
        let mut pending = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            pending.extend_from_slice(data);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let Ok(message) = serde_json::from_slice::<EventMessage>(&line) else {
                    tracing::debug!(line = %String::from_utf8_lossy(&line), "an event was not understood");
                    continue;
                };
                *pause = FIRST_PAUSE;
                // One nanosecond later, or the last event comes again.
                *since = message.time_nano.map(|nanos| nanos + 1).or(*since);
                if self.told_early(&message) {
                    continue;
                }
                if let Some(event) = convert(message) {
                    sender.send(event).await.ok()?;
                }
            }
        }
        Some(())
    }

    fn told_early(&self, message: &EventMessage) -> bool {
        let id = message.actor.as_ref().and_then(|actor| actor.id.as_deref());
        message.action.as_deref() == Some("die") && id.is_some_and(|id| self.announced().contains(id))
    }
}

fn convert(message: EventMessage) -> Option<RuntimeEvent> {
    let mut attributes: HashMap<String, String> = message.actor?.attributes?;
    let pod_uid = attributes.remove(labels::POD_UID)?;
    let container = attributes.remove(labels::CONTAINER_NAME)?;
    match message.action?.as_str() {
        "start" => Some(RuntimeEvent::Started { pod_uid, container }),
        "die" => Some(RuntimeEvent::Died { pod_uid, container }),
        "destroy" => Some(RuntimeEvent::Removed { pod_uid, container }),
        _ => None,
    }
}

/// Percent-encodes everything but letters and digits (RFC 3986).
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
