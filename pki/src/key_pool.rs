//! Keys generated ahead of their use on all cores, because RSA key generation is on the critical path of `init`.
//!
//! A pool owns its threads; they stop after the key they are at when the pool is dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::PkiError;
use crate::key::{KeyAlgorithm, PrivateKey};

/// A source of fresh keys of one algorithm; shared by reference between threads.
pub struct KeyPool {
    algorithm: KeyAlgorithm,
    keys: Mutex<Receiver<Result<PrivateKey, PkiError>>>,
    wanted: Arc<AtomicUsize>,
}

impl KeyPool {
    /// Starts to generate `count` keys. Returns at once; taking more than `count` works too and generates in the caller.
    #[must_use]
    pub fn start(algorithm: KeyAlgorithm, count: usize) -> Self {
        let (sender, receiver) = mpsc::channel();
        let wanted = Arc::new(AtomicUsize::new(count));
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(count);
        for index in 0..threads {
            let (sender, wanted) = (sender.clone(), Arc::clone(&wanted));
            let spawned = thread::Builder::new().name(format!("keygen-{index}")).spawn(move || {
                while wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    if sender.send(PrivateKey::generate(algorithm)).is_err() {
                        return;
                    }
                }
            });
            if spawned.is_err() {
                break; // the caller's own thread generates what is missing
            }
        }
        Self { algorithm, keys: Mutex::new(receiver), wanted }
    }

    /// The next key; waits for one.
    pub fn take(&self) -> Result<PrivateKey, PkiError> {
        let next = self.keys.lock().unwrap_or_else(PoisonError::into_inner).recv();
        next.unwrap_or_else(|_| PrivateKey::generate(self.algorithm))
    }
}

impl Drop for KeyPool {
    fn drop(&mut self) {
        self.wanted.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_distinct_keys_even_beyond_its_count() {
        let pool = KeyPool::start(KeyAlgorithm::EcdsaP256, 2);
        let mut keys: Vec<_> = (0..4).map(|_| pool.take().expect("a key").public_spki()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }
}
