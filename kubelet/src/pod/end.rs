//! Asks the sync loop to end a pod, from anywhere, and waits until it has. The loop owns the workers.

use tokio::sync::{mpsc, oneshot};

use super::worker::End;

/// One wish.
pub struct EndRequest {
    pub uid: String,
    pub end: End,
    /// Told, or dropped, when nothing of the pod is left.
    pub done: oneshot::Sender<()>,
}

/// The wishing end. Clones are cheap.
#[derive(Clone)]
pub struct PodEnds {
    requests: mpsc::UnboundedSender<EndRequest>,
}

impl PodEnds {
    /// Both ends.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<EndRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Self { requests }, receiver)
    }

    /// Returns when no process and no volume of the pod is left; at once if there is no such pod.
    pub async fn end(&self, uid: &str, end: End) {
        let (done, ended) = oneshot::channel();
        if self.requests.send(EndRequest { uid: uid.to_owned(), end, done }).is_ok() {
            let _ = ended.await;
        }
    }
}
