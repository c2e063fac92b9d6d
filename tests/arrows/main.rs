//! Checks which crate of the workspace may use which (docs/ARCHITECTURE.md), from `cargo metadata`.
//!
//! Owner of the two tables below. Development dependencies are free: a test may look at anything. A new edge is a decision:
//! change the table and docs/ARCHITECTURE.md in the same commit.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crate of ours -> crates of ours that it may use. The arrows go one way.
const OURS: &[(&str, &[&str])] = &[
    ("junio-api", &[]),
    ("junio-pki", &["junio-api"]),
    ("junio-templates", &["junio-api"]),
    ("junio-host", &["junio-api"]),
    ("junio-bundle", &["junio-api"]),
    ("junio-kubelet", &["junio-api", "junio-pki"]),
    ("junio-phases", &["junio-api", "junio-bundle", "junio-host", "junio-pki", "junio-templates"]),
    ("junio-lab", &["junio-api", "junio-bundle", "junio-host", "junio-pki", "junio-templates"]),
    (
        "junioadm",
        &["junio-api", "junio-bundle", "junio-host", "junio-lab", "junio-phases", "junio-pki", "junio-templates"],
    ),
];

/// A package that only its owners link, so that each concern has one door.
const OWNERS: &[(&str, &[&str])] = &[
    ("clap", &["junioadm", "junio-bundle", "junio-kubelet"]),
    ("indicatif", &["junioadm"]),
    ("yaml_serde", &["junio-api"]),
    ("serde-saphyr", &["junio-api"]),
    ("rcgen", &["junio-pki"]),
    ("tera", &["junio-templates"]),
    ("russh", &["junio-host"]),
    ("etcd-client", &["junio-phases"]),
    ("bollard", &["junio-bundle", "junio-host", "junio-kubelet", "junio-lab"]),
    ("kube", &["junio-kubelet", "junio-phases"]),
    ("zbus", &["junio-kubelet"]),
];

/// Crates of values and pure functions: no runtime, no network.
const WITHOUT_RUNTIME: &[&str] = &["junio-api", "junio-pki", "junio-templates"];
const RUNTIMES: &[&str] = &["tokio", "hyper", "reqwest", "kube", "bollard", "futures"];

/// Workspace package -> names of the packages that it links (normal and build dependencies).
fn links() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo metadata starts");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let linked = dependencies.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
            (text(&package["name"]), linked.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn every_crate_of_the_workspace_is_in_the_table() {
    let known: BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
    let links = links();
    let found: BTreeSet<&str> = links.keys().map(String::as_str).collect();
    assert_eq!(found, known, "the table OURS and the workspace differ");
}

#[test]
fn arrows_go_one_way() {
    let links = links();
    let ours: BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (name, allowed) in OURS {
        for linked in links.get(*name).into_iter().flatten() {
            if ours.contains(linked.as_str()) && !allowed.contains(&linked.as_str()) {
                wrong.push(format!("{name} -> {linked}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that docs/ARCHITECTURE.md does not allow: {}", wrong.join(", "));
}

#[test]
fn packages_with_an_owner_are_linked_by_it_alone() {
    let mut wrong = Vec::new();
    for (name, linked) in links() {
        for (package, owners) in OWNERS {
            if linked.contains(*package) && !owners.contains(&name.as_str()) {
                wrong.push(format!("{name} -> {package} (owners: {})", owners.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_have_no_runtime() {
    let links = links();
    let mut wrong = Vec::new();
    for name in WITHOUT_RUNTIME {
        for linked in links.get(*name).into_iter().flatten() {
            if RUNTIMES.contains(&linked.as_str()) {
                wrong.push(format!("{name} -> {linked}"));
            }
        }
    }
    assert!(wrong.is_empty(), "api, pki and templates do no network and know no runtime: {}", wrong.join(", "));
}
