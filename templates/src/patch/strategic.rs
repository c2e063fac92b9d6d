//! Strategic merge patches: mappings merge, lists replace or merge as their type says (`patchStrategy`, `patchMergeKey`),
//! directives delete, replace and order.
//!
//! Source of the rules: the Kubernetes API conventions and what apimachinery's `strategicpatch` does with a parallel list:
//! items of the patch keep the order of the patch, the others that of the original, and where neither says anything a new
//! item stands in front.

use junio_api::config::schema::{Field, Merge, Shape, root, shape_of};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// `original`, an object of this kind, with `patch` merged into it.
pub fn merge(kind: &str, original: Value, patch: Value) -> Result<Value, String> {
    let structure = root(kind).ok_or_else(|| format!("{kind} has no schema"))?;
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => {
            merge_objects(original, patch, Shape::Structure(structure)).map(Value::Object)
        }
        _ => Err("both must be mappings".to_owned()),
    }
}

fn merge_objects(mut original: Object, mut patch: Object, shape: Shape<'_>) -> Result<Object, String> {
    match patch.remove(PATCH).as_ref().map(Value::as_str) {
        Some(Some("replace")) => return Ok(plain_object(patch)),
        Some(Some("delete")) => return Ok(Object::new()),
        Some(_) => return Err("$patch must be replace or delete".to_owned()),
        None => {}
    }
    if let Some(keys) = patch.remove(RETAIN_KEYS) {
        retain(&mut original, &patch, &keys)?;
    }
    let (directives, values): (Object, Object) = patch.into_iter().partition(|(key, _)| key.starts_with('$'));
    let mut orders = Vec::new();
    for (key, value) in directives {
        let Value::Array(items) = value else { return Err(format!("{key} must be a list")) };
        if let Some(list) = key.strip_prefix(SET_ORDER) {
            orders.push((list.to_owned(), items));
        } else if let Some(Value::Array(found)) = key.strip_prefix(DELETE_FROM).and_then(|list| original.get_mut(list))
        {
            found.retain(|item| !items.contains(item));
        }
    }
    for (key, value) in values {
        merge_field(&mut original, key, value, shape, &orders)?;
    }
    for (list, order) in orders {
        if let Some(Value::Array(items)) = original.get_mut(&list) {
            let before = std::mem::take(items);
            *items = ordered(before.clone(), &order, &before, field(shape, &list).map_or(Merge::Set, Field::merge));
        }
    }
    Ok(original)
}

fn merge_field(
    original: &mut Object,
    key: String,
    value: Value,
    shape: Shape<'_>,
    orders: &[(String, Vec<Value>)],
) -> Result<(), String> {
    let (merge, inner) = match field(shape, &key) {
        Some(field) => (field.merge(), field.shape()),
        None => (Merge::Default, if let Shape::Map(value) = shape { shape_of(value) } else { Shape::Any }),
    };
    let merged = match (original.remove(&key), value) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(old)), Value::Object(new)) if merge != Merge::Replace => {
            Some(Value::Object(merge_objects(old, new, inner)?))
        }
        (Some(Value::Array(old)), Value::Array(new)) if matches!(merge, Merge::Set | Merge::ByKey(_)) => {
            let item = if let Shape::List(item) = inner { shape_of(item) } else { Shape::Any };
            let order = orders.iter().find(|(list, _)| *list == key);
            if let Some((_, order)) = order {
                in_order(&new, order, merge).map_err(|reason| format!("{key}: {reason}"))?;
            }
            Some(Value::Array(merge_lists(old, new, merge, item).map_err(|reason| format!("{key}: {reason}"))?))
        }
        (_, new) => plain(new),
    };
    original.extend(merged.map(|merged| (key, merged)));
    Ok(())
}

fn field<'a>(shape: Shape<'a>, key: &str) -> Option<&'a Field> {
    if let Shape::Structure(structure) = shape { structure.field(key) } else { None }
}

