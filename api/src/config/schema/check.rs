//! Holds a document against the table: the first field that does not exist, or that holds the wrong type, with its place.

use std::fmt;

use serde_json::Value;
use serde_saphyr::Spanned;

use super::table::{Field, Merge, Shape, Structure, root, shape_of};
use crate::config::documents::nearest;
use crate::config::error::Place;
use crate::config::tree::Tree;
use crate::duration::GoDuration;

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub place: Option<Place>,
    /// The object that holds it, for example `logging.options`; empty for the document itself.
    pub parent: String,
    pub field: String,
    pub wrong: Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such field; perhaps this one was meant.
    Unknown(Option<String>),
    Type {
        expected: String,
        found: &'static str,
    },
    /// An item of a list that is merged by this key lacks it.
    NoMergeKey(String),
    /// A `$patch` or other directive that does not exist or has the wrong form.
    Directive(String),
}

impl Mistake {
    /// `parent.field`.
    #[must_use]
    pub fn path(&self) -> String {
        if self.parent.is_empty() { self.field.clone() } else { format!("{}.{}", self.parent, self.field) }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrong {
            Wrong::Unknown(suggestion) => {
                write!(f, "unknown field {:?}", self.field)?;
                if !self.parent.is_empty() {
                    write!(f, " in {}", self.parent)?;
                }
                suggestion.as_ref().map_or(Ok(()), |name| write!(f, ", did you mean {name:?}?"))
            }
            Wrong::Type { expected, found } => write!(f, "{} must be {expected}, not {found}", self.path()),
            Wrong::NoMergeKey(key) => {
                write!(f, "an item of {} has no {key:?}, by which its list is merged", self.parent)
            }
            Wrong::Directive(text) => f.write_str(text),
        }
    }
}

/// The first thing in `document` that a `kind` cannot hold.
#[must_use]
pub fn check(kind: &str, document: &Tree) -> Option<Mistake> {
    Checker { patch: false }.structure(root(kind)?, document, "").err().map(|found| *found)
}

/// The same for a strategic merge patch of a `kind`, which may hold directives and whose lists need their keys.
#[must_use]
pub fn check_patch(kind: &str, document: &Tree) -> Option<Mistake> {
    Checker { patch: true }.structure(root(kind)?, document, "").err().map(|found| *found)
}

type Checked = Result<(), Box<Mistake>>;

struct Checker {
    /// Directives are allowed.
    patch: bool,
}

impl Checker {
    fn structure(&self, structure: &Structure, tree: &Tree, parent: &str) -> Checked {
        let Tree::Mapping(entries) = tree else {
            return Err(wrong_type(
                None,
                "",
                if parent.is_empty() { "the document" } else { parent },
                "a mapping",
                tree,
            ));
        };
        for (key, value) in entries {
            if self.patch && key.value.starts_with('$') {
                directive(structure, key, value, parent)?;
                continue;
            }
            let Some(field) = structure.field(&key.value) else {
                let suggestion = nearest(&key.value, structure.names());
                return Err(mistake(key, parent, Wrong::Unknown(suggestion)));
            };
            self.field(field, key, value, parent)?;
        }
        Ok(())
    }

    fn field(&self, field: &Field, key: &Spanned<String>, value: &Spanned<Tree>, parent: &str) -> Checked {
        let path = join(parent, &key.value);
        if let (true, Tree::Sequence(items), Merge::ByKey(merge_key)) = (self.patch, &value.value, field.merge()) {
            for item in items {
                let has = |wanted: &str| matches!(&item.value, Tree::Mapping(entries) if entries.iter().any(|(key, _)| key.value == wanted));
                if !(has(merge_key) || is_replace(&item.value)) {
                    return Err(Box::new(Mistake {
                        place: Some(Place::from(item.referenced)),
                        parent: path,
                        field: String::new(),
                        wrong: Wrong::NoMergeKey(merge_key.to_owned()),
                    }));
                }
            }
        }
        self.value(field.shape(), value, parent, &key.value, &path)
    }

