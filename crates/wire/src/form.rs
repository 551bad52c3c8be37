//! Form bodies of the query and ec2 protocols, read into the canonical form by schema, and written from it for the client.
//!
//! `Filter.1.Value.2=x` is a path; the parameters first become a tree, then the schema says what each node means.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::MAX_DEPTH;
use crate::error::WireError;
use crate::scalar::Timestamp;
use crate::schema::{Operation, Protocol, Service, Shape, Struct};

/// A parameter and those below it.
#[derive(Default)]
struct Node {
    value: Option<String>,
    below: BTreeMap<String, Node>,
}

impl Node {
    /// Children whose names are numbers, in their order.
    fn numbered(&self) -> Vec<&Node> {
        let mut items: Vec<(u64, &Node)> =
            self.below.iter().filter_map(|(name, node)| Some((name.parse().ok()?, node))).collect();
        items.sort_by_key(|(index, _)| *index);
        items.into_iter().map(|(_, node)| node).collect()
    }
}

/// Reads a form body.
pub(crate) fn decode(protocol: Protocol, body: &[u8], shape: &Struct) -> Result<Value, WireError> {
    let mut root = Node::default();
    for (name, value) in form_urlencoded::parse(body) {
        if name.split('.').count() > MAX_DEPTH {
            return Err(WireError::new("MalformedQueryString", "A parameter name is nested too deeply."));
        }
        let node = name.split('.').fold(&mut root, |node, part| node.below.entry(part.to_owned()).or_default());
        node.value = Some(value.into_owned());
    }
    Reader { ec2: protocol == Protocol::Ec2Query }.structure(&root, shape)
}

struct Reader {
    ec2: bool,
}

impl Reader {
    /// The tree is at most [`MAX_DEPTH`] deep, and every level of the schema takes at least one level of it.
    fn structure(&self, node: &Node, shape: &Struct) -> Result<Value, WireError> {
        let mut out = Map::new();
        for member in shape.members {
            let Some(node) = node.below.get(member.query) else { continue };
            if let Some(value) = self.value(node, member.shape, member.query)? {
                out.insert(member.name.to_owned(), value);
            }
        }
        Ok(Value::Object(out))
    }

    fn value(&self, node: &Node, shape: Shape, name: &str) -> Result<Option<Value>, WireError> {
        match shape {
            Shape::Structure(shape) => self.structure(node, shape).map(Some),
            Shape::List(list) => {
                let wrapper = node.below.get(list.item_name).filter(|_| !self.ec2 && !list.flattened);
                let items = wrapper.unwrap_or(node).numbered();
                let items = items.into_iter().filter_map(|item| self.value(item, list.item, name).transpose());
                items.collect::<Result<Vec<_>, _>>().map(|items| Some(Value::Array(items)))
            }
            Shape::Map(map) => {
                let entries = node.below.get("entry").filter(|_| !map.flattened).unwrap_or(node).numbered();
                let mut out = Map::new();
                for entry in entries {
                    let key = entry.below.get(map.key_name).and_then(|key| key.value.clone());
                    let (Some(key), Some(value)) = (key, entry.below.get(map.value_name)) else { continue };
                    if let Some(value) = self.value(value, map.value, name)? {
                        out.insert(key, value);
                    }
                }
                Ok(Some(Value::Object(out)))
            }
            Shape::String(_)
            | Shape::Integer(_)
            | Shape::Long(_)
            | Shape::Double(_)
            | Shape::Boolean
            | Shape::Timestamp(_)
            | Shape::Blob(_)
            | Shape::Document => {
                let Some(text) = node.value.as_deref() else { return Ok(None) };
                // AWS: an empty parameter of a kind that has no empty value counts as not sent.
                if text.is_empty() && !matches!(shape, Shape::String(_)) {
                    return Ok(None);
                }
                scalar(text, shape).map(Some).ok_or_else(|| self.invalid(text, name, shape))
            }
        }
    }

