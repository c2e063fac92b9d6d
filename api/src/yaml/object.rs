//! Reading large typed objects (a Pod) out of YAML by way of JSON, as `kubectl` and the upstream kubelet do.
//!
//! Decoding such types straight from YAML compiles every one of their fields a second time for the YAML reader: for
//! `Pod` alone that was a fifth of the kubelet's code. The JSON decoder is there anyway.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ParseError;
use crate::config::tree::Tree;

/// Reads one YAML document into a type that JSON can be decoded into. A scalar keeps the type that YAML gives it: `true`
/// is no text. An error names the place of the value that is at fault.
pub fn object_from_str<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let value: Value = super::from_str(text)?;
    decode(&value).map_err(|reason| misfit(text, &value, reason, &|value| decode::<T>(value).err()))
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    serde_json::from_slice(&json).map_err(|error| {
        let text = error.to_string();
        // The place is one in our JSON, which nobody has seen.
        text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
    })
}

fn misfit(text: &str, value: &Value, reason: String, check: &dyn Fn(&Value) -> Option<String>) -> ParseError {
    let path = culprit(value, &reason, check);
    let place = super::from_str::<Tree>(text).ok().and_then(|tree| tree.locate(&path));
    let subject = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let (line, column) = place.map(|place| (place.line, place.column)).unzip();
    let message = match place {
        Some(place) => format!("{subject}{reason} at line {}, column {}", place.line, place.column),
        None => format!("{subject}{reason}"),
    };
    ParseError { message, reason: format!("{subject}{reason}"), line, column }
}

/// The path of the innermost value without which the object is not wrong in the same way; empty when there is none.
fn culprit(value: &Value, reason: &str, check: &dyn Fn(&Value) -> Option<String>) -> String {
    let mut path = String::new();
    let mut pointer = String::new();
    while let Some((step, next)) = value.pointer(&pointer).into_iter().flat_map(children).find(|(_, token)| {
        let mut without = value.clone();
        remove(&mut without, &pointer, token);
        check(&without).as_deref() != Some(reason)
    }) {
        path.push_str(if step.starts_with('[') || path.is_empty() { "" } else { "." });
        path.push_str(&step);
        pointer = format!("{pointer}/{}", next.replace('~', "~0").replace('/', "~1"));
    }
    path
}

/// The children of a value: how people write each step, and its key or index.
fn children(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(map) => map.keys().map(|key| (key.clone(), key.clone())).collect(),
        Value::Array(items) => (0..items.len()).map(|index| (format!("[{index}]"), index.to_string())).collect(),
        _ => Vec::new(),
    }
}

fn remove(value: &mut Value, parent: &str, token: &str) {
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(token);
        }
        // An emptied place instead of a shorter list: the other items keep their indexes.
        Some(Value::Array(items)) => {
            if let Some(item) = token.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                *item = Value::Object(serde_json::Map::new());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Port {
        #[serde(default)]
        number: u16,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        name: String,
        #[serde(default)]
        ports: Vec<Port>,
    }

    #[test]
    fn an_object_is_read() {
        let object: Object = object_from_str("name: web\nports:\n- number: 0o17\n").expect("readable");
        assert_eq!(object, Object { name: "web".to_owned(), ports: vec![Port { number: 15 }] });
    }

    #[test]
    fn an_error_names_path_line_and_column() {
        let error =
            object_from_str::<Object>("name: web\nports:\n- number: 80\n- number: many\n").expect_err("no number");
        assert_eq!((error.line, error.column), (Some(4), Some(3)), "{error}");
        assert!(error.message.starts_with("ports[1].number: invalid type: string \"many\", expected u16"), "{error}");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = object_from_str::<Object>("name: web\ncolour: red\n").expect_err("unknown");
        assert_eq!(error.line, Some(2), "{error}");
        assert!(error.message.starts_with("colour: unknown field `colour`"), "{error}");
    }

    #[test]
    fn a_missing_field_has_no_place() {
        let error = object_from_str::<Object>("ports: []\n").expect_err("no name");
        assert_eq!((error.message.as_str(), error.line), ("missing field `name`", None));
    }

    #[test]
    fn broken_yaml_keeps_its_place() {
        let error = object_from_str::<Object>("name: [\n").expect_err("no YAML");
        assert!(error.line.is_some(), "{error}");
    }
}
