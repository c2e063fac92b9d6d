//! The image of a lab host: a small Debian root with systemd, sshd and Docker Engine, made by mmdebstrap.
//!
//! The recipe (package list and the files of `lab/node`) is embedded here; its hash is part of the image's tag and of the
//! cached archive's name, so that a changed recipe is built anew and an unchanged one never.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use crate::engine::{LABEL_IMAGE, is_absent};
use crate::state::{cache_dir, lock};
use crate::{LabError, Progress};

/// The Debian release of a lab's hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Suite {
    /// Debian 12: Docker 20.10, the oldest engine that is supported.
    #[default]
    Bookworm,
    /// Debian 13: Docker 26.
    Trixie,
}

impl Suite {
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Packages beyond a minimal root. What a plain host with Docker has, and what tests look at a host with.
    fn packages(self) -> String {
        let mut packages =
            "systemd,systemd-sysv,dbus,openssh-server,docker.io,iptables,nftables,ipset,iproute2,iputils-ping,\
             conntrack,kmod,procps,curl,ca-certificates,sudo,busybox-static,socat,ethtool,openssl"
                .to_owned();
        // From trixie on the client is a package of its own.
        if self == Self::Trixie {
            packages.push_str(",docker-cli");
        }
        packages
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| format!("no such suite: {name} (bookworm or trixie)"))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The recipe's files: name, mode, content.
const FILES: [(&str, u32, &str); 5] = [
    ("customize.sh", 0o755, include_str!("../node/customize.sh")),
    ("lab-init", 0o755, include_str!("../node/lab-init")),
    ("lab-resolver", 0o755, include_str!("../node/lab-resolver")),
    ("lab-resolver.service", 0o644, include_str!("../node/lab-resolver.service")),
    ("lab-host-keys.service", 0o644, include_str!("../node/lab-host-keys.service")),
];

/// What mmdebstrap is told besides the packages.
const OPTIONS: [&str; 8] = [
    "--quiet",
    "--variant=minbase",
    "--mode=root",
    "--aptopt=APT::Install-Recommends \"false\"",
    // a machine's mirror may be a snapshot past its date
    "--aptopt=Acquire::Check-Valid-Until \"false\"",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
];

/// The first 12 hex digits of the SHA-256 of all that makes the image.
fn recipe_hash(suite: Suite) -> String {
    let mut hash = Sha256::new();
    for part in [suite.name(), &suite.packages()].into_iter().chain(OPTIONS).chain(FILES.map(|(_, _, content)| content))
    {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..6])
}

/// Makes sure that the engine has the image and returns its name. Slow only once per recipe and machine.
pub(crate) async fn ensure(
    docker: &Docker,
    suite: Suite,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<String, LabError> {
    let tag = format!("{suite}-{}", recipe_hash(suite));
    let image = format!("junioadm-lab-host:{tag}");
    let _one_builder = lock(&format!("image-{suite}.lock")).await?;
    match docker.inspect_image(&image).await {
        Ok(_) => return Ok(image),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(LabError::engine(format!("look for the image {image}"))(error)),
    }
    let archive = cache_dir()?.join(format!("host-{tag}.tar"));
    if !archive.exists() {
        progress.step(&format!("building the image of a {suite} lab host (under a minute, once)"));
        build(suite, &archive, cancel).await?;
        remove_older(suite, &archive);
    }
    progress.step(&format!("importing the image of a {suite} lab host"));
    import(docker, &archive, &tag, suite).await?;
    Ok(image)
}

async fn build(suite: Suite, archive: &Path, cancel: &CancellationToken) -> Result<(), LabError> {
    let cache = cache_dir()?;
    let recipe = cache.join(format!("recipe-{suite}"));
    fs::create_dir_all(&recipe).map_err(LabError::file("create", &recipe))?;
    for (name, mode, content) in FILES {
        let path = recipe.join(name);
        fs::write(&path, content).map_err(LabError::file("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(LabError::file("set the mode of", &path))?;
    }
    let log_path = cache.join(format!("build-{suite}.log"));
    let log = File::create(&log_path).map_err(LabError::file("create", &log_path))?;
    let errors = log.try_clone().map_err(LabError::file("open", &log_path))?;
    // mmdebstrap tells a tar from a directory by the name's ending
    let part = cache.join(format!(".part-{suite}.tar"));
    let spawned = Command::new("mmdebstrap")
        .args(OPTIONS)
        .arg(format!("--include={}", suite.packages()))
        .arg(format!("--customize-hook={}", recipe.join("customize.sh").display()))
        .args([suite.name().as_ref(), part.as_os_str()])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LabError::ToolMissing { program: "mmdebstrap" });
        }
        Err(error) => return Err(LabError::file("run", "mmdebstrap")(error)),
    };
    let status = tokio::select! {
        status = child.wait() => status,
        () = cancel.cancelled() => {
            // it has mounts to take down: ask, and wait until it has
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let _ = child.wait().await;
            let _ = fs::remove_file(&part);
            return Err(LabError::Interrupted);
        }
    };
    let status = status.map_err(LabError::file("wait for", "mmdebstrap"))?;
    let _ = fs::remove_dir_all(&recipe);
    if !status.success() {
        let _ = fs::remove_file(&part);
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let last_line = text.lines().rev().find(|line| line.starts_with("E:")).or(text.lines().last());
        return Err(LabError::ImageBuild {
            suite: suite.name(),
            log: log_path,
            last_line: last_line.unwrap_or("no output").to_owned(),
        });
    }
    fs::rename(&part, archive).map_err(LabError::file("rename", &part))
}

/// Archives of earlier recipes of this suite are of no more use.
fn remove_older(suite: Suite, keep: &Path) {
    let Some(directory) = keep.parent() else { return };
    let prefix = format!("host-{suite}-");
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path: PathBuf = entry.path();
        if path != keep && entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(path);
        }
    }
}

async fn import(docker: &Docker, archive: &Path, tag: &str, suite: Suite) -> Result<(), LabError> {
    let file = tokio::fs::File::open(archive).await.map_err(LabError::file("open", archive))?;
    let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 1 << 20));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("junioadm-lab-host")
        .tag(tag)
        .changes(vec![
            "ENTRYPOINT [\"/usr/local/sbin/lab-init\"]".to_owned(),
            // how systemd knows that it is in a container
            "ENV container=docker".to_owned(),
            format!("LABEL {LABEL_IMAGE}={suite}"),
        ])
        .build();
    let mut answers = std::pin::pin!(docker.create_image(Some(options), Some(body), None));
    while let Some(answer) = answers.next().await {
        answer.map_err(LabError::engine(format!("import {}", archive.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_recipes_of_their_own() {
        assert_ne!(recipe_hash(Suite::Bookworm), recipe_hash(Suite::Trixie));
        assert_eq!(recipe_hash(Suite::Bookworm), recipe_hash(Suite::Bookworm));
        assert_eq!("trixie".parse::<Suite>(), Ok(Suite::Trixie));
        assert!("sid".parse::<Suite>().is_err());
    }

    #[test]
    fn package_lists_have_no_blanks() {
        for suite in Suite::ALL {
            assert!(!suite.packages().contains(char::is_whitespace), "{}", suite.packages());
        }
    }
}
