//! The layer with iptables (legacy and nft), nft and the libraries they need, taken from Debian packages of the build
//! machine's suite. Nothing is installed: packages are downloaded and single files are taken out of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use junio_bundle::LayerBuilder;

use crate::error::{BuildError, run, run_text};
use crate::progress;

const HINT: &str = "this needs a Debian-like build machine with apt";
const ROOTS: [&str; 3] = ["iptables", "nftables", "netbase"];

/// Dependencies that only matter to dpkg, or to programs that are not taken.
const UNUSED: [&str; 4] = ["libgcc-s1", "gcc-12-base", "gcc-14-base", "libc-bin"];

/// The programs that are taken.
const PROGRAMS: [&str; 3] = ["usr/sbin/nft", "usr/sbin/xtables-legacy-multi", "usr/sbin/xtables-nft-multi"];

/// Of glibc, only what programs load.
const LIBC: [&str; 6] =
    ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2"];

/// Names under which the two xtables programs are called.
const TOOLS: [&str; 6] =
    ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

/// Where `bundle/go/xtables` looks for the directories of its two modes.
const MODES: &str = "usr/lib/junioadm/xtables";

/// A Debian package whose files are in the layer.
pub struct Package {
    pub name: String,
    pub version: String,
    /// Its copyright file.
    pub copyright: String,
}

/// The finished layer and where it comes from.
pub struct Xtables {
    pub layer: Vec<u8>,
    pub packages: Vec<Package>,
}

/// Downloads the packages that are not in the cache and makes the layer.
pub fn xtables(cache: &Path) -> Result<Xtables, BuildError> {
    let directory = cache.join("deb");
    std::fs::create_dir_all(&directory).map_err(BuildError::io("create", &directory))?;
    let mut files = BTreeMap::new();
    let mut packages = Vec::new();
    for archive in download(&names()?, &directory)? {
        packages.push(unpack(&archive, &mut files)?);
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    for program in PROGRAMS {
        if !files.contains_key(program) {
            return Err(BuildError::Unexpected(format!("no Debian package brought {program}")));
        }
    }
    let layer = layer(&files).map_err(BuildError::io("build the layer of", "xtables"))?;
    Ok(Xtables { layer, packages })
}

/// The root packages with all that they depend on.
fn names() -> Result<Vec<String>, BuildError> {
    let text = run_text(
        Command::new("apt-cache")
            .args([
                "depends",
                "--recurse",
                "--no-recommends",
                "--no-suggests",
                "--no-conflicts",
                "--no-breaks",
                "--no-replaces",
            ])
            .arg("--no-enhances")
            .args(ROOTS),
        HINT,
    )?;
    let is_name = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let mut names: Vec<String> = text.lines().filter(is_name).map(str::to_owned).collect();
    names.retain(|name| {
        !UNUSED.contains(&name.as_str()) && !name.contains(':') && !name.contains("debconf") && !name.contains("dpkg")
    });
    names.sort();
    names.dedup();
    Ok(names)
}

/// Paths of the archives, downloaded where they are absent.
fn download(names: &[String], directory: &Path) -> Result<Vec<PathBuf>, BuildError> {
    // Asked in an empty directory: apt-get leaves out what lies in the current one.
    let empty = directory.join("empty");
    std::fs::create_dir_all(&empty).map_err(BuildError::io("create", &empty))?;
    let text =
        run_text(Command::new("apt-get").args(["download", "--print-uris"]).args(names).current_dir(&empty), HINT)?;
    // 'http://.../iptables_1.8.9-2_amd64.deb' iptables_1.8.9-2_amd64.deb 360296 SHA256:...
    let mut archives: Vec<PathBuf> =
        text.lines().filter_map(|line| line.split(' ').nth(1)).map(|file| directory.join(file)).collect();
    archives.sort();
    if archives.len() != names.len() {
        return Err(BuildError::Unexpected(format!(
            "apt-get knows archives for {} of {} packages: {text}",
            archives.len(),
            names.len()
        )));
    }
    if archives.iter().any(|archive| !archive.exists()) {
        progress(&format!("apt-get download {}", names.join(" ")));
        // Without a sandbox user: the cache need not be readable for `_apt`.
        let options = ["-o", "APT::Sandbox::User=root", "--quiet", "download"];
        run(Command::new("apt-get").args(options).args(names).current_dir(directory), HINT)?;
    }
    Ok(archives)
}

/// What is taken from a package.
enum Taken {
    File { mode: u32, content: Vec<u8> },
    Link(String),
}

/// Adds what the layer needs of one package.
fn unpack(archive: &Path, files: &mut BTreeMap<String, Taken>) -> Result<Package, BuildError> {
    let field = |name: &str| run_text(Command::new("dpkg-deb").arg("--field").arg(archive).arg(name), HINT);
    let name = field("Package")?.trim().to_owned();
    let version = field("Version")?.trim().to_owned();
    let tar = run(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive), HINT)?;
    let mut copyright = String::new();
    let mut read = || -> std::io::Result<()> {
        for entry in tar::Archive::new(tar.as_slice()).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let path = path.trim_start_matches("./").to_owned();
            if path == format!("usr/share/doc/{name}/copyright") {
                entry.read_to_string(&mut copyright)?;
            } else if wanted(&name, &path) {
                let taken = match entry.link_name()? {
                    Some(target) => Taken::Link(target.display().to_string()),
                    None if entry.header().entry_type().is_file() => {
                        let mut content = Vec::new();
                        entry.read_to_end(&mut content)?;
                        Taken::File { mode: entry.header().mode()? & 0o777, content }
                    }
                    None => continue,
                };
                files.insert(path, taken);
            }
        }
        Ok(())
    };
    read().map_err(BuildError::io("read", archive))?;
    Ok(Package { name, version, copyright })
}

