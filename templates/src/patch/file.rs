//! One patch file: what its name says, its documents with their places, and how they are applied.

use std::fmt;

use junio_api::config::tree::Tree;
use junio_api::config::{Place, schema, split};
use junio_api::yaml;
use serde_json::Value;

use super::{PatchError, Target, json, strategic};
use crate::objects;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// Kubernetes' own: lists merge by the keys of their types, with directives.
    Strategic,
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
}

impl PatchType {
    const NAMES: [(&'static str, Self); 3] =
        [("json", Self::Json), ("merge", Self::Merge), ("strategic", Self::Strategic)];
}

impl fmt::Display for PatchType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What a file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileName {
    Patch(Target, PatchType),
    /// No patch, and why.
    Ignored(String),
}

impl FileName {
    /// Source: kubeadm v1.36.3 `util/patches`: a suffix ends at the first `.` or `+`; what follows the type is not looked at.
    pub fn parse(name: &str) -> Result<Self, PatchError> {
        let stem = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
        let Some((_, "json" | "yaml")) = stem else {
            return Ok(Self::Ignored("the file extension must be json or yaml".to_owned()));
        };
        let Some(target) = Target::ALL.into_iter().find(|target| name.starts_with(target.name())) else {
            let names: Vec<_> = Target::ALL.iter().map(|target| target.name()).collect();
            return Ok(Self::Ignored(format!("unknown target, must be one of {}", names.join(", "))));
        };
        let rest = &name[target.name().len()..];
        let after = &rest[rest.find(['.', '+']).unwrap_or(rest.len())..];
        let Some(kind) = after.strip_prefix('+') else { return Ok(Self::Patch(target, PatchType::Strategic)) };
        let known = PatchType::NAMES.iter().find(|(name, _)| kind.starts_with(name));
        known.map(|(_, kind)| Self::Patch(target, *kind)).ok_or_else(|| PatchError::Type { file: name.to_owned() })
    }
}

/// The documents of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchFile {
    /// As it is shown in errors.
    path: String,
    pub(super) target: Target,
    kind: PatchType,
    documents: Vec<Document>,
}

#[derive(Debug, Clone, PartialEq)]
struct Document {
    value: Value,
    place: Place,
    /// Of the operations of a JSON patch.
    operations: Vec<Place>,
}

impl PatchFile {
    /// Reads a file's text: every field is held against the target's type.
    pub fn parse(path: &str, target: Target, kind: PatchType, text: &str) -> Result<Self, PatchError> {
        let fail = |place, reason| PatchError::Content { file: path.to_owned(), place, reason };
        let mut documents = Vec::new();
        for part in split::documents(text) {
            let tree: Tree = yaml::from_str(&part.padded).map_err(|e| {
                let place = e.line.zip(e.column).map(|(line, column)| Place { line, column });
                fail(place, e.reason)
            })?;
            let place = Place { line: part.first_line, column: 1 };
            let mistake = match kind {
                PatchType::Strategic => schema::check_patch(target.kind(), &tree),
                PatchType::Merge => schema::check(target.kind(), &tree),
                PatchType::Json => None,
            };
            if let Some(mistake) = mistake {
                return Err(fail(mistake.place, mistake.to_string()));
            }
            let mut operations = Vec::new();
            if kind == PatchType::Json {
                let Tree::Sequence(items) = &tree else {
                    return Err(fail(Some(place), "a JSON patch is a list of operations".to_owned()));
                };
                operations = items.iter().map(|item| Place::from(item.referenced)).collect();
                for (item, place) in items.iter().zip(&operations) {
                    json::check(&item.value.to_value()).map_err(|reason| fail(Some(*place), reason))?;
                }
            }
            documents.push(Document { value: tree.to_value(), place, operations });
        }
        Ok(Self { path: path.to_owned(), target, kind, documents })
    }

    pub(super) fn apply(&self, value: Value) -> Result<Value, PatchError> {
        self.documents.iter().try_fold(value, |value, document| {
            let fail = |place, reason| PatchError::Apply {
                file: self.path.clone(),
                place: Some(place),
                kind: self.kind,
                target: self.target,
                reason,
            };
            let patched = match self.kind {
                PatchType::Strategic => strategic::merge(self.target.kind(), value, document.value.clone())
                    .map_err(|reason| fail(document.place, reason))?,
                PatchType::Merge => json::merge(value, &document.value),
                PatchType::Json => json::apply(value, &document.value).map_err(|(index, reason)| {
                    fail(document.operations.get(index).copied().unwrap_or(document.place), reason)
                })?,
            };
            self.judge(&patched).map_err(|reason| fail(document.place, reason))?;
            Ok(patched)
        })
    }

