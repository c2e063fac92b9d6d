//! Tells at once when the network becomes usable or stops being so: a node is not Ready before.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio_util::task::AbortOnDropHandle;

use super::conf;

/// Between looks while the kernel gives no events: no inotify instance is left, or the directory went away.
const SLOW_LOOK: Duration = Duration::from_secs(1);

pub(super) fn start(conf_dir: PathBuf, bin_dirs: Vec<PathBuf>) -> (Receiver<bool>, AbortOnDropHandle<()>) {
    let (sender, receiver) = channel(conf::load(&conf_dir, &bin_dirs).is_ok());
    let task = tokio::spawn(async move { follow(&conf_dir, &bin_dirs, &sender).await });
    (receiver, AbortOnDropHandle::new(task))
}

async fn follow(conf_dir: &Path, bin_dirs: &[PathBuf], sender: &Sender<bool>) {
    loop {
        match watch(conf_dir, bin_dirs) {
            Ok(mut events) => {
                // After the watch stands, or a change in between would be missed.
                look(conf_dir, bin_dirs, sender);
                while let Some(Ok(event)) = events.next().await {
                    look(conf_dir, bin_dirs, sender);
                    if event.mask.contains(inotify::EventMask::IGNORED) {
                        break;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, dir = %conf_dir.display(), "cni configuration is polled"),
        }
        look(conf_dir, bin_dirs, sender);
        tokio::time::sleep(SLOW_LOOK).await;
    }
}

fn look(conf_dir: &Path, bin_dirs: &[PathBuf], sender: &Sender<bool>) {
    let usable = conf::load(conf_dir, bin_dirs).is_ok();
    sender.send_if_modified(|known| std::mem::replace(known, usable) != usable);
}

/// The configuration's directory is made if need be, as the packages of CNI plugins do; plugins are watched where
/// their directories exist.
fn watch(conf_dir: &Path, bin_dirs: &[PathBuf]) -> io::Result<EventStream<[u8; 4096]>> {
    std::fs::create_dir_all(conf_dir)?;
    let inotify = Inotify::init()?;
    let done = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
    inotify.watches().add(conf_dir, done | WatchMask::DELETE_SELF)?;
    for dir in bin_dirs {
        if let Err(error) = inotify.watches().add(dir, done) {
            tracing::debug!(%error, dir = %dir.display(), "cni plugins are not watched");
        }
    }
    inotify.into_event_stream([0; 4096])
}
