//! Static pods from a directory: inotify for speed, a relist as the safety net.
//!
//! A file that became unreadable keeps its last good pod: half-written or broken edits must not stop a control plane.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;

use super::{SourceUpdate, static_pod};
use crate::pod::facts;

/// Largest manifest that is read.
const MAX_BYTES: u64 = 10 << 20;

/// Reads the manifests for ever and tells the full set whenever it has changed, the first time at once.
pub struct FileSource {
    pub directory: PathBuf,
    pub node: String,
    pub period: Duration,
    pub updates: mpsc::Sender<SourceUpdate>,
}

/// One manifest as it was last read.
struct File {
    text: String,
    pod: Option<Arc<Pod>>,
}

type Known = BTreeMap<PathBuf, File>;

impl FileSource {
    /// Ends when nobody listens any more.
    pub async fn run(self) {
        let mut known = Known::new();
        let mut told = false;
        loop {
            // The watch is set before the directory is read, so that no change falls between the two.
            let mut events = self.watch();
            loop {
                if self.refresh(&mut known) || !told {
                    told = true;
                    let pods = known.values().filter_map(|file| file.pod.clone()).collect();
                    if self.updates.send(SourceUpdate::Static(pods)).await.is_err() {
                        return;
                    }
                }
                let Some(events) = &mut events else { break };
                match tokio::time::timeout(self.period, events.next()).await {
                    Ok(Some(Ok(event)))
                        if !event
                            .mask
                            .intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) => {}
                    // The relist; the watch is made anew in case the directory is another one by now.
                    Err(_) | Ok(_) => break,
                }
            }
            if events.is_none() {
                tokio::time::sleep(self.period.min(Duration::from_secs(1))).await;
            }
        }
    }

    /// `None` while the directory does not exist.
    fn watch(&self) -> Option<EventStream<Vec<u8>>> {
        let inotify = Inotify::init().ok()?;
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        inotify.watches().add(&self.directory, mask).ok()?;
        inotify.into_event_stream(vec![0; 4096]).ok()
    }

    /// Reads the directory; true if any pod changed.
    fn refresh(&self, known: &mut Known) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            let had = !known.is_empty();
            known.clear();
            return had;
        };
        let paths: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        let before = known.len();
        known.retain(|path, _| paths.contains(path));
        let mut changed = known.len() != before;
        for path in paths {
            changed |= self.refresh_file(path, known);
        }
        changed
    }

    fn refresh_file(&self, path: PathBuf, known: &mut Known) -> bool {
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read static pod manifest");
                return false;
            }
        };
        if known.get(&path).is_some_and(|file| file.text == text) {
            return false;
        }
        match static_pod::parse(&text, &path, &self.node, Timestamp::now()) {
            Ok(pod) => {
                let changed = known
                    .get(&path)
                    .and_then(|file| file.pod.as_ref())
                    .is_none_or(|old| facts::uid(old) != facts::uid(&pod));
                let pod =
                    if changed { Some(Arc::new(pod)) } else { known.get(&path).and_then(|file| file.pod.clone()) };
                known.insert(path, File { text, pod });
                changed
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "static pod manifest is unusable, its last good version stays");
                let pod = known.get(&path).and_then(|file| file.pod.clone());
                known.insert(path, File { text, pod });
                false
            }
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(std::io::Error::other("larger than 10 MiB"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i:1}]}\n";

    async fn names(updates: &mut mpsc::Receiver<SourceUpdate>) -> Vec<String> {
        match tokio::time::timeout(Duration::from_secs(10), updates.recv())
            .await
            .expect("an update in time")
            .expect("source lives")
        {
            SourceUpdate::Static(pods) => pods.iter().map(|pod| facts::name(pod).to_owned()).collect(),
            other => panic!("unexpected {other:?}"),
        }
    }

    #[tokio::test]
    async fn changes_of_the_directory_are_told() {
        let directory = tempfile::tempdir().expect("directory");
        let manifests = directory.path().join("manifests");
        let (sender, mut updates) = mpsc::channel(4);
        let source = FileSource {
            directory: manifests.clone(),
            node: "n".into(),
            period: Duration::from_millis(200),
            updates: sender,
        };
        let task = tokio::spawn(source.run());
        assert!(names(&mut updates).await.is_empty(), "a missing directory is an empty source");

        std::fs::create_dir(&manifests).expect("create");
        std::fs::write(manifests.join(".hidden"), POD).expect("write");
        std::fs::write(directory.path().join("a"), POD.replace("NAME", "a")).expect("write");
        std::fs::rename(directory.path().join("a"), manifests.join("a.yaml")).expect("rename");
        assert_eq!(names(&mut updates).await, ["a-n"]);

        std::fs::write(manifests.join("b.yaml"), POD.replace("NAME", "b")).expect("write");
        assert_eq!(names(&mut updates).await, ["a-n", "b-n"]);

        std::fs::write(manifests.join("a.yaml"), "broken: [").expect("write");
        std::fs::remove_file(manifests.join("b.yaml")).expect("remove");
        assert_eq!(names(&mut updates).await, ["a-n"], "a broken edit keeps the last good pod");

        std::fs::remove_file(manifests.join("a.yaml")).expect("remove");
        assert!(names(&mut updates).await.is_empty());
        task.abort();
    }
}
