//! Compiles the pause program, a static C program of some kB.

use std::path::{Path, PathBuf};
use std::process::Command;

use junio_api::versions;
use junio_bundle::sha256;

use crate::error::{BuildError, run};

/// Compiles it where it is not in the cache.
pub fn compile(source: &Path, cache: &Path) -> Result<PathBuf, BuildError> {
    let code = source.join("pause/pause.c");
    let content = std::fs::read(&code).map_err(BuildError::io("read", &code))?;
    let flags = ["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror"];
    let define = format!("-DVERSION=\"{}\"", versions::PAUSE);
    let inputs = format!("{}{flags:?}{define}", sha256(&content));
    let directory = cache.join("pause").join(&sha256(inputs.as_bytes())[..16]);
    let path = directory.join("pause");
    if !path.exists() {
        std::fs::create_dir_all(&directory).map_err(BuildError::io("create", &directory))?;
        let temporary = directory.join("pause.part");
        run(
            Command::new("musl-gcc").args(flags).arg(define).arg("-o").arg(&temporary).arg(&code),
            "install musl-tools",
        )?;
        std::fs::rename(&temporary, &path).map_err(BuildError::io("rename", &temporary))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// As process 1 of a new PID namespace, which is what it is in a pod; a child is orphaned to it first.
    fn start(directory: &Path) -> Child {
        let pause = compile(Path::new("."), directory).expect("compile");
        Command::new("unshare")
            .args(["--fork", "--pid", "--kill-child", "sh", "-c", "(sleep 0.2 &); exec \"$0\""])
            .arg(&pause)
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare")
    }

    fn children(parent: u32) -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn it_reaps_orphans_and_ends_at_once_on_sigterm() {
        let directory = tempfile::tempdir().expect("directory");
        let mut unshare = start(directory.path());
        let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        until("pause runs", || children(unshare.id()).first().is_some_and(|pid| name(*pid) == "pause\n"));
        let pause = children(unshare.id())[0];
        until("the orphan is gone, not a zombie", || children(pause).is_empty());
        let start = Instant::now();
        run(Command::new("kill").args(["-TERM", &pause.to_string()]), "kill is part of procps").expect("kill");
        assert!(unshare.wait().expect("wait").success());
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}
