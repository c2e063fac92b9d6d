//! A document with the place of every key and value, to answer "where does this field stand?".

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::Place;

/// A YAML value, its scalars forgotten.
#[derive(Debug)]
pub enum Tree {
    Scalar,
    Sequence(Vec<Spanned<Tree>>),
    Mapping(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Tree {
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
            place = Some(Place { line: location.line(), column: location.column() });
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

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
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
