//! Structural comparison of two YAML values: what theirs has and ours lacks (`-`), the other way round (`+`), and order.

use serde_json::{Map, Value};

/// One difference: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// For example `spec.containers[etcd].command`.
    pub path: String,
    /// `- VALUE`, `+ VALUE`, `THEIRS -> OURS` or `order`.
    pub change: String,
}

/// All differences, in the order of their paths.
pub fn compare(theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", theirs, ours, &mut found);
    found
}

fn walk(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<Difference>) {
    let mut push = |change: String| found.push(Difference { path: path.to_owned(), change });
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => objects(path, a, b, found),
        (Value::Array(a), Value::Array(b)) => match (keyed(a), keyed(b)) {
            (Some(x), Some(y)) => {
                let order = |map: &Map<String, Value>, other: &Map<String, Value>| {
                    map.keys().filter(|k| other.contains_key(*k)).cloned().collect::<Vec<_>>()
                };
                if order(&x, &y) != order(&y, &x) {
                    push("order".to_owned());
                }
                for (name, value) in &x {
                    match y.get(name) {
                        Some(other) => walk(&format!("{path}[{name}]"), value, other, found),
                        None => found.push(Difference { path: path.to_owned(), change: format!("- {name}") }),
                    }
                }
                for name in y.keys().filter(|name| !x.contains_key(*name)) {
                    found.push(Difference { path: path.to_owned(), change: format!("+ {name}") });
                }
            }
            _ if a.iter().chain(b).all(|item| !item.is_object() && !item.is_array()) => scalars(path, a, b, found),
            _ if a.len() == b.len() => {
                for (index, (x, y)) in a.iter().zip(b).enumerate() {
                    walk(&format!("{path}[{index}]"), x, y, found);
                }
            }
            _ => push(format!("{theirs} -> {ours}")),
        },
        (a, b) if a == b => {}
        (a, b) => push(format!("{} -> {}", text(a), text(b))),
    }
}

fn objects(path: &str, theirs: &Map<String, Value>, ours: &Map<String, Value>, found: &mut Vec<Difference>) {
    let mut keys: Vec<_> = theirs.keys().chain(ours.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (theirs.get(key), ours.get(key)) {
            (Some(x), Some(y)) => walk(&path, x, y, found),
            (Some(x), None) => found.push(Difference { path, change: format!("- {}", text(x)) }),
            (None, Some(y)) => found.push(Difference { path, change: format!("+ {}", text(y)) }),
            (None, None) => {}
        }
    }
}

/// Lists of plain values (command lines, verbs): as sets, and then the order of what both have.
fn scalars(path: &str, theirs: &[Value], ours: &[Value], found: &mut Vec<Difference>) {
    let mut push = |change: String| found.push(Difference { path: path.to_owned(), change });
    theirs.iter().filter(|item| !ours.contains(item)).for_each(|item| push(format!("- {}", text(item))));
    ours.iter().filter(|item| !theirs.contains(item)).for_each(|item| push(format!("+ {}", text(item))));
    let common =
        |list: &[Value], other: &[Value]| list.iter().filter(|item| other.contains(item)).cloned().collect::<Vec<_>>();
    if common(theirs, ours) != common(ours, theirs) {
        push("order".to_owned());
    }
}

/// A list of named things, by name; names must be unique.
fn keyed(list: &[Value]) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    for item in list {
        let name = ["name", "mountPath"].iter().find_map(|key| item.get(key)?.as_str())?;
        if map.insert(name.to_owned(), item.clone()).is_some() {
            return None;
        }
    }
    (!map.is_empty()).then_some(map)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
