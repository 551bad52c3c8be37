//! Which members a request really carries. The server compares these paths with what it honours and refuses the rest by
//! name; silence would be worse than a refusal.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema::{Shape, Struct};

/// The dotted paths of every known member that carries a meaningful value, sorted, list and map positions left out:
/// `containerDefinitions.linuxParameters.devices`. Structures and lists of structures are named by what is in them, and
/// also by themselves (`containerDefinitions`, `containerDefinitions.linuxParameters`). Null, `""`, `[]`, `{}`, `0` and
/// `false`, and structures and maps made only of these, count as unset: old Go clients send them for members nobody set.
/// A list that has an item says something whatever the item is (`loadBalancers: [{}]`): no client makes one by itself.
pub fn present(value: &Value, shape: &Struct) -> Vec<String> {
    let mut paths = BTreeSet::new();
    structure(value, shape, "", &mut paths);
    paths.into_iter().collect()
}

fn structure(value: &Value, shape: &Struct, prefix: &str, paths: &mut BTreeSet<String>) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        let Some(member) = shape.member(name).filter(|_| !is_unset(value)) else { continue };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        inside(value, member.shape, &path, paths);
        paths.insert(path);
    }
}

fn inside(value: &Value, shape: Shape, path: &str, paths: &mut BTreeSet<String>) {
    match (shape, value) {
        (Shape::Structure(shape), _) => structure(value, shape, path, paths),
        (Shape::List(list), Value::Array(items)) => items.iter().for_each(|item| inside(item, list.item, path, paths)),
        (Shape::Map(map), Value::Object(entries)) => {
            entries.values().for_each(|value| inside(value, map.value, path, paths));
        }
        _ => {}
    }
}

/// Whether a value says nothing.
pub(crate) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(Value::is_null),
        Value::Object(members) => members.values().all(is_unset),
    }
}
