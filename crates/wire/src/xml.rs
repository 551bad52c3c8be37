//! XML answers: written by schema on the server's side, read by schema on the client's.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;
use serde_json::{Map, Value};

use crate::MAX_DEPTH;
use crate::error::WireError;
use crate::form::{scalar, scalar_text};
use crate::schema::{Shape, Struct};

/// Appends the members of a structure as elements.
pub(crate) fn write_structure(value: &Value, shape: &Struct, out: &mut String) {
    let Value::Object(members) = value else { return };
    for member in shape.members {
        if let Some(value) = members.get(member.name).filter(|value| !value.is_null()) {
            write(member.xml, value, member.shape, out);
        }
    }
}

fn write(name: &str, value: &Value, shape: Shape, out: &mut String) {
    match (shape, value) {
        (Shape::Structure(shape), _) => element(name, out, |out| write_structure(value, shape, out)),
        (Shape::List(list), Value::Array(items)) if list.flattened => {
            items.iter().for_each(|item| write(name, item, list.item, out));
        }
        (Shape::List(list), Value::Array(items)) => element(name, out, |out| {
            items.iter().for_each(|item| write(list.item_name, item, list.item, out));
        }),
        (Shape::Map(map), Value::Object(entries)) => {
            let entry = |name: &str, key: &str, value: &Value, out: &mut String| {
                element(name, out, |out| {
                    text_element(map.key_name, key, out);
                    write(map.value_name, value, map.value, out);
                });
            };
            if map.flattened {
                entries.iter().for_each(|(key, value)| entry(name, key, value, out));
            } else {
                element(name, out, |out| entries.iter().for_each(|(key, value)| entry("entry", key, value, out)));
            }
        }
        (_, value) => {
            if let Some(text) = scalar_text(value, shape) {
                text_element(name, &text, out);
            }
        }
    }
}

fn element(name: &str, out: &mut String, inside: impl FnOnce(&mut String)) {
    out.extend(["<", name, ">"]);
    inside(out);
    out.extend(["</", name, ">"]);
}

/// Appends `<name>text</name>`.
pub(crate) fn text_element(name: &str, text: &str, out: &mut String) {
    element(name, out, |out| {
        // XML has no way to write most control characters.
        let legal = text.replace(|c: char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r'), "\u{FFFD}");
        out.push_str(&escape(legal));
    });
}

/// An element, its text and the elements in it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name.
    pub(crate) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

/// Parses a document into its root element.
pub(crate) fn parse(text: &str) -> Result<Element, WireError> {
    let broken = |what: String| WireError::serialization(format!("The answer is not valid XML: {what}"));
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|error| broken(error.to_string()))?;
        match event {
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
                    return Err(broken("nested too deeply".to_owned()));
                }
                open.push(Element { name: start.local_name().into_inner().to_owned(), ..Element::default() });
            }
            Event::Empty(start) => {
                let name = start.local_name().into_inner().to_owned();
                let parent = open.last_mut().expect("the document itself stays open");
                parent.children.push(Element { name, ..Element::default() });
            }
            Event::End(_) => {
                // The reader has checked that it closes the innermost element.
                let done = open.pop().expect("an end follows its start");
                let parent = open.last_mut().ok_or_else(|| broken("an end without a start".to_owned()))?;
                parent.children.push(done);
            }
            Event::Text(more) => open.last_mut().expect("still open").text.push_str(&more.xml10_content()),
            Event::CData(more) => open.last_mut().expect("still open").text.push_str(&more.xml10_content()),
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref().map_err(|error| broken(error.to_string()))?;
                let text = &mut open.last_mut().expect("still open").text;
                match (character, resolve_predefined_entity(&entity)) {
                    (Some(character), _) => text.push(character),
                    (None, Some(known)) => text.push_str(known),
                    (None, None) => return Err(broken(format!("unknown entity {}", entity.as_ref()))),
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    let document = open.pop().filter(|_| open.is_empty()).ok_or_else(|| broken("it is cut short".to_owned()))?;
    document.children.into_iter().next().ok_or_else(|| broken("there is no element".to_owned()))
}

/// Reads an element's children as a structure.
pub(crate) fn read_structure(element: &Element, shape: &Struct) -> Result<Value, WireError> {
    let mut out = Map::new();
    for member in shape.members {
        let flattened = matches!(member.shape, Shape::List(list) if list.flattened)
            || matches!(member.shape, Shape::Map(map) if map.flattened);
        let value = if flattened {
            let items: Vec<&Element> = element.children.iter().filter(|child| child.name == member.xml).collect();
            if items.is_empty() { None } else { Some(collection(&items, member.shape)?) }
        } else {
            element.child(member.xml).map(|child| read(child, member.shape)).transpose()?
        };
        if let Some(value) = value {
            out.insert(member.name.to_owned(), value);
        }
    }
    Ok(Value::Object(out))
}

fn read(element: &Element, shape: Shape) -> Result<Value, WireError> {
    if let Shape::Structure(shape) = shape {
        return read_structure(element, shape);
    }
    if matches!(shape, Shape::List(_) | Shape::Map(_)) {
        return collection(&element.children.iter().collect::<Vec<_>>(), shape);
    }
    scalar(&element.text, shape)
        .ok_or_else(|| WireError::serialization(format!("Unexpected value '{}' of {}", element.text, element.name)))
}

/// A list's items or a map's entries; nothing else is asked for.
fn collection(items: &[&Element], shape: Shape) -> Result<Value, WireError> {
    if let Shape::List(list) = shape {
        return items.iter().map(|item| read(item, list.item)).collect();
    }
    let Shape::Map(map) = shape else { return Ok(Value::Null) };
    let mut out = Map::new();
    for entry in items {
        let (key, value) = (entry.child_text(map.key_name), entry.child(map.value_name));
        if let (Some(key), Some(value)) = (key, value) {
            out.insert(key.to_owned(), read(value, map.value)?);
        }
    }
    Ok(Value::Object(out))
}
