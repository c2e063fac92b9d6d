//! Asks the engine again and again whether it answers. Its event stream tells of one that is gone; one that hangs keeps its
//! connections and says nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::manager::RuntimeDown;
use crate::error_chain::chain;
use crate::runtime::PodRuntime;

const PERIOD: Duration = Duration::from_secs(5);
/// An engine that is only busy answers the question for its version sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for ever. Silence counts from the question on.
pub async fn watch(runtime: Arc<dyn PodRuntime>, down: watch::Sender<RuntimeDown>) {
    loop {
        let asked = Instant::now();
        let cause = match tokio::time::timeout(PATIENCE, runtime.version()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some(format!("the container engine did not answer within {} s", PATIENCE.as_secs())),
        };
        note(&down, cause, asked);
        tokio::time::sleep(PERIOD).await;
    }
}

fn note(down: &watch::Sender<RuntimeDown>, cause: Option<String>, asked: Instant) {
    down.send_if_modified(|known| match (cause, known.take()) {
        (Some(cause), Some((_, since))) => {
            *known = Some((cause, since));
            false
        }
        (Some(cause), None) => {
            tracing::warn!(cause, "the container engine is silent");
            *known = Some((cause, asked));
            true
        }
        (None, before) => before.is_some(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_first_question_without_an_answer() {
        let (down, state) = watch::channel(None);
        let start = Instant::now();
        note(&down, Some("a".to_owned()), start);
        note(&down, Some("b".to_owned()), start + PERIOD);
        assert_eq!(*state.borrow(), Some(("b".to_owned(), start)));
        note(&down, None, start + PERIOD * 2);
        assert_eq!(*state.borrow(), None);
    }
}
