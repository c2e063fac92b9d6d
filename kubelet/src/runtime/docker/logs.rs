//! Container output, read from the file that the engine's json-file driver writes: exact lines, times and partial
//! lines also for terminals, no work for the engine, and rotation is seen. Changes come by inotify.
//!
//! The driver cuts lines at 16 KiB; the pieces come out as separate `LogLine`s of which only the last has a newline.
//! As in upstream, `tail_lines` counts entries of the present file.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::stream::BoxStream;
use inotify::{Inotify, WatchMask};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::client::DockerRuntime;
use super::error::io as io_error;
use crate::runtime::{ContainerId, ContainerState, LogLine, LogOptions, RuntimeError};

type Line = Result<LogLine, RuntimeError>;

const CHUNK: usize = 64 * 1024;
/// Lines that wait for a slow reader.
const BACKLOG: usize = 256;

impl DockerRuntime {
    pub(super) async fn log_stream(
        &self,
        id: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Line>, RuntimeError> {
        // Also proves that the container exists.
        if matches!(self.inspect(&id.0).await?.state, ContainerState::Exited { .. }) {
            // The end may be known before the engine has written the last output.
            self.recorded_end(&id.0).await?;
        }
        let path = self.engine_log_path(id);
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let (runtime, id, options) = (self.clone(), id.clone(), options.clone());
        tokio::spawn(async move {
            let stop = sender.clone();
            tokio::select! {
                () = stop.closed() => {}
                result = runtime.send_log(&id, &path, &options, &sender) => {
                    if let Err(error) = result {
                        // Nobody listening is no error either.
                        sender.send(Err(io_error("read", path.display(), error))).await.ok();
                    }
                }
            }
        });
        Ok(Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|line| (line, receiver))
        })))
    }

    async fn send_log(
        &self,
        id: &ContainerId,
        path: &Path,
        options: &LogOptions,
        sender: &mpsc::Sender<Line>,
    ) -> io::Result<()> {
        // Before the first look at the file: nothing written in between can be missed.
        let mut changes = if options.follow { Some(watch(path)?) } else { None };
        let mut reader = Reader::new(path.to_path_buf(), options);
        let ended = self.recorded_end(&id.0);
        tokio::pin!(ended);
        let mut alive = options.follow;
        loop {
            reader = drain(reader, sender.clone()).await?;
            if !alive {
                return Ok(());
            }
            let Some(changes) = &mut changes else { return Ok(()) };
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                // The engine closes the log before it records the end, so one more look sees everything.
                _ = &mut ended => alive = false,
            }
        }
    }
}

/// The directory, because the file may come later and is replaced at rotation.
fn watch(path: &Path) -> io::Result<inotify::EventStream<[u8; 4096]>> {
    let inotify = Inotify::init()?;
    let dir = path.parent().unwrap_or(path);
    inotify.watches().add(dir, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::DELETE_SELF)?;
    inotify.into_event_stream([0; 4096])
}

/// Sends everything there is now. Files block, so this runs on a thread of its own.
async fn drain(mut reader: Reader, sender: mpsc::Sender<Line>) -> io::Result<Reader> {
    tokio::task::spawn_blocking(move || {
        while let Some(line) = reader.next()? {
            if sender.blocking_send(Ok(line)).is_err() {
                break;
            }
        }
        Ok(reader)
    })
    .await
    .map_err(io::Error::other)?
}

struct Reader {
    path: PathBuf,
    file: Option<File>,
    tail: Option<u64>,
    since: Option<Timestamp>,
    /// The end of the last chunk, without its newline yet.
    partial: Vec<u8>,
    lines: VecDeque<LogLine>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl Reader {
    fn new(path: PathBuf, options: &LogOptions) -> Self {
        Self {
            path,
            file: None,
            tail: options.tail_lines,
            since: options.since,
            partial: Vec::new(),
            lines: VecDeque::new(),
        }
    }

    /// `None`: nothing more at the moment.
    fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let Some(file) = self.open()? else { return Ok(None) };
            let mut chunk = vec![0; CHUNK];
            let count = file.read(&mut chunk)?;
            if count > 0 {
                self.take(&chunk[..count]);
            } else if !self.rotated()? {
                return Ok(None);
            }
        }
    }

    fn open(&mut self) -> io::Result<Option<&mut File>> {
        if self.file.is_none() {
            let mut file = match File::open(&self.path) {
                Ok(file) => file,
                // Not started yet, or between the two steps of a rotation.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            if let Some(count) = self.tail.take() {
                seek_to_tail(&mut file, count)?;
            }
            self.file = Some(file);
        }
        Ok(self.file.as_mut())
    }

    /// At the end of the present file: true if there is more to read, here (a truncated file, or what was written just
    /// before the rotation) or in a new file.
    fn rotated(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let newest = match std::fs::metadata(&self.path) {
            Ok(newest) => newest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let (ours, position) = (file.metadata()?, file.stream_position()?);
        if position < ours.len() {
            return Ok(true);
        }
        if newest.ino() != ours.ino() {
            self.file = None;
            self.partial.clear();
            return Ok(true);
        }
        if position > ours.len() {
            file.seek(SeekFrom::Start(0))?;
            self.partial.clear();
            return Ok(ours.len() > 0);
        }
        Ok(false)
    }

    fn take(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if let Some(line) = parse(&self.partial)
                && self.since.is_none_or(|since| line.timestamp >= since)
            {
                self.lines.push_back(line);
            }
            self.partial.clear();
        }
        self.partial.extend_from_slice(rest);
    }
}