fn wanted(package: &str, path: &str) -> bool {
    if PROGRAMS.contains(&path) || path == "etc/protocols" {
        return true;
    }
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let library = (path.starts_with("usr/lib/") || path.starts_with("lib/") || path.starts_with("lib64/"))
        && file.contains(".so");
    library && (package != "libc6" || LIBC.contains(&file)) && !path.contains("/gconv/")
}

fn layer(files: &BTreeMap<String, Taken>) -> std::io::Result<Vec<u8>> {
    let mut layer = LayerBuilder::new();
    for (path, taken) in files {
        match taken {
            Taken::File { mode, content } => {
                layer.file(path, *mode, content)?;
            }
            Taken::Link(target) => layer.link(path, target)?,
        }
    }
    // Since trixie everything is below /usr, and the base system's links lead there.
    for name in ["lib", "lib64"] {
        if !layer.contains(name) {
            layer.link(name, &format!("usr/{name}"))?;
        }
    }
    for (mode, program) in [("legacy", "xtables-legacy-multi"), ("nft", "xtables-nft-multi")] {
        for tool in TOOLS {
            layer.link(&format!("{MODES}/{mode}/{tool}"), &format!("/usr/sbin/{program}"))?;
        }
    }
    for tool in TOOLS {
        layer.link(&format!("usr/sbin/{tool}"), "xtables-nft-multi")?;
    }
    Ok(layer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second time, everything is in the cache: apt-get then behaves differently, the layer must not.
    #[test]
    fn the_layer_is_the_same_the_second_time() {
        let cache = tempfile::tempdir().expect("directory");
        let first = xtables(cache.path()).expect("first");
        let second = xtables(cache.path()).expect("second");
        assert!(first.layer == second.layer, "the layers differ");
        assert!(first.packages.iter().all(|package| !package.copyright.is_empty()));
    }

    #[test]
    fn libraries_and_programs_are_taken_and_nothing_else() {
        for path in [
            "usr/sbin/nft",
            "usr/lib/x86_64-linux-gnu/libnftables.so.1",
            "usr/lib/x86_64-linux-gnu/xtables/libxt_MASQUERADE.so",
            "etc/protocols",
        ] {
            assert!(wanted("iptables", path), "{path}");
        }
        for path in
            ["usr/sbin/iptables-apply", "usr/share/man/man8/nft.8.gz", "usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"]
        {
            assert!(!wanted("iptables", path), "{path}");
        }
        assert!(wanted("libc6", "lib/x86_64-linux-gnu/libc.so.6"));
        assert!(!wanted("libc6", "lib/x86_64-linux-gnu/libnss_hesiod.so.2"));
    }
}
