//! Where the product's files are that go onto hosts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use junio_lab::Payload;

/// The `junioadm` that cargo built for this test run.
pub fn junioadm_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_junioadm"))
}

/// `junioadm` on this machine with the bundle of `make build`, to be started.
pub fn junioadm_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(junioadm_path());
    command.args(arguments).env("JUNIOADM_BUNDLE", bundle_path());
    command
}

/// Runs `junioadm` on this machine and waits for it.
pub fn junioadm(arguments: &[&str]) -> Output {
    junioadm_command(arguments).output().expect("junioadm starts")
}

/// junioadm, junio-kubelet and the bundle as `make build` left them. Without them the test fails: it must not pass unseen.
pub fn payload() -> Payload {
    Payload::around(junioadm_path(), Some(&bundle_path())).expect("the product is built (make build)")
}

fn bundle_path() -> PathBuf {
    if let Some(path) = std::env::var_os("JUNIOADM_BUNDLE") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.expect("HOME is set").join("junioadm/bundle.jbundle")
}
