//! Fluentd's forward protocol, version 1: batches of records in MessagePack.

use super::SOURCE;
use crate::{
    Line,
    driver::{Fluentd, Identity},
};
/// Extension type of a time with nanoseconds.
const EVENT_TIME: i8 = 0;
/// Longest acknowledgement that is read: the chunk's name and its key.
pub const MAX_ACK: usize = 256;

/// Writes lines as one container's.
#[derive(Debug)]
pub struct Writer {
    tag: String,
    sub_second: bool,
    /// A record up to the text of its line.
    record: Vec<u8>,
}

/// What an event takes at most besides its record and its line: the heads of an array, a time and a text.
const HEADS: usize = 16;
/// The name of the line in a record.
const LOG: &str = "log";

impl Writer {
    /// Of a container. `tag` is what its output is called, if another than the options say.
    pub fn new(options: &Fluentd, of: &Identity, tag: Option<String>) -> Self {
        let mut fields = options.common.wanted.of(&of.labels, &of.env);
        fields.insert("container_id".to_owned(), of.id.clone());
        // Docker: names begin with a slash.
        fields.insert("container_name".to_owned(), format!("/{}", of.name));
        fields.insert("source".to_owned(), SOURCE.to_owned());
        // A label of that name does not take the line's place; twice no record has it.
        fields.remove(LOG);
        let mut record = Vec::new();
        map(&mut record, fields.len() + 1);
        for (name, value) in &fields {
            text(&mut record, name);
            text(&mut record, value);
        }
        text(&mut record, LOG);
        let tag = tag.unwrap_or_else(|| options.common.tag.fill(of));
        Self { tag, sub_second: options.sub_second, record }
    }

    /// How many of the lines have so many bytes together as they are sent, the last of them on top.
    pub fn fit(&self, lines: &[Line], most: usize) -> usize {
        let mut bytes = 0;
        let fits = |line: &&Line| {
            let fits = bytes < most;
            bytes += HEADS + self.record.len() + line.message.len();
            fits
        };
        lines.iter().take_while(fits).count()
    }

    /// One message with all these lines; `chunk` is named if it is to be acknowledged.
    pub fn write(&self, lines: &[Line], chunk: Option<&str>) -> Vec<u8> {
        let size = |line: &Line| HEADS + self.record.len() + line.message.len();
        let mut out = Vec::with_capacity(self.tag.len() + 64 + lines.iter().map(size).sum::<usize>());
        array(&mut out, if chunk.is_some() { 3 } else { 2 });
        text(&mut out, &self.tag);
        array(&mut out, lines.len());
        for line in lines {
            array(&mut out, 2);
            self.time(&mut out, line.timestamp_millis);
            out.extend_from_slice(&self.record);
            text(&mut out, &line.message);
        }
        if let Some(chunk) = chunk {
            map(&mut out, 1);
            text(&mut out, "chunk");
            text(&mut out, chunk);
        }
        out
    }

    fn time(&self, out: &mut Vec<u8>, millis: i64) {
        let seconds = u32::try_from(millis.div_euclid(1_000)).unwrap_or(0);
        if self.sub_second {
            let nanos = u32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
            rmp::encode::write_ext_meta(out, 8, EVENT_TIME).expect(INFALLIBLE);
            out.extend_from_slice(&seconds.to_be_bytes());
            out.extend_from_slice(&nanos.to_be_bytes());
        } else {
            rmp::encode::write_uint(out, seconds.into()).expect(INFALLIBLE);
        }
    }
}

const INFALLIBLE: &str = "writing into memory does not fail";

fn length(of: usize) -> u32 {
    u32::try_from(of).expect("a batch has less than four thousand million of anything")
}

fn array(out: &mut Vec<u8>, of: usize) {
    rmp::encode::write_array_len(out, length(of)).expect(INFALLIBLE);
}

fn map(out: &mut Vec<u8>, of: usize) {
    rmp::encode::write_map_len(out, length(of)).expect(INFALLIBLE);
}

fn text(out: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(out, text).expect(INFALLIBLE);
}

/// Whether this is the acknowledgement of that chunk; `None` as long as it may become one.
pub fn acknowledges(mut bytes: &[u8], chunk: &str) -> Option<bool> {
    let length = bytes.len();
    if length == 0 {
        return None;
    }
    let mut read = || -> Option<bool> {
        let size = rmp::decode::read_map_len(&mut bytes).ok()?;
        let mut buffer = [0; MAX_ACK];
        for _ in 0..size {
            let is_ack = rmp::decode::read_str(&mut bytes, &mut buffer).ok()? == "ack";
            let value = rmp::decode::read_str(&mut bytes, &mut buffer).ok()?;
            if is_ack {
                return Some(value == chunk);
            }
        }
        Some(false)
    };
    let found = read();
    if found.is_none() && length >= MAX_ACK { Some(false) } else { found }
}
