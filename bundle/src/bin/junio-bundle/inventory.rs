//! What is inside the bundle's binaries: Go modules as the binaries themselves tell, crates as Cargo resolves them,
//! Debian packages as they were unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::debian::Package;
use crate::error::{BuildError, run, run_text};
use crate::go::Compiled;

/// A third-party component.
pub struct Component {
    /// Package URL, for example `pkg:golang/github.com/spf13/cobra@v1.10.2`.
    pub purl: String,
    pub name: String,
    pub version: String,
    /// SPDX expression where the component declares one.
    pub license: Option<String>,
    /// Licence texts: file name and content.
    pub texts: Vec<(String, String)>,
    /// Names of the bundle's programs that contain it.
    pub used_by: BTreeSet<String>,
}

/// All components, ordered by package URL.
pub struct Inventory {
    pub components: Vec<Component>,
}

/// Rust's programs and the packages that they are built from.
const CARGO_PROGRAMS: [(&str, &str); 2] = [("junioadm", "junioadm"), ("junio-kubelet", "junio-kubelet")];

impl Inventory {
    /// Asks `go`, `cargo` and the unpacked packages. `source` is the bundle directory of the workspace.
    pub fn collect(compiled: &[Compiled], packages: &[Package], source: &Path) -> Result<Self, BuildError> {
        let mut components = BTreeMap::new();
        go_modules(compiled, &mut components)?;
        crates(source, &mut components)?;
        for package in packages {
            let component = Component {
                purl: format!("pkg:deb/debian/{}@{}?arch=amd64", package.name, package.version.replace('+', "%2B")),
                name: package.name.clone(),
                version: package.version.clone(),
                license: None,
                texts: vec![("copyright".to_owned(), package.copyright.clone())],
                used_by: BTreeSet::from(["xtables".to_owned()]),
            };
            components.insert(component.purl.clone(), component);
        }
        if let Some(musl) = musl()? {
            components.insert(musl.purl.clone(), musl);
        }
        Ok(Self { components: components.into_values().collect() })
    }
}

fn go_modules(compiled: &[Compiled], components: &mut BTreeMap<String, Component>) -> Result<(), BuildError> {
    let hint = "install Go 1.26 or newer";
    let environment = run_text(Command::new("go").args(["env", "GOMODCACHE", "GOROOT", "GOVERSION"]), hint)?;
    let mut lines = environment.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (modules, root, toolchain) = (PathBuf::from(next()), PathBuf::from(next()), next());
    for program in compiled {
        let text = run_text(Command::new("go").args(["version", "-m"]).arg(&program.path), hint)?;
        let mut found: Vec<(String, String)> = vec![("std".to_owned(), toolchain.clone())];
        for line in text.lines() {
            let mut fields = line.trim_start().split('\t');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("dep"), Some(path), Some(version)) => found.push((path.to_owned(), version.to_owned())),
                // The module before this line is replaced by this one.
                (Some("=>"), Some(path), Some(version)) => {
                    found.pop();
                    found.push((path.to_owned(), version.to_owned()));
                }
                _ => {}
            }
        }
        // Our own modules are named after the project and have no version of their own.
        found.retain(|(path, _)| !path.starts_with("junioadm.io/") && !path.starts_with("../"));
        for (path, version) in found {
            let purl = format!("pkg:golang/{path}@{version}");
            if let Some(known) = components.get_mut(&purl) {
                known.used_by.insert(program.name.to_owned());
                continue;
            }
            let directory =
                if path == "std" { root.clone() } else { modules.join(format!("{}@{version}", escape(&path))) };
            let texts = licence_files(&directory)?;
            let used_by = BTreeSet::from([program.name.to_owned()]);
            components.insert(purl.clone(), Component { purl, name: path, version, license: None, texts, used_by });
        }
    }
    Ok(())
}