/// `$retainKeys`: of the original only these fields stay, and the patch may hold no others.
fn retain(original: &mut Object, patch: &Object, keys: &Value) -> Result<(), String> {
    let keys = keys.as_array().ok_or("$retainKeys must be a list")?;
    let named = |key: &str| keys.iter().any(|kept| kept == key);
    if let Some((other, _)) = patch.iter().find(|(key, value)| !value.is_null() && !key.starts_with('$') && !named(key))
    {
        return Err(format!("{other:?} is set and not in $retainKeys"));
    }
    original.retain(|key, _| named(key));
    Ok(())
}

fn merge_lists(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merge: Merge<'_>,
    item: Shape<'_>,
) -> Result<Vec<Value>, String> {
    let Merge::ByKey(key) = merge else {
        let mut merged: Vec<Value> = Vec::new();
        for value in original.iter().chain(&patch) {
            if !merged.contains(value) {
                merged.push(value.clone());
            }
        }
        return Ok(ordered(merged, &patch, &original, merge));
    };
    let mut items = Vec::new();
    let mut replace = false;
    for entry in patch {
        match entry.get(PATCH).map(Value::as_str) {
            None => items.push(entry),
            Some(Some("replace")) => replace = true,
            Some(Some("delete")) => {
                let gone = entry.get(key).ok_or_else(|| format!("an item to delete has no {key:?}"))?;
                original.retain(|found| found.get(key) != Some(gone));
            }
            Some(_) => return Err("$patch must be replace or delete".to_owned()),
        }
    }
    if replace {
        return Ok(items.into_iter().filter_map(plain).collect());
    }
    let mut merged = original.clone();
    for entry in &items {
        let name = entry.get(key).ok_or_else(|| format!("an item has no {key:?}"))?;
        match merged.iter_mut().find(|found| found.get(key) == Some(name)) {
            Some(found) => {
                let (Value::Object(old), Value::Object(new)) = (found.take(), entry.clone()) else {
                    return Err("its items must be mappings".to_owned());
                };
                *found = Value::Object(merge_objects(old, new, item)?);
            }
            None => merged.extend(plain(entry.clone())),
        }
    }
    Ok(ordered(merged, &items, &original, merge))
}

/// What two items are told apart by.
fn identity<'a>(item: &'a Value, merge: Merge<'_>) -> &'a Value {
    match merge {
        Merge::ByKey(key) => &item[key],
        _ => item,
    }
}

fn position(item: &Value, list: &[Value], merge: Merge<'_>) -> Option<usize> {
    list.iter().position(|other| identity(other, merge) == identity(item, merge))
}

/// Items that `order` names in its order, the others in the order of `original`, both woven together.
fn ordered(merged: Vec<Value>, order: &[Value], original: &[Value], merge: Merge<'_>) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(item, order, merge).is_some());
    named.sort_by_key(|item| position(item, order, merge));
    others.sort_by_key(|item| position(item, original, merge));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut woven = Vec::new();
    while let (Some(left), Some(right)) = (others.peek(), named.peek()) {
        let first = match (position(left, original, merge), position(right, original, merge)) {
            (Some(left), Some(right)) => left < right,
            _ => false,
        };
        woven.extend(if first { others.next() } else { named.next() });
    }
    woven.extend(others);
    woven.extend(named);
    woven
}

/// A list beside its `$setElementOrder` must be in that order.
fn in_order(list: &[Value], order: &[Value], merge: Merge<'_>) -> Result<(), String> {
    let mut order = order.iter();
    for item in list.iter().filter(|item| item.get(PATCH).is_none()) {
        if !order.any(|named| identity(named, merge) == identity(item, merge)) {
            return Err("its order is not that of $setElementOrder".to_owned());
        }
    }
    Ok(())
}

/// A value of the patch where the original has none: without directives and nulls; `None` for what is itself a directive.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) if object.contains_key(PATCH) => None,
        Value::Object(object) => Some(Value::Object(plain_object(object))),
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(plain).collect())),
        other => Some(other),
    }
}