    fn value(&self, shape: Shape<'_>, value: &Spanned<Tree>, parent: &str, name: &str, path: &str) -> Checked {
        let place = Some(Place::from(value.referenced));
        let fail = |expected: &str| Err(wrong_type(place, parent, name, expected, &value.value));
        match (shape, &value.value) {
            // As for Go's decoder, `null` means "not said".
            (_, Tree::Scalar(Value::Null)) | (Shape::Any, _) => Ok(()),
            (Shape::Structure(structure), tree @ Tree::Mapping(_)) => self.structure(structure, tree, path),
            (Shape::Structure(_), _) => fail("a mapping"),
            (Shape::Map(expression), Tree::Mapping(entries)) => {
                for (key, value) in entries {
                    if self.patch && key.value == "$patch" {
                        continue;
                    }
                    self.value(shape_of(expression), value, path, &key.value, &join(path, &key.value))?;
                }
                Ok(())
            }
            (Shape::Map(_), _) => fail("a mapping"),
            (Shape::List(expression), Tree::Sequence(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let name = format!("{name}[{index}]");
                    self.value(shape_of(expression), item, parent, &name, &format!("{path}[{index}]"))?;
                }
                Ok(())
            }
            (Shape::List(_), _) => fail("a list"),
            (scalar, Tree::Scalar(found)) => match expected(scalar, found) {
                None => Ok(()),
                Some(expected) => fail(&expected),
            },
            (scalar, _) => fail(&expected(scalar, &Value::Null).unwrap_or_else(|| "a plain value".to_owned())),
        }
    }
}

/// What a scalar should have been; `None` when it is.
fn expected(shape: Shape<'_>, found: &Value) -> Option<String> {
    let text = found.as_str();
    let (fits, name) = match shape {
        Shape::Bool => (found.is_boolean(), "true or false".to_owned()),
        Shape::String => (found.is_string(), "a string (quote it)".to_owned()),
        Shape::Integer(least, most) => {
            let number = found.as_i64().map(i128::from).or_else(|| found.as_u64().map(i128::from));
            (number.is_some_and(|n| (least..=most).contains(&n)), format!("a whole number from {least} to {most}"))
        }
        Shape::Float => (found.is_number(), "a number".to_owned()),
        Shape::Quantity => {
            (found.is_number() || text.is_some_and(is_quantity), "a quantity such as 100Mi or 250m".to_owned())
        }
        Shape::Duration => (text.is_some_and(is_duration), "a duration such as 30s or 1m30s".to_owned()),
        Shape::Time => (text.is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()), "a time (RFC 3339)".to_owned()),
        Shape::Bytes => (found.is_string(), "a base64 string".to_owned()),
        Shape::IntegerOrString => (found.is_i64() || found.is_string(), "a number or a string".to_owned()),
        Shape::IntegerOrDuration => {
            (found.is_i64() || found.is_u64() || text.is_some_and(is_duration), "a duration such as 5s".to_owned())
        }
        Shape::Any | Shape::List(_) | Shape::Map(_) | Shape::Structure(_) => return None,
    };
    (!fits).then_some(name)
}

/// Go's durations may be negative, which ours are not.
fn is_duration(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).parse::<GoDuration>().is_ok()
}

/// Source: `resource.Quantity` of apimachinery: a signed decimal and a suffix.
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok()
        && (exponent
            || ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].contains(&suffix))
}

fn is_replace(item: &Tree) -> bool {
    matches!(item, Tree::Mapping(entries) if entries.iter().any(|(key, value)| {
        key.value == "$patch" && matches!(&value.value, Tree::Scalar(Value::String(text)) if text == "replace")
    }))
}

/// Source: the directives of strategic merge patches, apimachinery `strategicpatch`.
fn directive(structure: &Structure, key: &Spanned<String>, value: &Spanned<Tree>, parent: &str) -> Checked {
    let refuse = |text: String| Err(mistake(key, parent, Wrong::Directive(text)));
    let (name, field) = key.value.split_once('/').unwrap_or((&key.value, ""));
    match name {
        "$patch" => match &value.value {
            Tree::Scalar(Value::String(text)) if text == "replace" || text == "delete" => Ok(()),
            _ => refuse("$patch must be replace or delete".to_owned()),
        },
        "$retainKeys" | "$deleteFromPrimitiveList" | "$setElementOrder" => {
            if !matches!(value.value, Tree::Sequence(_)) {
                return refuse(format!("{} must be a list", key.value));
            }
            let named = structure.field(field);
            match (name, named.map(Field::shape)) {
                ("$retainKeys", _) | (_, Some(Shape::List(_))) => Ok(()),
                _ => refuse(format!("{}: there is no list {field:?} here", key.value)),
            }
        }
        _ => refuse(format!("unknown directive {}", key.value)),
    }
}

fn mistake(key: &Spanned<String>, parent: &str, wrong: Wrong) -> Box<Mistake> {
    Box::new(Mistake {
        place: Some(Place::from(key.referenced)),
        parent: parent.to_owned(),
        field: key.value.clone(),
        wrong,
    })
}

