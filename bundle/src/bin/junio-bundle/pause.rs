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