/// The module cache writes upper-case letters as `!` and the lower-case one (golang.org/x/mod/module, EscapePath).
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(letter.to_ascii_lowercase());
    }
    escaped
}

fn crates(source: &Path, components: &mut BTreeMap<String, Component>) -> Result<(), BuildError> {
    let hint = "install the Rust toolchain of rust-toolchain.toml";
    let workspace = source.join("..");
    let metadata = run(
        Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-musl"])
            .current_dir(&workspace),
        hint,
    )?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(BuildError::json("read cargo's metadata"))?;
    let mut known: BTreeMap<(String, String), &Value> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        known.insert((text("name"), text("version")), package);
    }
    for (program, package) in CARGO_PROGRAMS {
        let tree = run_text(
            Command::new("cargo")
                .args([
                    "tree",
                    "--offline",
                    "--edges",
                    "normal",
                    "--prefix",
                    "none",
                    "--format",
                    "{p}",
                    "--package",
                    package,
                ])
                .args(["--target", "x86_64-unknown-linux-musl"])
                .current_dir(&workspace),
            hint,
        )?;
        for line in tree.lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(version)) = (words.next(), words.next()) else {
                continue;
            };
            let version = version.trim_start_matches('v');
            let Some(package) = known.get(&(name.to_owned(), version.to_owned())) else {
                continue;
            };
            // What has no source is a member of this workspace.
            if package["source"].is_null() {
                continue;
            }
            let purl = format!("pkg:cargo/{name}@{version}");
            if let Some(component) = components.get_mut(&purl) {
                component.used_by.insert(program.to_owned());
                continue;
            }
            let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
            let texts = licence_files(manifest.parent().unwrap_or(Path::new("")))?;
            let license = package["license"].as_str().map(str::to_owned);
            let used_by = BTreeSet::from([program.to_owned()]);
            components.insert(
                purl.clone(),
                Component { purl, name: name.to_owned(), version: version.to_owned(), license, texts, used_by },
            );
        }
    }
    Ok(())
}

/// The C library in pause and flanneld (Rust's programs have the toolchain's own copy of it).
fn musl() -> Result<Option<Component>, BuildError> {
    let copyright = Path::new("/usr/share/doc/musl/copyright");
    if !copyright.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(copyright).map_err(BuildError::io("read", copyright))?;
    let query = Command::new("dpkg-query").args(["--show", "--showformat", "${Version}", "musl"]).output();
    let version = query.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    Ok(Some(Component {
        purl: format!("pkg:deb/debian/musl@{version}?arch=amd64"),
        name: "musl".to_owned(),
        version,
        license: Some("MIT".to_owned()),
        texts: vec![("copyright".to_owned(), text)],
        used_by: ["flanneld", "junio-kubelet", "junioadm", "pause"].map(str::to_owned).into(),
    }))
}

/// The licence texts at the top of a component's directory.
fn licence_files(directory: &Path) -> Result<Vec<(String, String)>, BuildError> {
    let mut texts = Vec::new();
    if !directory.is_dir() {
        return Ok(texts);
    }
    for entry in std::fs::read_dir(directory).map_err(BuildError::io("list", directory))? {
        let path = entry.map_err(BuildError::io("list", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        let is_code = [".go", ".rs", ".sh", ".py", ".tmpl"].iter().any(|ending| lower.ends_with(ending));
        let is_licence = ["license", "licence", "copying", "notice", "copyright", "unlicense"]
            .iter()
            .any(|word| lower.starts_with(word));
        if is_licence && !is_code && path.is_file() {
            let bytes = std::fs::read(&path).map_err(BuildError::io("read", &path))?;
            texts.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    texts.sort();
    Ok(texts)
}

#[cfg(test)]
mod tests {
    #[test]
    fn module_paths_are_escaped_as_in_the_module_cache() {
        assert_eq!(super::escape("github.com/Azure/go-ansiterm"), "github.com/!azure/go-ansiterm");
    }
}
