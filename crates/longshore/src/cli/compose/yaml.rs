//! YAML as project files are written in it.
//!
//! The library says what a scalar is and where it stands; which number it is, and which text that has, is said in `number`. So a
//! scalar's own text is taken from where it stands. What is wrong with a file is said in our words: the library's speak to those who
//! program with it.

use super::number::{Number, fraction_text, number};
use anyhow::{Result, anyhow};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};
use std::{fmt, path::Path};

/// Most of a file that its aliases may stand for; beyond it a few lines would make gigabytes.
const MAX_REPLAYED: usize = 100_000;

/// What becomes of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// AWS: compose files are read before it is known what is a text, so that texts are made of numbers.
    Numbers,
    /// AWS: of ecs-params it is known, and the texts stay as they are written.
    AsWritten,
}

/// A scalar whose text is not the one that is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Changed {
    pub(super) line: u64,
    /// The keys and places above it.
    pub(super) place: Vec<String>,
    pub(super) written: String,
    pub(super) text: String,
}

/// Reads a file's text; tells of numbers whose text changed.
pub(super) fn read(path: &Path, text: &str, numbers: Numbers) -> Result<(Value, Vec<Changed>)> {
    let node = parse(text).map_err(|error| broken(path, &error))?;
    let mut reader = Reader { text, numbers, changed: Vec::new(), place: Vec::new() };
    let value = reader.value(node);
    Ok((value, reader.changed))
}

fn parse(text: &str) -> Result<Node, Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        // `yes` and `on` are texts; where truth is wanted they are as good as `true`.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
    };
    serde_saphyr::from_str_with_options(text, options)
}

struct Node(Spanned<Kind>);

enum Kind {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Number(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Kind::Map(map))
    }
}

struct Reader<'a> {
    text: &'a str,
    numbers: Numbers,
    changed: Vec<Changed>,
    place: Vec<String>,
}

impl Reader<'_> {
    fn value(&mut self, Node(node): Node) -> Value {
        match node.value {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Text(text) => Value::String(text),
            Kind::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(at, item)| self.below(at.to_string(), item)).collect())
            }
            Kind::Map(members) => {
                let mut map = Map::new();
                for (key, member) in members {
                    let value = self.below(key.clone(), member);
                    map.insert(key, value);
                }
                Value::Object(map)
            }
            Kind::Number(known) => {
                // An alias has the text of what it names.
                let span = node.defined.span();
                let range = span.byte_offset().zip(span.byte_len());
                let written = range.and_then(|(from, long)| self.text.get(from as usize..(from + long) as usize));
                // Only a tag makes a number of something else, and then it is the number that is meant.
                let written = written.map_or_else(|| fraction_text(known), |text| text.trim().to_owned());
                self.scalar(written, node.referenced.line())
            }
        }
    }

    fn below(&mut self, step: String, node: Node) -> Value {
        self.place.push(step);
        let value = self.value(node);
        self.place.pop();
        value
    }

    fn scalar(&mut self, written: String, line: u64) -> Value {
        let value = match number(&written) {
            Number::Whole(whole) => match (i64::try_from(whole), u64::try_from(whole)) {
                (Ok(whole), _) => Value::from(whole),
                (_, Ok(whole)) => Value::from(whole),
                _ => return Value::String(written),
            },
            Number::Fraction(fraction) => Value::from(fraction),
            Number::None => return Value::String(written),
        };
        let text = super::value::text(&value).unwrap_or_default();
        if text == written {
            return value;
        }
        if self.numbers == Numbers::AsWritten {
            return Value::String(written);
        }
        self.changed.push(Changed { line, place: self.place.clone(), written, text });
        value
    }
}

/// What is wrong with a file, and where.
fn broken(path: &Path, error: &Error) -> anyhow::Error {
    let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
    let place = line.map_or_else(|| path.display().to_string(), |line| format!("{}, line {line}", path.display()));
    anyhow!("{place}: {}", words(error))
}

