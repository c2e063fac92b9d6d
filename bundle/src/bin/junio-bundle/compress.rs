//! Compresses parts, two at a time, with the finished frames kept in the cache.
//!
//! Each frame is made by one thread with fixed parameters, so the same content gives the same bytes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use junio_bundle::sha256;

use crate::error::BuildError;

const THREADS: usize = 2;

/// Window of the slow levels (128 MiB): what a reader of the bundle accepts at most.
const LONG_WINDOW: u32 = 27;

/// Content on its way into a bundle.
pub struct Content {
    /// For people, for example `layer kubernetes`.
    pub name: String,
    pub sha256: String,
    pub bytes: Vec<u8>,
}

impl Content {
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), sha256: sha256(&bytes), bytes }
    }
}

/// One frame for each content, in the same order.
pub fn compress(contents: &[Content], level: i32, cache: &Path) -> Result<Vec<Vec<u8>>, BuildError> {
    let directory = cache.join("zstd");
    std::fs::create_dir_all(&directory).map_err(BuildError::io("create", &directory))?;
    let mut order: Vec<usize> = (0..contents.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(contents[*index].bytes.len()));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*index, frame(&contents[*index], level, &directory)?));
        }
        Ok(done)
    };
    let results: Vec<Result<Vec<_>, BuildError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        let panicked = |_| Err(BuildError::Unexpected("a compressing thread panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut frames = vec![Vec::new(); contents.len()];
    for result in results {
        for (index, frame) in result? {
            frames[index] = frame;
        }
    }
    Ok(frames)
}

fn frame(content: &Content, level: i32, directory: &Path) -> Result<Vec<u8>, BuildError> {
    let path = directory.join(format!("{}-{level}.zst", content.sha256));
    if let Ok(cached) = std::fs::read(&path) {
        return Ok(cached);
    }
    let frame = encode(&content.bytes, level).map_err(BuildError::io("compress", &content.name))?;
    let temporary = path.with_extension("part");
    std::fs::write(&temporary, &frame).map_err(BuildError::io("write", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(BuildError::io("rename", &temporary))?;
    Ok(frame)
}

fn encode(bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    if level >= 10 {
        encoder.window_log(LONG_WINDOW)?;
        encoder.long_distance_matching(true)?;
    }
    std::io::Write::write_all(&mut encoder, bytes)?;
    encoder.finish()
}
