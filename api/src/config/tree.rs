//! A document with the place of every key and value, to answer "where does this field stand?" and to be held against a
//! schema.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::error::Place;

/// A YAML value.
#[derive(Debug)]
pub enum Tree {
    /// Never an array or object.
    Scalar(Value),
    Sequence(Vec<Spanned<Tree>>),
    Mapping(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Tree {
    /// The same without places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Sequence(items) => Value::Array(items.iter().map(|item| item.value.to_value()).collect()),
            Self::Mapping(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.value.clone(), v.value.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The value at a path of keys.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        let Self::Mapping(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.value == *first)?.1.value.get(rest)
    }

    /// The place of the value at a path such as `networking.serviceSubnet` or `bootstrapTokens[0].token`; when the path is
    /// not all there, the place of the longest part that is.
    #[must_use]
    pub fn locate(&self, path: &str) -> Option<Place> {
        let mut here = self;
        let mut place = None;
        for step in path.split('.').flat_map(steps) {
            let found = match (here, step) {
                (Self::Mapping(entries), Step::Key(key)) => {
                    entries.iter().find(|(k, _)| k.value == key).map(|(k, v)| (k.referenced, &v.value))
                }
                (Self::Sequence(items), Step::Index(index)) => items.get(index).map(|v| (v.referenced, &v.value)),
                _ => None,
            };
            let Some((location, next)) = found else { break };
            place = Some(Place::from(location));
            here = next;
        }
        place
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `name[1]` is a key, then an index.
fn steps(part: &str) -> impl Iterator<Item = Step<'_>> {
    let (key, indexes) = part.split_once('[').unwrap_or((part, ""));
    let indexes = indexes.split('[').filter_map(|i| i.trim_end_matches(']').parse().ok()).map(Step::Index);
    std::iter::once(Step::Key(key)).chain(indexes)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Scalar(i64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::from)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Scalar(u64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::from)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Scalar(String::from_utf8_lossy(value).into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Mapping(entries))
    }
}