    /// A patched object must still be one.
    fn judge(&self, patched: &Value) -> Result<(), String> {
        let kind = self.target.kind();
        if patched["kind"] != kind {
            return Err(format!("the result is no {kind}"));
        }
        let text = yaml::to_string(patched).map_err(|e| e.to_string())?;
        let tree: Tree = yaml::from_str(&text).map_err(|e| e.to_string())?;
        if let Some(mistake) = schema::check(kind, &tree) {
            return Err(format!("in the result, {mistake}"));
        }
        let containers = match self.target {
            Target::Kubelet => return Ok(()),
            Target::CoreDns => "/spec/template/spec/containers",
            _ => "/spec/containers",
        };
        if patched.pointer(containers).and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err("in the result, spec.containers is empty".to_owned());
        }
        objects::check(self.target.name(), &without_nulls(patched.clone())).map_err(|e| e.to_string())
    }
}

/// Go's decoder takes `null` for absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_target_and_type() {
        let patch = |name: &str| FileName::parse(name).expect("a usable name");
        for (name, target, kind) in [
            ("etcd.yaml", Target::Etcd, PatchType::Strategic),
            ("etcdmerge.json", Target::Etcd, PatchType::Strategic),
            ("kube-apiserver0+merge.yaml", Target::ApiServer, PatchType::Merge),
            ("kube-apiserver_b+json.json", Target::ApiServer, PatchType::Json),
            ("kubeletconfiguration1+strategic.x.yaml", Target::Kubelet, PatchType::Strategic),
            ("corednsdeployment+json.yaml", Target::CoreDns, PatchType::Json),
        ] {
            assert_eq!(patch(name), FileName::Patch(target, kind), "{name}");
        }
        for name in ["README.md", "etcd.yml", "etcd", ".yaml", "kube-proxy.yaml"] {
            assert!(matches!(patch(name), FileName::Ignored(_)), "{name}");
        }
        for name in ["etcd+.yaml", "etcd+strategi.yaml", "kube-scheduler1+banana.json"] {
            assert!(matches!(FileName::parse(name), Err(PatchError::Type { .. })), "{name}");
        }
    }

    #[test]
    fn mistakes_are_found_when_a_file_is_read() {
        let parse = |kind, text: &str| PatchFile::parse("p/x.yaml", Target::ApiServer, kind, text);
        let shown = |kind, text: &str| parse(kind, text).expect_err("refused").to_string();
        let text = "# why\nspec:\n  containers:\n  - name: kube-apiserver\n    imag: x\n";
        assert_eq!(
            shown(PatchType::Strategic, text),
            "p/x.yaml:5:5: unknown field \"imag\" in spec.containers[0], did you mean \"image\"?"
        );
        assert_eq!(
            shown(PatchType::Merge, "---\nspec: {priority: high}\n"),
            "p/x.yaml:2:18: spec.priority must be a whole number from -2147483648 to 2147483647, not a string"
        );
        assert_eq!(shown(PatchType::Json, "a: b\n"), "p/x.yaml:1:1: a JSON patch is a list of operations");
        assert!(
            shown(PatchType::Json, "- {op: add, path: /a, value: 1}\n- {op: ad, path: /b}\n")
                .starts_with("p/x.yaml:2:3: ")
        );
        assert!(shown(PatchType::Strategic, "spec: [unclosed\n").starts_with("p/x.yaml:"));
        assert!(parse(PatchType::Strategic, "# nothing\n---\n").is_ok());
    }

    #[test]
    fn a_result_that_is_no_pod_is_refused_at_the_patch() {
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "c"}]}});
        let apply = |text: &str| {
            PatchFile::parse("j.yaml", Target::Etcd, PatchType::Json, text).expect("well-formed").apply(pod.clone())
        };
        let missing =
            apply("# one\n- {op: replace, path: /spec/hostNetwork, value: true}\n").expect_err("nothing there");
        assert!(
            missing.to_string().starts_with("j.yaml:2:3: this json patch cannot be applied to etcd: "),
            "{missing}"
        );
        let wrong = apply("- {op: add, path: /spec/hostNetwork, value: maybe}\n").expect_err("no Pod");
        assert!(wrong.to_string().contains("spec.hostNetwork must be true or false"), "{wrong}");
        let gone = apply("- {op: remove, path: /spec/containers}\n").expect_err("no Pod");
        assert!(gone.to_string().contains("containers"), "{gone}");
        assert!(apply("- {op: test, path: /metadata/name, value: y}\n").is_err());
        assert_eq!(
            apply("- {op: add, path: /spec/hostNetwork, value: true}\n").expect("a Pod")["spec"]["hostNetwork"],
            true
        );
    }
}
