//! Compiles the Go programs of the bundle from the pinned modules in `bundle/go`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use junio_api::versions;
use junio_bundle::sha256;

use crate::error::{BuildError, run, run_text};
use crate::progress;

const HINT: &str = "install Go 1.26 or newer";

/// When upstream tagged the Kubernetes release (from the module proxy); shown by `kubectl version`.
const KUBERNETES_BUILD_DATE: &str = "2026-07-22T18:07:38Z";

/// One program and how it is compiled.
pub struct Program {
    /// Name of the binary.
    pub name: &'static str,
    /// Directory below `bundle/go`.
    module: &'static str,
    package: &'static str,
    /// `-X` settings of the linker.
    stamps: Vec<(String, String)>,
    /// Linked with musl's C library, statically: flannel's udp backend forwards packets in C.
    cgo: bool,
}

/// Everything that is compiled, the slowest first.
pub fn programs() -> Vec<Program> {
    let plain = |name, module, package| Program { name, module, package, stamps: Vec::new(), cgo: false };
    let mut kubernetes = plain("kubernetes", "kubernetes", ".");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        let (major, minor) = major_minor(versions::KUBERNETES);
        for (key, value) in [
            ("gitVersion", versions::KUBERNETES),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
            // The module proxy does not tell the commit, and a made-up one would be a lie.
            ("gitCommit", ""),
            ("buildDate", KUBERNETES_BUILD_DATE),
        ] {
            kubernetes.stamps.push((format!("{package}.{key}"), value.to_owned()));
        }
    }
    let mut flanneld = plain("flanneld", "network", "./flanneld");
    flanneld.stamps.push(("main.version".to_owned(), versions::FLANNEL.to_owned()));
    flanneld.cgo = true;
    let mut all = vec![kubernetes, plain("coredns", "coredns", "."), plain("etcd", "etcd", "."), flanneld];
    for (name, package) in CNI_PLUGINS {
        let mut plugin = plain(name, "network", package);
        let stamp = "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion";
        plugin.stamps.push((stamp.to_owned(), versions::CNI_PLUGINS.to_owned()));
        all.push(plugin);
    }
    all
}