fn words(error: &Error) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => words(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key '{key}' is there twice; leave one of them")
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice; leave one of them".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second YAML document begins here, and a file has one; leave out what follows ---".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands inside of what it names, which has no end; write out what is meant".to_owned()
        }
        Error::UnknownAnchor { .. } => "an alias (*) names an anchor (&) that is not above it".to_owned(),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "<< takes a mapping or a list of mappings".to_owned(),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::Budget { .. } => "its aliases or its depth make it larger than any compose file is".to_owned(),
        Error::ExternalMessage { msg, .. } => format!("not valid YAML: {msg}"),
        other => {
            let said = other.render_with_formatter(&UserMessageFormatter);
            // The place is told already.
            format!("not valid YAML: {}", said.rsplit_once(" at line ").map_or(&*said, |(words, _)| words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(text: &str, numbers: Numbers) -> (Value, Vec<Changed>) {
        read(Path::new("f.yml"), text, numbers).unwrap()
    }

    #[test]
    fn numbers_are_read_as_the_original_reads_them() {
        let text = "ä: 012345678901 # an account\no: [0777, 08, '0777', \"08\"]\nf: {a: 1e3, b: 1.0, c: 1.5, d: -3}\n\
                    t: !!str 0777\na: &x 010\nb: *x\nm: &m {c: 0x10}\nn: {<<: *m, d: yes}\nv: .nan\nw: |-\n  0777\ne:\n";
        let (value, changed) = read_all(text, Numbers::Numbers);
        let wanted = json!({
            "ä": "012345678901", "o": [511, "08", "0777", "08"], "f": {"a": 1000.0, "b": 1.0, "c": 1.5, "d": -3},
            "t": "0777", "a": 8, "b": 8, "m": {"c": 16}, "n": {"c": 16, "d": "yes"}, "v": ".nan", "w": "0777", "e": null,
        });
        assert_eq!(value, wanted);
        let changed: Vec<_> =
            changed.iter().map(|c| (c.line, c.place.join("."), c.written.as_str(), c.text.as_str())).collect();
        let one = |line, place: &str, written, text| (line, place.to_owned(), written, text);
        let wanted = [
            one(2, "o.0", "0777", "511"),
            one(3, "f.a", "1e3", "1000"),
            one(3, "f.b", "1.0", "1"),
            one(5, "a", "010", "8"),
            one(6, "b", "010", "8"),
            one(7, "m.c", "0x10", "16"),
            one(8, "n.c", "0x10", "16"),
        ];
        assert_eq!(changed, wanted);
    }

    #[test]
    fn texts_can_be_kept_as_they_are_written() {
        let (value, changed) = read_all("[012, 1.0, 12, 1e3, true, 012345678901]", Numbers::AsWritten);
        assert_eq!((value, changed), (json!(["012", "1.0", 12, "1e3", true, "012345678901"]), Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_to_people() {
        for (text, wanted) in [
            ("a: 1\nb: 2\na: 3", "f.yml, line 3: the key 'a' is there twice"),
            ("a: 1\n---\nb: 2", "f.yml, line 3: a second YAML document begins"),
            ("a: &x\n  b: *x", "f.yml, line 2: an alias stands inside of what it names"),
            ("a: *x", "f.yml, line 1: an alias (*) names an anchor (&) that is not above it"),
            ("a: {<<: 5}", "f.yml, line 1: << takes a mapping"),
            ("a: [1", "f.yml, line "),
            ("a: b: c", "f.yml, line 1: not valid YAML: "),
            ("a: !!int x", "f.yml, line 1: not valid YAML: "),
            ("a:\n  ? [x]\n  : 1", "f.yml, line 2: not valid YAML: "),
        ] {
            let error = format!("{:#}", read(Path::new("f.yml"), text, Numbers::Numbers).unwrap_err());
            assert!(error.starts_with(wanted), "{text:?}: {error}");
            for word in ["Options", "from_", "weak", "Policy", "-->", " at line "] {
                assert!(!error.contains(word), "{text:?}: {error}");
            }
        }
        let laughs: String =
            (0..12).map(|n| format!("a{}: &a{} [{}]\n", n + 1, n + 1, format!("*a{n},").repeat(9))).collect();
        let error =
            read(Path::new("f.yml"), &format!("a0: &a0 lol\n{laughs}"), Numbers::Numbers).unwrap_err().to_string();
        assert!(error.contains("larger than any compose file"), "{error}");
    }
}
