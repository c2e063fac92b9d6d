//! Patches give what a real kubeadm v1.36.3 made of the same files with the same patches (`scripts/patch-fixtures.sh`).

use junio_api::yaml;
use junio_templates::patch::{FileName, PatchFile, Patches, Target};
use serde_json::Value;

use crate::diff;

macro_rules! patch_files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("fixtures/patches/in/", $name)))),*] };
}

macro_rules! targets {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("fixtures/patches/base/", $name, ".yaml")),
            include_str!(concat!("fixtures/patches/out/", $name, ".yaml")),
        )),*]
    };
}

/// In the order of their names.
const FILES: [(&str, &str); 10] = patch_files![
    "corednsdeployment.yaml",
    "etcda.yaml",
    "etcdb+merge.yaml",
    "kube-apiserver0.yaml",
    "kube-apiserver1+json.yaml",
    "kube-apiserver2+strategic.yaml",
    "kube-controller-manager+merge.json",
    "kube-scheduler.json",
    "kubeletconfiguration0.yaml",
    "kubeletconfiguration1+json.json",
];

const TARGETS: [(&str, &str, &str); 6] = targets![
    "corednsdeployment",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeletconfiguration",
];

/// Go prints an empty `resources` of a container and leaves out a `readOnly` that is false; neither means anything.
fn without_zero_values(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let meaningless = |key: &str, value: &Value| match key {
                "resources" => value == &serde_json::json!({}),
                "readOnly" => value == &Value::Bool(false),
                _ => false,
            };
            let kept = fields.into_iter().filter(|(key, value)| !meaningless(key, value));
            Value::Object(kept.map(|(key, value)| (key, without_zero_values(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_zero_values).collect()),
        other => other,
    }
}

#[test]
fn patched_files_are_kubeadms() {
    let files = FILES.map(|(name, text)| match FileName::parse(name).expect("a usable name") {
        FileName::Patch(target, kind) => PatchFile::parse(name, target, kind, text).expect("well-formed"),
        FileName::Ignored(reason) => panic!("{name}: {reason}"),
    });
    let patches = Patches::new(files.into());
    for (name, base, expected) in TARGETS {
        let target = Target::ALL.into_iter().find(|target| target.name() == name).expect("a target");
        let patched = patches.apply_text(target, base.to_owned()).expect("applies");
        assert_ne!(patched, base, "{name}: the patches must do something");
        let read = |text: &str| without_zero_values(yaml::from_str(text).expect("YAML"));
        let found = diff::compare(&read(expected), &read(&patched));
        assert_eq!(found, [], "{name}");
    }
}

#[test]
fn what_nothing_patches_stays_byte_for_byte() {
    let text = "# a comment\nkind:   Pod\n".to_owned();
    assert_eq!(Patches::default().apply_text(Target::Etcd, text.clone()).expect("nothing to do"), text);
}