fn plain_object(object: Object) -> Object {
    let values = object.into_iter().filter(|(key, _)| !key.starts_with('$'));
    values.filter_map(|(key, value)| Some((key, plain(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({
            "metadata": {"annotations": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
            "spec": {
                "containers": [{
                    "name": "c", "command": ["run", "--old"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 80}], "volumeMounts": [{"mountPath": "/x", "name": "x"}],
                }],
                "volumes": [{"name": "x", "hostPath": {"path": "/x"}}, {"name": "y", "emptyDir": {}}],
                "tolerations": [{"key": "k"}],
            },
        })
    }

    fn patched(patch: Value) -> Value {
        merge("Pod", pod(), patch).expect("applies")
    }

    #[test]
    fn lists_with_keys_merge_and_others_replace() {
        let after = patched(json!({"spec": {
            "containers": [{"name": "c", "command": ["new"], "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                "volumeMounts": [{"mountPath": "/x", "readOnly": true}]}],
            "tolerations": [{"key": "other"}],
        }}));
        let container = &after["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["new"]));
        assert_eq!(
            container["env"],
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
        );
        assert_eq!(container["volumeMounts"], json!([{"mountPath": "/x", "name": "x", "readOnly": true}]));
        assert_eq!(after["spec"]["tolerations"], json!([{"key": "other"}]));
        assert_eq!(after["spec"]["volumes"], pod()["spec"]["volumes"]);
    }

    #[test]
    fn a_new_item_alone_stands_in_front() {
        let after = patched(json!({"spec": {"volumes": [{"name": "new", "emptyDir": {"medium": null}}]}}));
        let names: Vec<_> = after["spec"]["volumes"].as_array().expect("a list").iter().map(|v| &v["name"]).collect();
        assert_eq!(names, ["new", "x", "y"]);
        assert_eq!(after["spec"]["volumes"][0]["emptyDir"], json!({}));
    }

    #[test]
    fn directives_delete_replace_retain_and_order() {
        let after = patched(json!({
            "metadata": {"annotations": {"$patch": "replace", "c": "3"}, "$deleteFromPrimitiveList/finalizers": ["x"]},
            "spec": {
                "volumes": [{"name": "x", "$patch": "delete"}, {"name": "y", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/y"}}],
                "containers": [{"name": "c", "$setElementOrder/env": [{"name": "B"}, {"name": "A"}],
                    "ports": [{"$patch": "replace"}, {"containerPort": 90}]}],
            },
        }));
        assert_eq!(after["metadata"], json!({"annotations": {"c": "3"}, "finalizers": ["y"]}));
        assert_eq!(after["spec"]["volumes"], json!([{"name": "y", "hostPath": {"path": "/y"}}]));
        let container = &after["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]));
        assert_eq!(container["ports"], json!([{"containerPort": 90}]));
    }

    #[test]
    fn null_removes_and_primitive_lists_with_merge_are_sets() {
        let after = patched(
            json!({"metadata": {"annotations": {"a": null}, "finalizers": ["y", "z"]}, "spec": {"tolerations": null}}),
        );
        assert_eq!(after["metadata"]["annotations"], json!({"b": "2"}));
        let mut finalizers: Vec<_> = after["metadata"]["finalizers"].as_array().expect("a list").clone();
        finalizers.sort_by_key(ToString::to_string);
        assert_eq!(finalizers, [json!("x"), json!("y"), json!("z")]);
        assert!(after["spec"].get("tolerations").is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for patch in [
            json!({"spec": {"volumes": [{"name": "y", "$retainKeys": ["name"], "hostPath": {"path": "/y"}}]}}),
            json!({"spec": {"containers": [{"image": "no name"}]}}),
            json!({"spec": {"$setElementOrder/volumes": [{"name": "y"}], "volumes": [{"name": "x"}]}}),
            json!({"spec": {"$patch": "banana"}}),
        ] {
            assert!(merge("Pod", pod(), patch.clone()).is_err(), "{patch}");
        }
    }
}