/// The CNI plugins of the bundle with their packages.
pub const CNI_PLUGINS: [(&str, &str); 5] = [
    ("bandwidth", "github.com/containernetworking/plugins/plugins/meta/bandwidth"),
    ("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
    ("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    ("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
    ("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
];

/// A compiled program.
pub struct Compiled {
    pub name: &'static str,
    pub path: PathBuf,
}

/// Compiles what is not in the cache. `source` is the bundle directory.
pub fn compile(source: &Path, cache: &Path) -> Result<Vec<Compiled>, BuildError> {
    let toolchain = run_text(Command::new("go").args(["env", "GOVERSION"]), HINT)?;
    let mut compiled = Vec::new();
    for program in programs() {
        let module = source.join("go").join(program.module);
        let flags = program.flags();
        let inputs = format!("{toolchain}{flags:?}{}{}", digest_of(&module)?, digest_of(&source.join("go/xtables"))?);
        let path =
            cache.join("go").join(format!("{}-{}", program.name, &sha256(inputs.as_bytes())[..16])).join(program.name);
        if !path.exists() {
            program.compile(&module, &flags, &path)?;
        }
        compiled.push(Compiled { name: program.name, path });
    }
    Ok(compiled)
}

impl Program {
    fn flags(&self) -> Vec<String> {
        let mut linker = "-s -w".to_owned();
        for (name, value) in &self.stamps {
            linker.push_str(&format!(" -X {name}={value}"));
        }
        if self.cgo {
            linker.push_str(" -linkmode external -extldflags -static");
        }
        ["build", "-trimpath", "-ldflags", &linker].map(str::to_owned).to_vec()
    }

    fn compile(&self, module: &Path, flags: &[String], path: &Path) -> Result<(), BuildError> {
        let start = Instant::now();
        progress(&format!(
            "go build {}{}",
            self.name,
            if self.name == "kubernetes" { " (5 minutes the first time)" } else { "" }
        ));
        let directory =
            path.parent().ok_or_else(|| BuildError::Unexpected("a binary without a directory".to_owned()))?;
        std::fs::create_dir_all(directory).map_err(BuildError::io("create", directory))?;
        let temporary = std::path::absolute(path.with_extension("part")).map_err(BuildError::io("resolve", path))?;
        let mut command = Command::new("go");
        command.current_dir(module).args(flags).arg("-o").arg(&temporary).arg(self.package);
        command
            .env("GOFLAGS", "-buildvcs=false -mod=readonly")
            .env("GOOS", "linux")
            .env("GOARCH", "amd64")
            .env("GOAMD64", "v1");
        if self.cgo {
            // Kernel headers come from Debian's linux-libc-dev, behind musl's own.
            command
                .env("CGO_ENABLED", "1")
                .env("CC", "musl-gcc -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu");
        } else {
            command.env("CGO_ENABLED", "0");
        }
        run(&mut command, HINT)?;
        std::fs::rename(&temporary, path).map_err(BuildError::io("rename", &temporary))?;
        let size = std::fs::metadata(path).map_err(BuildError::io("read the size of", path))?.len();
        progress(&format!(
            "go build {}: {:.1} MB in {:.0} s",
            self.name,
            size as f64 / 1e6,
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

/// Digest of everything in a module's directory that is compiled.
fn digest_of(module: &Path) -> Result<String, BuildError> {
    let mut files = Vec::new();
    collect(module, &mut files)?;
    files.sort();
    let mut all = String::new();
    for file in files {
        let content = std::fs::read(&file).map_err(BuildError::io("read", &file))?;
        let name = file.strip_prefix(module).unwrap_or(&file);
        all.push_str(&format!("{} {}\n", sha256(&content), name.display()));
    }
    Ok(sha256(all.as_bytes()))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    for entry in std::fs::read_dir(directory).map_err(BuildError::io("list", directory))? {
        let path = entry.map_err(BuildError::io("list", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files)?;
        } else if name == "go.mod" || name == "go.sum" || name.ends_with(".go") && !name.ends_with("_test.go") {
            files.push(path);
        }
    }
    Ok(())
}

fn major_minor(version: &'static str) -> (&'static str, &'static str) {
    let mut numbers = version.trim_start_matches('v').split('.');
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The versions that the product speaks of are the ones that are compiled.
    #[test]
    fn versions_are_those_of_the_go_modules() {
        for (module, package, version) in [
            ("kubernetes", "k8s.io/kubernetes", versions::KUBERNETES.to_owned()),
            ("etcd", "go.etcd.io/etcd/server/v3", format!("v{}", versions::ETCD)),
            ("coredns", "github.com/coredns/coredns", versions::COREDNS.to_owned()),
            ("network", "github.com/flannel-io/flannel", versions::FLANNEL.to_owned()),
            ("network", "github.com/containernetworking/plugins", versions::CNI_PLUGINS.to_owned()),
        ] {
            let path = Path::new("go").join(module).join("go.mod");
            let text = std::fs::read_to_string(&path).expect("go.mod");
            let found = text
                .lines()
                .find_map(|line| line.trim().trim_start_matches("require ").strip_prefix(&format!("{package} ")));
            let found = found.and_then(|rest| rest.split_whitespace().next());
            assert_eq!(found, Some(version.as_str()), "{package}");
        }
    }

    #[test]
    fn kubernetes_is_stamped_with_its_version() {
        let flags = programs()[0].flags().join(" ");
        assert!(flags.contains("component-base/version.gitMajor=1 "), "{flags}");
        assert!(flags.contains("client-go/pkg/version.gitMinor=36 "), "{flags}");
    }
}