/// Positions the file at the start of its last `count` lines.
fn seek_to_tail(file: &mut File, count: u64) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    // The newline that ends the last line is not counted; an unfinished last line is not one yet.
    let mut wanted = count.saturating_add(1);
    let mut chunk = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let piece = &mut chunk[..usize::try_from(end - start).unwrap_or(CHUNK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        for (offset, byte) in piece.iter().enumerate().rev() {
            if *byte == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    file.seek(SeekFrom::Start(start + offset as u64 + 1))?;
                    return Ok(());
                }
            }
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0)).map(|_| ())
}

/// `None` for a line that is not the driver's: after a crash of the host there can be zero bytes in the file.
fn parse(line: &[u8]) -> Option<LogLine> {
    let start = line.iter().position(|byte| *byte != 0)?;
    let entry: Entry<'_> = match serde_json::from_slice(&line[start..]) {
        Ok(entry) => entry,
        Err(error) => {
            tracing::debug!(%error, "a log line was skipped");
            return None;
        }
    };
    Some(LogLine {
        timestamp: entry.time.parse().ok()?,
        stderr: entry.stream == "stderr",
        text: entry.log.into_owned().into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(text: &str, second: u32) -> String {
        let log = serde_json::json!(text);
        format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:{second:02}.000000001Z\"}}\n")
    }

    fn texts(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = reader.next().expect("a readable file") {
            found.push(String::from_utf8(line.text).expect("text"));
        }
        found
    }

    #[test]
    fn tail_since_and_unfinished_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let all: String = (0..5).map(|number| entry(&format!("line {number}\n"), number)).collect();
        std::fs::write(&path, format!("{all}{{\"log\":\"unfin")).expect("a file");
        let read = |tail_lines, since: Option<&str>| {
            let since = since.map(|text| text.parse().expect("a time"));
            texts(&mut Reader::new(path.clone(), &LogOptions { tail_lines, since, follow: false }))
        };
        assert_eq!(read(None, None).len(), 5);
        assert_eq!(read(Some(2), None), ["line 3\n", "line 4\n"]);
        assert_eq!(read(Some(0), None), Vec::<String>::new());
        assert_eq!(read(Some(9), None).len(), 5);
        assert_eq!(read(Some(3), Some("2026-01-01T00:00:04Z")), ["line 4\n"]);
    }

    #[test]
    fn rotation_and_late_files_lose_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let mut reader = Reader::new(path.clone(), &LogOptions::default());
        assert_eq!(texts(&mut reader), Vec::<String>::new());
        std::fs::write(&path, entry("a\n", 1)).expect("a file");
        assert_eq!(texts(&mut reader), ["a\n"]);
        let mut old = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
        old.write_all(entry("b\n", 2).as_bytes()).expect("space");
        std::fs::rename(&path, dir.path().join("log.1")).expect("a rename");
        std::fs::write(&path, entry("c", 3) + &entry("d\n", 3)).expect("a file");
        assert_eq!(texts(&mut reader), ["b\n", "c", "d\n"]);
        std::fs::write(&path, entry("e\n", 4)).expect("a shorter file");
        assert_eq!(texts(&mut reader), ["e\n"]);
    }

    #[test]
    fn zero_bytes_of_a_crash_are_skipped() {
        let line = [b"\0\0\0".as_slice(), entry("x\n", 1).trim_end().as_bytes()].concat();
        assert_eq!(parse(&line).expect("a line").text, b"x\n");
        assert_eq!(parse(b"\0\0"), None);
        assert_eq!(parse(b"garbage"), None);
    }
}
