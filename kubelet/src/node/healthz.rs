//! `GET /healthz` on the loopback address: `ok` while the sync loop turns. kubeadm and systemd-less supervisors ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A sync loop that did not turn for this long is stuck.
const STUCK_SECONDS: i64 = 120;

/// When the sync loop turned last. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    last: Arc<AtomicI64>,
}

impl Heartbeat {
    /// The loop turns.
    pub fn beat(&self) {
        self.last.store(Timestamp::now().as_second(), Ordering::Relaxed);
    }

    /// False before the first turn and when the loop is stuck.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Timestamp::now().as_second() - self.last.load(Ordering::Relaxed) < STUCK_SECONDS
    }
}

/// Serves until the task is dropped.
pub async fn serve(address: SocketAddr, heartbeat: Heartbeat) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let heartbeat = heartbeat.clone();
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let path = std::str::from_utf8(&request[..length])
                .ok()
                .and_then(|text| text.split_whitespace().nth(1))
                .unwrap_or_default();
            let (status, body) = match path {
                "/healthz" | "/healthz/ping" | "/healthz/syncloop" | "/healthz/log" if heartbeat.is_alive() => {
                    ("200 OK", "ok")
                }
                "/healthz" | "/healthz/ping" | "/healthz/syncloop" | "/healthz/log" => {
                    ("500 Internal Server Error", "sync loop is stuck")
                }
                _ => ("404 Not Found", "404 page not found\n"),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}