fn wrong_type(place: Option<Place>, parent: &str, field: &str, expected: &str, found: &Tree) -> Box<Mistake> {
    let found = match found {
        Tree::Mapping(_) => "a mapping",
        Tree::Sequence(_) => "a list",
        Tree::Scalar(Value::String(_)) => "a string",
        Tree::Scalar(Value::Number(_)) => "a number",
        Tree::Scalar(Value::Bool(_)) => "true or false",
        Tree::Scalar(_) => "nothing",
    };
    // A string of the wrong form and a number out of range are still a string and a number.
    let found = match (expected, found) {
        (expected, "a string") if expected.contains("such as") || expected.contains("RFC") => "this text",
        (expected, "a number") if expected.starts_with("a whole number") => "this one",
        (_, found) => found,
    };
    let wrong = Wrong::Type { expected: expected.to_owned(), found };
    Box::new(Mistake { place, parent: parent.to_owned(), field: field.to_owned(), wrong })
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(kind: &str, text: &str) -> Option<(String, Option<Place>)> {
        let tree: Tree = crate::yaml::from_str(text).expect("YAML");
        check(kind, &tree).map(|found| (found.to_string(), found.place))
    }

    #[test]
    fn the_first_mistake_is_found_at_its_place() {
        let cases = [
            ("maxPods: many", "maxPods must be a whole number from -2147483648 to 2147483647, not a string", (1, 10)),
            (
                "maxPods: 3000000000",
                "maxPods must be a whole number from -2147483648 to 2147483647, not this one",
                (1, 10),
            ),
            ("logging:\n  verbsity: 3", "unknown field \"verbsity\" in logging, did you mean \"verbosity\"?", (2, 3)),
            (
                "logging: {options: {text: {infoBufferSize: x}}}",
                "logging.options.text.infoBufferSize must be a quantity such as 100Mi or 250m, not this text",
                (1, 44),
            ),
            ("authentication: {x509: [a]}", "authentication.x509 must be a mapping, not a list", (1, 24)),
            ("syncFrequency: 5", "syncFrequency must be a duration such as 30s or 1m30s, not a number", (1, 16)),
            ("clusterDNS: 10.96.0.10", "clusterDNS must be a list, not a string", (1, 13)),
            ("clusterDNS: [10]", "clusterDNS[0] must be a string (quote it), not a number", (1, 14)),
            (
                "evictionHard: {memory.available: 100}",
                "evictionHard.memory.available must be a string (quote it), not a number",
                (1, 34),
            ),
            (
                "reservedMemory:\n- limits: {memory: 1Gi}\n  numaNod: 0",
                "unknown field \"numaNod\" in reservedMemory[0], did you mean \"numaNode\"?",
                (3, 3),
            ),
        ];
        for (text, expected, (line, column)) in cases {
            assert_eq!(
                first("KubeletConfiguration", text),
                Some((expected.to_owned(), Some(Place { line, column }))),
                "{text}"
            );
        }
        let proxy = first("KubeProxyConfiguration", "conntrack: {maxPerCore: 32768, mim: 1}");
        assert_eq!(
            proxy.map(|(text, _)| text).as_deref(),
            Some("unknown field \"mim\" in conntrack, did you mean \"min\"?")
        );
    }

    #[test]
    fn what_fits_passes() {
        for text in [
            "maxPods: 110\nlogging: {flushFrequency: 5s, verbosity: 3, vmodule: [{filePattern: a, verbosity: 2}]}",
            "evictionHard: {memory.available: 100Mi}\nfeatureGates: {X: true}\nclusterDNS: null\nlogging: {flushFrequency: 5}",
            "shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 10}]\nsyncFrequency: 1m0s",
        ] {
            assert_eq!(first("KubeletConfiguration", text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for good in ["100Mi", "0.5", "250m", "1e3", "-1", "12E", ".5Gi"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "Mi", "1 Gi", "1gi", "1.2.3", "abc"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn patches_have_directives_and_keys() {
        let patch = |text: &str| {
            let tree: Tree = crate::yaml::from_str(text).expect("YAML");
            check_patch("Pod", &tree).map(|found| found.to_string())
        };
        for good in [
            "spec: {containers: [{name: x, $patch: delete}], $setElementOrder/containers: [{name: x}]}",
            "spec: {volumes: [{$patch: replace}, {name: v, emptyDir: {}}], $retainKeys: [volumes]}",
            "metadata: {annotations: {$patch: replace, a: b}}",
        ] {
            assert_eq!(patch(good), None, "{good}");
        }
        assert_eq!(
            patch("spec: {containers: [{image: x}]}").as_deref(),
            Some("an item of spec.containers has no \"name\", by which its list is merged")
        );
        assert_eq!(patch("spec: {$patch: banana}").as_deref(), Some("$patch must be replace or delete"));
        assert_eq!(
            patch("spec: {$deleteFromPrimitiveList/x: [a]}").as_deref(),
            Some("$deleteFromPrimitiveList/x: there is no list \"x\" here")
        );
        assert_eq!(patch("spec: {$foo: [a]}").as_deref(), Some("unknown directive $foo"));
    }
}
