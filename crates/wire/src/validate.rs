//! The model's constraints, in the words of AWS's validation framework.

use serde_json::Value;

use crate::error::WireError;
use crate::schema::{Map, Member, Protocol, Service, Shape, Struct, Text};

/// One broken constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: `containerDefinitions.1.member.name`.
    pub path: String,
    /// The same as form services name it: `TagSpecification.1.ResourceType`.
    pub parameter: String,
    /// The value as the message quotes it, `None` for a missing one.
    pub value: Option<String>,
    /// What it must be: `Member must not be null`.
    pub constraint: String,
    /// AWS: the value of a sensitive member is not quoted.
    pub secret: bool,
}

/// Longest part of a value that a message quotes; enough to recognise it, too little to flood a terminal.
const MAX_QUOTED_CHARS: usize = 256;

/// Every broken constraint of a canonical value. Optional members that are empty (`""`, `[]`, `{}`) are taken as unset.
pub fn validate(value: &Value, shape: &Struct) -> Vec<Violation> {
    let mut found = Vec::new();
    structure(value, shape, &Place::default(), &mut found);
    found
}

/// The error that tells of violations; `None` when there are none.
pub fn validation_error(service: &'static Service, violations: &[Violation]) -> Option<WireError> {
    let first = violations.first()?;
    if service.protocol == Protocol::Ec2Query {
        return Some(ec2_error(first));
    }
    let said: Vec<String> = violations
        .iter()
        .map(|violation| {
            let value = match &violation.value {
                Some(_) if violation.secret => String::new(),
                Some(value) => format!(" '{value}'"),
                None => " null".to_owned(),
            };
            format!("Value{value} at '{}' failed to satisfy constraint: {}", violation.path, violation.constraint)
        })
        .collect();
    let plural = if said.len() == 1 { "" } else { "s" };
    let message = format!("{} validation error{plural} detected: {}", said.len(), said.join("; "));
    Some(WireError::of(service, service.validation_code, message))
}

/// AWS: EC2 tells of one parameter at a time, in words of its own.
fn ec2_error(violation: &Violation) -> WireError {
    let parameter = &violation.parameter;
    let hidden = violation.value.as_ref().filter(|_| violation.secret).map(|_| "*****".to_owned());
    match hidden.as_ref().or(violation.value.as_ref()) {
        None => WireError::new("MissingParameter", format!("The request must contain the parameter {parameter}")),
        // AWS: of an enumeration EC2 says only that the value is none of it; listing a thousand instance types helps nobody.
        Some(value) if violation.constraint.starts_with("Member must satisfy enum") => {
            WireError::new("InvalidParameterValue", format!("Invalid value '{value}' for {parameter}."))
        }
        Some(value) => WireError::new(
            "InvalidParameterValue",
            format!("Value ({value}) for parameter {parameter} is invalid. {}.", violation.constraint),
        ),
    }
}

fn structure(value: &Value, shape: &Struct, place: &Place, found: &mut Vec<Violation>) {
    let Value::Object(members) = value else { return };
    for member in shape.members {
        let place = place.member(member);
        match members.get(member.name).filter(|value| !value.is_null()) {
            Some(value) if member.required || !is_empty(value) => {
                let before = found.len();
                check(value, member.shape, &place, found);
                if member.secret {
                    found[before..].iter_mut().for_each(|violation| violation.secret = true);
                }
            }
            Some(_) => {}
            None if member.required => {
                let Place { path, parameter } = place;
                let constraint = "Member must not be null".to_owned();
                found.push(Violation { path, parameter, value: None, constraint, secret: false });
            }
            None => {}
        }
    }
}

/// Where in the request a value stands, in both spellings.
#[derive(Default)]
struct Place {
    path: String,
    parameter: String,
}

impl Place {
    /// AWS: the framework spells members with a small first letter, whatever the model says.
    fn member(&self, member: &Member) -> Self {
        self.then(&uncapitalised(member.name), member.query)
    }

    fn item(&self, index: usize) -> Self {
        self.then(&format!("{}.member", index + 1), &(index + 1).to_string())
    }

