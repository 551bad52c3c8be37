//! What things are called: Rust's types, fields and statics for the model's names, and each member's name on the wire.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::kept::Kept;
use super::model::{Model, Operation, Ref, Shape};

/// A model with its names decided.
pub(crate) struct Named<'a> {
    pub kept: &'a Kept,
    pub model: &'a Model,
    /// Shape name to the name of its static.
    statics: BTreeMap<&'a str, String>,
}

/// The names one structure member goes by.
pub(crate) struct WireNames {
    /// In form-encoded requests (query and ec2).
    pub query: String,
    /// In XML answers.
    pub xml: String,
}

/// Type names the generated files import; a shape with one of these names would shadow it.
const TAKEN: &[&str] = &[
    "BTreeMap",
    "Blob",
    "Box",
    "Clone",
    "Debug",
    "Default",
    "Deserialize",
    "Err",
    "None",
    "Ok",
    "Option",
    "PartialEq",
    "Request",
    "Result",
    "Self",
    "Serialize",
    "Some",
    "String",
    "Timestamp",
    "Value",
    "Vec",
];

/// Statics the generated tables define or import.
const TAKEN_STATICS: &[&str] = &["ANY_FLOAT", "ANY_RANGE", "ANY_TEXT", "EMPTY", "ERRORS", "OPERATIONS", "SERVICE"];

impl<'a> Named<'a> {
    pub(crate) fn new(kept: &'a Kept, model: &'a Model) -> Result<Self> {
        let mut used: BTreeSet<String> = TAKEN_STATICS.iter().map(|&name| name.to_owned()).collect();
        let mut statics = BTreeMap::new();
        for (name, shape) in &model.shapes {
            let mut candidate = snake(name).to_uppercase();
            while !used.insert(candidate.clone()) {
                candidate.push('_');
            }
            statics.insert(name.as_str(), candidate);
            let clash = shape.kind == "structure" && TAKEN.contains(&type_name(name).as_str());
            ensure!(!clash, "{}: the shape {name} would shadow an import", kept.name);
        }
        Ok(Self { kept, model, statics })
    }

    pub(crate) fn shape(&self, name: &str) -> &'a Shape {
        self.model.shapes.get(name).expect("trimming keeps every shape that is named")
    }

    pub(crate) fn static_name(&self, shape: &str) -> &str {
        self.statics.get(shape).expect("every shape was given a static")
    }

    pub(crate) fn is_ec2(&self) -> bool {
        self.model.metadata.protocol == "ec2"
    }

    pub(crate) fn is_json(&self) -> bool {
        self.model.metadata.protocol == "json"
    }

    /// The rules of botocore's serializers: `queryName`, else capitalised `locationName`, for ec2; else `locationName`.
    pub(crate) fn wire_names(&self, name: &str, member: &Ref) -> WireNames {
        let location = member.location_name.clone().unwrap_or_else(|| name.to_owned());
        let mut names = WireNames { query: location.clone(), xml: location };
        if self.is_ec2() {
            let capitalised = member.location_name.as_deref().map(capitalise);
            names.query = member.query_name.clone().or(capitalised).unwrap_or_else(|| name.to_owned());
        } else if let Some(item) = self.flattened_item(member) {
            names.query.clone_from(&item);
            names.xml = item;
        }
        names
    }

    /// A flattened list with a named item goes by the item's name.
    fn flattened_item(&self, member: &Ref) -> Option<String> {
        let shape = self.shape(&member.shape);
        let flattened = shape.kind == "list" && (shape.flattened || member.flattened);
        shape.member.as_ref().filter(|_| flattened).and_then(|item| item.location_name.clone())
    }

    /// Structures that become Rust types: not the errors, which servers build by code, save those that an event stream
    /// lists among its members.
    pub(crate) fn structures(&self) -> impl Iterator<Item = (&'a str, &'a Shape)> {
        let shapes = &self.model.shapes;
        let members: BTreeSet<&str> =
            shapes.values().flat_map(|shape| shape.members.values()).map(|member| member.shape.as_str()).collect();
        let is_type = move |name: &str, shape: &Shape| {
            shape.kind == "structure" && !shape.document && (!shape.exception || members.contains(name))
        };
        shapes.iter().map(|(name, shape)| (name.as_str(), shape)).filter(move |(name, shape)| is_type(name, shape))
    }

    /// Whether a value of `from` may hold a `to` with no list or map between, so that Rust needs a box.
    pub(crate) fn holds(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from];
        while let Some(name) = todo.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                todo.extend(self.shape(name).members.values().map(|member| member.shape.as_str()));
            }
        }
        false
    }

    /// Operations whose input shape no other operation shares: those a type can stand for.
    pub(crate) fn typed_operations(&self) -> impl Iterator<Item = (&'a str, &'a Operation, &'a str)> {
        let mut uses = BTreeMap::new();
        for input in self.model.operations.values().filter_map(|operation| operation.input.as_ref()) {
            *uses.entry(input.shape.as_str()).or_insert(0) += 1;
        }
        self.model.operations.iter().filter_map(move |(name, operation)| {
            let input = operation.input.as_ref()?.shape.as_str();
            (uses.get(input) == Some(&1)).then_some((name.as_str(), operation, input))
        })
    }
}

pub(crate) fn type_name(shape: &str) -> String {
    capitalise(shape)
}

fn capitalise(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// `containerInstanceARNs` becomes `container_instance_arns`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        if c.is_uppercase() && i > 0 {
            let after_word = !chars[i - 1].is_uppercase();
            let starts_word = chars.get(i + 1).is_some_and(|next| next.is_lowercase());
            let plural = chars.get(i + 1) == Some(&'s') && chars.get(i + 2).is_none_or(|c| c.is_uppercase());
            if chars[i - 1] != '_' && (after_word || (starts_word && !plural)) {
                out.push('_');
            }
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A field name that Rust accepts.
pub(crate) fn field(name: &str) -> String {
    let field = snake(name);
    match field.as_str() {
        "type" | "enum" | "ref" | "match" | "in" | "where" | "use" | "static" | "loop" | "move" | "mod" | "fn"
        | "return" => {
            format!("r#{field}")
        }
        _ => field,
    }
}
