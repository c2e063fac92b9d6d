//! The table of types, as it was generated.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(include_str!("types.json")).expect("generated, and read by a test"));

#[derive(Deserialize)]
struct Table {
    roots: BTreeMap<String, String>,
    types: BTreeMap<String, Structure>,
}

/// The fields of one Go struct, by their JSON names.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Structure(BTreeMap<String, Field>);

/// One field.
#[derive(Debug, Deserialize)]
#[serde(from = "Entry")]
pub struct Field {
    expression: String,
    strategy: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Plain(String),
    Patched {
        #[serde(rename = "type")]
        expression: String,
        #[serde(default)]
        strategy: String,
        #[serde(default)]
        key: String,
    },
}

impl From<Entry> for Field {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Plain(expression) => Self { expression, strategy: String::new(), key: String::new() },
            Entry::Patched { expression, strategy, key } => Self { expression, strategy, key },
        }
    }
}

/// What a strategic merge patch does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge<'a> {
    /// Maps merge, lists and scalars replace.
    Default,
    /// The patch's value is taken as it is.
    Replace,
    /// A list of values merges as a set.
    Set,
    /// A list of objects merges by this field of theirs.
    ByKey(&'a str),
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    Bool,
    String,
    /// Both ends included.
    Integer(i128, i128),
    Float,
    Quantity,
    Duration,
    Time,
    Bytes,
    IntegerOrString,
    IntegerOrDuration,
    Any,
    /// An expression for its items.
    List(&'a str),
    /// An expression for its values.
    Map(&'a str),
    Structure(&'a Structure),
}

/// The type of a document, for example `Pod`.
#[must_use]
pub fn root(kind: &str) -> Option<&'static Structure> {
    TABLE.types.get(TABLE.roots.get(kind)?)
}

impl Structure {
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Field {
    #[must_use]
    pub fn shape(&self) -> Shape<'_> {
        shape_of(&self.expression)
    }

    #[must_use]
    pub fn merge(&self) -> Merge<'_> {
        let mut strategies = self.strategy.split(',');
        if strategies.clone().any(|strategy| strategy == "replace") {
            Merge::Replace
        } else if !strategies.any(|strategy| strategy == "merge") {
            Merge::Default
        } else if self.key.is_empty() {
            Merge::Set
        } else {
            Merge::ByKey(&self.key)
        }
    }
}

/// What a type expression stands for.
#[must_use]
pub fn shape_of(expression: &str) -> Shape<'_> {
    if let Some(item) = expression.strip_prefix("[]") {
        return Shape::List(item);
    }
    if let Some(value) = expression.strip_prefix("{}") {
        return Shape::Map(value);
    }
    match expression {
        "bool" => Shape::Bool,
        "string" => Shape::String,
        "int8" => Shape::Integer(i8::MIN.into(), i8::MAX.into()),
        "int16" => Shape::Integer(i16::MIN.into(), i16::MAX.into()),
        "int32" => Shape::Integer(i32::MIN.into(), i32::MAX.into()),
        "int64" => Shape::Integer(i64::MIN.into(), i64::MAX.into()),
        "uint8" => Shape::Integer(0, u8::MAX.into()),
        "uint16" => Shape::Integer(0, u16::MAX.into()),
        "uint32" => Shape::Integer(0, u32::MAX.into()),
        "uint64" => Shape::Integer(0, u64::MAX.into()),
        "float" => Shape::Float,
        "quantity" => Shape::Quantity,
        "duration" => Shape::Duration,
        "time" => Shape::Time,
        "bytes" => Shape::Bytes,
        "int-or-string" => Shape::IntegerOrString,
        "int-or-duration" => Shape::IntegerOrDuration,
        name => TABLE.types.get(name).map_or(Shape::Any, Shape::Structure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_of_the_table_has_a_shape() {
        let fields = TABLE.types.values().flat_map(|structure| structure.0.values());
        let mut count = 0;
        for field in fields {
            let mut expression = field.expression.as_str();
            while let Shape::List(inner) | Shape::Map(inner) = shape_of(expression) {
                expression = inner;
            }
            assert!(expression == "any" || !matches!(shape_of(expression), Shape::Any), "{expression}");
            count += 1;
        }
        assert!(count > 800, "{count}");
    }

    #[test]
    fn lists_of_a_pod_merge_by_their_keys() {
        let Some(Shape::Structure(spec)) = root("Pod").and_then(|pod| Some(pod.field("spec")?.shape())) else {
            panic!("a Pod has a spec")
        };
        let merge = |name: &str| spec.field(name).map(Field::merge);
        assert_eq!(merge("containers"), Some(Merge::ByKey("name")));
        assert_eq!(merge("hostAliases"), Some(Merge::ByKey("ip")));
        assert_eq!(merge("tolerations"), Some(Merge::Default));
        assert_eq!(merge("volumes"), Some(Merge::ByKey("name")), "with retainKeys beside it");
    }
}