    fn entry(&self, key: &str, part: &str) -> Self {
        self.then(&format!("{key}.{part}"), &format!("{key}.{part}"))
    }

    fn then(&self, path: &str, parameter: &str) -> Self {
        let join = |prefix: &str, more: &str| {
            if prefix.is_empty() { more.to_owned() } else { format!("{prefix}.{more}") }
        };
        Self { path: join(&self.path, path), parameter: join(&self.parameter, parameter) }
    }
}

fn uncapitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Empty as a client that sets everything sends it. Unlike a path's "unset", zero and false are values to check.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check(value: &Value, shape: Shape, place: &Place, found: &mut Vec<Violation>) {
    match shape {
        Shape::Structure(shape) => structure(value, shape, place, found),
        Shape::List(list) => {
            let Value::Array(items) = value else { return };
            length(value, items.len(), (list.min, list.max), place, found);
            for (i, item) in items.iter().enumerate() {
                check(item, list.item, &place.item(i), found);
            }
        }
        Shape::Map(map) => entries(value, map, place, found),
        Shape::String(text) => string(value, text, place, found),
        Shape::Integer(range) | Shape::Long(range) => {
            let Some(number) = value.as_i64() else { return };
            bound(value, range.min.filter(|min| number < *min), "greater", place, found);
            bound(value, range.max.filter(|max| number > *max), "less", place, found);
        }
        Shape::Double(range) => {
            let Some(number) = value.as_f64() else { return };
            bound(value, range.min.filter(|min| number < *min), "greater", place, found);
            bound(value, range.max.filter(|max| number > *max), "less", place, found);
        }
        Shape::Blob(range) => {
            let bound = |bound: Option<i64>| bound.and_then(|bound| u32::try_from(bound).ok());
            let bytes = value.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
            length(value, bytes, (bound(range.min), bound(range.max)), place, found);
        }
        Shape::Boolean | Shape::Timestamp(_) | Shape::Document => {}
    }
}

fn entries(value: &Value, map: &Map, place: &Place, found: &mut Vec<Violation>) {
    let Value::Object(entries) = value else { return };
    length(value, entries.len(), (map.min, map.max), place, found);
    for (key, value) in entries {
        check(&Value::from(key.as_str()), map.key, &place.entry(key, "key"), found);
        check(value, map.value, &place.entry(key, "member"), found);
    }
}

fn string(value: &Value, text: &Text, place: &Place, found: &mut Vec<Violation>) {
    let Value::String(content) = value else { return };
    if !text.values.is_empty() && !text.values.contains(&content.as_str()) {
        let set = text.values.join(", ");
        violation(value, format!("Member must satisfy enum value set: [{set}]"), place, found);
    }
    length(value, content.chars().count(), (text.min, text.max), place, found);
    if let Some(pattern) = &text.pattern
        && pattern.regex().is_some_and(|regex| !regex.is_match(content))
    {
        let source = pattern.source;
        violation(value, format!("Member must satisfy regular expression pattern: {source}"), place, found);
    }
}

fn length(
    value: &Value,
    length: usize,
    (min, max): (Option<u32>, Option<u32>),
    place: &Place,
    found: &mut Vec<Violation>,
) {
    if let Some(max) = max.filter(|max| length > *max as usize) {
        violation(value, format!("Member must have length less than or equal to {max}"), place, found);
    }
    if let Some(min) = min.filter(|min| length < *min as usize) {
        violation(value, format!("Member must have length greater than or equal to {min}"), place, found);
    }
}

fn bound(value: &Value, broken: Option<impl std::fmt::Display>, side: &str, place: &Place, found: &mut Vec<Violation>) {
    if let Some(bound) = broken {
        violation(value, format!("Member must have value {side} than or equal to {bound}"), place, found);
    }
}

fn violation(value: &Value, constraint: String, place: &Place, found: &mut Vec<Violation>) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let quoted: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let (path, parameter) = (place.path.clone(), place.parameter.clone());
    found.push(Violation { path, parameter, value: Some(quoted), constraint, secret: false });
}
