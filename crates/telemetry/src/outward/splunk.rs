//! Bodies for Splunk's HTTP event collector.

use super::{SOURCE, gelf::gzip, time};
use crate::{
    Line,
    driver::{Identity, Splunk, SplunkFormat},
};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Lines of one request, and their bytes. Docker's number; the bytes are half of what a collector takes by default.
pub const MOST: (usize, usize) = (1_000, 512 << 10);

/// Writes lines as one container's.
#[derive(Debug)]
pub struct Writer {
    /// What is the same of all events.
    about: Map<String, Value>,
    format: SplunkFormat,
    tag: String,
    attributes: BTreeMap<String, String>,
    gzip: Option<Option<u32>>,
}

impl Writer {
    /// Of a container.
    pub fn new(options: &Splunk, of: &Identity) -> Self {
        let mut about = Map::new();
        about.insert("host".to_owned(), of.hostname.as_str().into());
        let given = [("source", &options.source), ("sourcetype", &options.source_type), ("index", &options.index)];
        for (name, value) in given {
            if let Some(value) = value {
                about.insert(name.to_owned(), value.as_str().into());
            }
        }
        let tag = if options.untagged { String::new() } else { options.common.tag.fill(of) };
        let attributes = options.common.wanted.of(&of.labels, &of.env);
        Self { about, format: options.format, tag, attributes, gzip: options.gzip }
    }

    /// The body for as many of the lines as one request takes, and how many that are. It may be empty: a collector takes no empty
    /// events.
    pub fn write(&self, lines: &[Line]) -> (Vec<u8>, usize) {
        let (mut body, mut count) = (Vec::new(), 0);
        for line in lines.iter().take(MOST.0) {
            if body.len() > MOST.1 {
                break;
            }
            count += 1;
            let Some(event) = self.event(line) else { continue };
            let mut all = self.about.clone();
            let millis = time(line).as_millisecond();
            all.insert(
                "time".to_owned(),
                format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000)).into(),
            );
            let mut head = Value::Object(all).to_string();
            // Its last brace goes behind the event.
            head.pop();
            body.extend_from_slice(format!("{head},\"event\":{event}}}").as_bytes());
        }
        let packed = match self.gzip {
            Some(level) if !body.is_empty() => gzip(&body, level),
            Some(_) | None => body,
        };
        (packed, count)
    }

    /// The event as JSON.
    fn event(&self, line: &Line) -> Option<String> {
        let text = &line.message;
        let inner = match self.format {
            SplunkFormat::Raw if text.trim().is_empty() => return None,
            SplunkFormat::Raw => {
                let mut all = String::new();
                if !self.tag.is_empty() {
                    all = format!("{} ", self.tag);
                }
                all.extend(self.attributes.iter().map(|(name, value)| format!("{name}={value} ")));
                return Some(Value::from(all + text).to_string());
            }
            // As it was written: reading it would round numbers and lose what is there twice.
            SplunkFormat::Json if serde_json::from_str::<IgnoredAny>(text).is_ok() => text.trim().to_owned(),
            SplunkFormat::Inline | SplunkFormat::Json => Value::from(text.as_str()).to_string(),
        };
        let mut event = format!("{{\"line\":{inner},\"source\":{}", Value::from(SOURCE));
        if !self.tag.is_empty() {
            event.push_str(&format!(",\"tag\":{}", Value::from(self.tag.as_str())));
        }
        if !self.attributes.is_empty() {
            event.push_str(&format!(",\"attrs\":{}", json!(self.attributes)));
        }
        event.push('}');
        Some(event)
    }
}
