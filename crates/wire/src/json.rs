//! JSON bodies: parsed, then coerced by schema to the canonical form. Unknown members and those that are null fall away
//! here, as they do at AWS; a value of the wrong kind is refused in the words of AWS's own parser, and so is null in a list.

use serde_json::{Map, Number, Value};

use crate::MAX_DEPTH;
use crate::error::WireError;
use crate::scalar::Timestamp;
use crate::schema::{Shape, Struct};

/// Parses a body. No body counts as an empty structure, as some old clients send none.
pub(crate) fn decode(body: &[u8], shape: &Struct) -> Result<Value, WireError> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    // AWS: the text names no position; we do, because it helps and no client matches on it.
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| WireError::serialization(format!("The request body is not valid JSON: {error}")))?;
    structure(value, shape, 0)
}

fn structure(value: Value, shape: &Struct, depth: usize) -> Result<Value, WireError> {
    let Value::Object(members) = value else { return Err(unexpected(&value, "a structure")) };
    let mut out = Map::new();
    for (name, value) in members {
        // AWS: a client that names the shape of a document sends `__type` along; like every unknown member it is dropped.
        let Some(member) = shape.member(&name) else { continue };
        if !value.is_null() {
            out.insert(name, coerce(value, member.shape, depth + 1)?);
        }
    }
    Ok(Value::Object(out))
}

fn coerce(value: Value, shape: Shape, depth: usize) -> Result<Value, WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::serialization("The request is nested too deeply."));
    }
    match shape {
        Shape::Structure(shape) => structure(value, shape, depth),
        Shape::List(list) => {
            let Value::Array(items) = value else { return Err(unexpected(&value, "a list")) };
            if items.iter().any(Value::is_null) {
                return Err(WireError::serialization("Null found in a list where not expected."));
            }
            items
                .into_iter()
                .map(|item| coerce(item, list.item, depth + 1))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array)
        }
        Shape::Map(map) => {
            let Value::Object(entries) = value else { return Err(unexpected(&value, "a map")) };
            let entries = entries.into_iter().filter(|(_, value)| !value.is_null());
            let entries = entries.map(|(key, value)| Ok((key, coerce(value, map.value, depth + 1)?)));
            entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        Shape::String(_) if value.is_string() => Ok(value),
        Shape::String(_) => Err(unexpected(&value, "a String")),
        Shape::Integer(_) => integer(&value, "an Integer", i64::from(i32::MIN), i64::from(i32::MAX)),
        Shape::Long(_) => integer(&value, "a Long", i64::MIN, i64::MAX),
        Shape::Double(_) => match value.as_f64() {
            Some(number) => Ok(Value::from(number)),
            None => Err(unexpected(&value, "a Double")),
        },
        Shape::Boolean if value.is_boolean() => Ok(value),
        Shape::Boolean => Err(unexpected(&value, "a Boolean")),
        Shape::Timestamp(_) => match value.as_f64() {
            Some(seconds) => Ok(Value::from(Timestamp::from_seconds(seconds).as_seconds())),
            None => Err(unexpected(&value, "milliseconds since epoch")),
        },
        Shape::Blob(_) => match value.as_str().map(|text| serde_json::from_value::<crate::Blob>(text.into())) {
            Some(Ok(_)) => Ok(value),
            Some(Err(_)) => Err(WireError::serialization("Blob is not valid base64.")),
            None => Err(unexpected(&value, "a Blob")),
        },
        Shape::Document => Ok(value),
    }
}

/// AWS: numbers are truncated, not refused, when they carry a fraction.
#[allow(clippy::cast_possible_truncation)]
fn integer(value: &Value, wanted: &str, min: i64, max: i64) -> Result<Value, WireError> {
    let Value::Number(number) = value else { return Err(unexpected(value, wanted)) };
    let whole = number.as_i64().or_else(|| number.as_f64().filter(|f| f.abs() < 9e15).map(|f| f.trunc() as i64));
    match whole {
        Some(whole) if (min..=max).contains(&whole) => Ok(Value::Number(Number::from(whole))),
        _ => Err(WireError::serialization(format!("{number} can not be converted to {wanted}"))),
    }
}

/// The words of AWS's parser for a value of the wrong kind, as clients have reported them.
fn unexpected(value: &Value, wanted: &str) -> WireError {
    let collection = matches!(wanted, "a structure" | "a list" | "a map");
    let class = match value {
        Value::Object(_) => return WireError::serialization("Start of structure or map found where not expected."),
        Value::Array(_) => return WireError::serialization("Start of list found where not expected."),
        Value::Null => "null",
        Value::Bool(_) => "java.lang.Boolean",
        Value::Number(_) => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        Value::String(_) => "java.lang.String",
    };
    WireError::serialization(if collection {
        format!("Unrecognized collection type class {class}")
    } else {
        format!("class {class} can not be converted to {wanted}")
    })
}