    fn invalid(&self, text: &str, name: &str, shape: Shape) -> WireError {
        let wanted = match shape {
            Shape::Integer(_) | Shape::Long(_) => "an integer",
            Shape::Double(_) => "a number",
            Shape::Boolean => "a boolean",
            Shape::Timestamp(_) => "a timestamp",
            Shape::Blob(_) => "base64",
            Shape::String(_) | Shape::Document | Shape::Structure(_) | Shape::List(_) | Shape::Map(_) => "valid",
        };
        if self.ec2 {
            let message = format!("Value ({text}) for parameter {name} is invalid. It must be {wanted}.");
            return WireError::new("InvalidParameterValue", message);
        }
        WireError::new("MalformedInput", format!("Value '{text}' of '{name}' must be {wanted}."))
    }
}

/// Reads a scalar's text; also the XML reader's.
pub(crate) fn scalar(text: &str, shape: Shape) -> Option<Value> {
    match shape {
        Shape::String(_) => Some(Value::from(text)),
        Shape::Integer(_) => text.trim().parse::<i32>().ok().map(Value::from),
        Shape::Long(_) => text.trim().parse::<i64>().ok().map(Value::from),
        Shape::Double(_) => text.trim().parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from),
        Shape::Boolean => match text.trim() {
            "true" | "True" | "TRUE" | "1" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        Shape::Timestamp(_) => Timestamp::parse(text.trim()).map(|time| Value::from(time.as_seconds())),
        Shape::Blob(_) => serde_json::from_value::<crate::Blob>(text.into()).is_ok().then(|| Value::from(text)),
        Shape::Document => serde_json::from_str(text).ok(),
        Shape::Structure(_) | Shape::List(_) | Shape::Map(_) => None,
    }
}

/// A scalar's text in forms and in XML; `None` for what is not a scalar.
pub(crate) fn scalar_text(value: &Value, shape: Shape) -> Option<String> {
    match (value, shape) {
        (Value::Number(number), Shape::Timestamp(format)) => Timestamp::from_seconds(number.as_f64()?).format(format),
        (Value::String(text), _) => Some(text.clone()),
        (Value::Number(number), _) => Some(number.to_string()),
        (Value::Bool(truth), _) => Some(truth.to_string()),
        (Value::Null | Value::Array(_) | Value::Object(_), _) => None,
    }
}

/// Writes a canonical value as a form body, the client's side.
pub(crate) fn encode(service: &Service, operation: &Operation, value: &Value) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", operation.name).append_pair("Version", service.api_version);
    let mut pairs = Vec::new();
    write_structure(service.protocol, "", value, operation.input, &mut pairs);
    form.extend_pairs(pairs);
    form.finish()
}

type Pairs = Vec<(String, String)>;

fn write_structure(protocol: Protocol, prefix: &str, value: &Value, shape: &Struct, out: &mut Pairs) {
    let Value::Object(members) = value else { return };
    for member in shape.members {
        let Some(value) = members.get(member.name).filter(|value| !value.is_null()) else { continue };
        let dot = if prefix.is_empty() { "" } else { "." };
        write(protocol, &format!("{prefix}{dot}{}", member.query), value, member.shape, out);
    }
}

fn write(protocol: Protocol, name: &str, value: &Value, shape: Shape, out: &mut Pairs) {
    match (shape, value) {
        (Shape::Structure(shape), _) => write_structure(protocol, name, value, shape, out),
        (Shape::List(list), Value::Array(items)) => {
            if items.is_empty() && protocol == Protocol::AwsQuery {
                out.push((name.to_owned(), String::new()));
            }
            let flat = list.flattened || protocol == Protocol::Ec2Query;
            let name = if flat { name.to_owned() } else { format!("{name}.{}", list.item_name) };
            for (i, item) in items.iter().enumerate() {
                write(protocol, &format!("{name}.{}", i + 1), item, list.item, out);
            }
        }
        (Shape::Map(map), Value::Object(entries)) => {
            let name = if map.flattened { name.to_owned() } else { format!("{name}.entry") };
            for (i, (key, value)) in entries.iter().enumerate() {
                out.push((format!("{name}.{}.{}", i + 1, map.key_name), key.clone()));
                write(protocol, &format!("{name}.{}.{}", i + 1, map.value_name), value, map.value, out);
            }
        }
        (_, value) => out.extend(scalar_text(value, shape).map(|text| (name.to_owned(), text))),
    }
}
