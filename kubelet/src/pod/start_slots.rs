//! How many containers the engine starts at a time. Starting is work of the host's processors (runc, the engine, CNI
//! plugins): a burst started all at once takes longer than the same in turns, and every pod of it gets Ready late.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Starts at a time for each processor, measured in docs/BENCH.md with 20 pods at once.
const PER_PROCESSOR: usize = 2;
const LEAST: usize = 4;

/// Turns for starts, first come, first served. Containers have turns of their own, so that pods whose sandbox runs are
/// finished before more sandboxes are begun.
pub struct StartSlots {
    sandboxes: Semaphore,
    containers: Semaphore,
}

impl StartSlots {
    #[must_use]
    pub fn new(processors: usize) -> Self {
        let at_a_time = (processors * PER_PROCESSOR).max(LEAST);
        Self { sandboxes: Semaphore::new(at_a_time), containers: Semaphore::new(at_a_time) }
    }

    /// A turn for a sandbox and its network; `None` never happens while this lives.
    pub async fn sandbox(&self) -> Option<SemaphorePermit<'_>> {
        self.sandboxes.acquire().await.ok()
    }

    /// A turn for one container.
    pub async fn container(&self) -> Option<SemaphorePermit<'_>> {
        self.containers.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sandboxes_wait_for_sandboxes_and_not_for_containers() {
        let slots = StartSlots::new(1);
        let mut held = Vec::new();
        for _ in 0..LEAST {
            held.push(slots.sandbox().await);
        }
        assert!(slots.sandboxes.try_acquire().is_err(), "{LEAST} at a time");
        assert!(slots.container().await.is_some());
        held.pop();
        assert!(slots.sandbox().await.is_some());
    }
}
