//! Waiting for a condition on a host or cluster that offers no event to a test.

use std::time::{Duration, Instant};

/// Asks `condition` until it answers `Ok`, and returns the answer. An `Err` says what is the case now; the last one is part of
/// the message when `deadline` passes. `what` says what is waited for, as in "waited for ...".
pub async fn wait_until<T, F>(what: &str, deadline: Duration, mut condition: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(answer) => return answer,
            Err(now) if started.elapsed() >= deadline => {
                panic!("waited {} s for {what}; last seen: {now}", deadline.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
