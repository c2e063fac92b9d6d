//! The debug log of one run: `/var/log/junioadm/COMMAND-TIME-PID.log`, mode 0600, the newest 20 are kept.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

const KEPT: usize = 20;

/// Starts logging: to a new file in `directory` when there is one, and to stderr from `-v 1` on. Returns the file's path;
/// `None` when there is no directory or it cannot be written (a run without root, a full disk): the run goes on without.
pub fn start(directory: Option<&Path>, command: &str, verbosity: u8) -> Option<PathBuf> {
    let opened = directory.and_then(|directory| open(directory, command).ok());
    let (path, file) = opened.map_or((None, None), |(path, file)| (Some(path), Some(file)));
    let to_file = file.map(|file| {
        fmt::layer().with_ansi(false).with_writer(Mutex::new(file)).with_filter(EnvFilter::new(
            "debug,hyper=info,hyper_util=info,rustls=info,h2=info,tower=info,kube_client=info",
        ))
    });
    let level = match verbosity {
        0 => None,
        1..=3 => Some("info"),
        4..=6 => Some("debug"),
        _ => Some("trace"),
    };
    let to_stderr = level.map(|level| fmt::layer().with_writer(io::stderr).with_filter(EnvFilter::new(level)));
    tracing_subscriber::registry().with(to_file).with(to_stderr).try_init().ok();
    path
}

fn open(directory: &Path, command: &str) -> io::Result<(PathBuf, File)> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    prune(directory);
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let path = directory.join(format!("{command}-{time}-{}.log", std::process::id()));
    let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

/// Removes all but the newest logs; the new one makes the number full.
fn prune(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut logs: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    logs.sort();
    for (_, path) in logs.iter().rev().skip(KEPT - 1) {
        fs::remove_file(path).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_log_is_private_and_old_ones_go() {
        let directory = tempfile::tempdir().expect("a directory");
        for n in 0..30 {
            fs::write(directory.path().join(format!("init-{n}.log")), "old").expect("writes");
        }
        let (path, _) = open(directory.path(), "init").expect("opens");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), KEPT);
    }
}
