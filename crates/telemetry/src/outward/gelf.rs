//! Graylog's format, GELF 1.1: JSON, compressed and in pieces over UDP, each with a NUL behind it over TCP.

use super::{cut, time};
use crate::{
    Line,
    driver::{Compression, Gelf, Identity},
};
use serde_json::{Map, Value, json};
use std::io::Write;

/// What a piece has at most, and what of it is its head. Source: the protocol, and Graylog's own Go library.
const PIECE: usize = 1_420;
const HEAD: usize = 12;
/// Pieces of one message. Source: the protocol.
const MAX_PIECES: usize = 128;
/// Syslog's informational.
const LEVEL: u8 = 6;

/// Writes lines as one container's.
#[derive(Debug)]
pub struct Writer {
    hostname: String,
    fields: Map<String, Value>,
    compression: Compression,
}

impl Writer {
    /// Of a container.
    pub fn new(options: &Gelf, of: &Identity) -> Self {
        let mut fields: Map<_, _> = [
            ("_container_id", &of.id),
            ("_container_name", &of.name),
            ("_image_id", &of.image_id),
            ("_image_name", &of.image),
            ("_command", &of.command),
            ("_created", &of.created),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value.as_str())))
        .collect();
        fields.insert("_tag".to_owned(), options.common.tag.fill(of).into());
        for (name, value) in options.common.wanted.of(&of.labels, &of.env) {
            let name = if name.starts_with('_') { name } else { format!("_{name}") };
            fields.insert(name, value.into());
        }
        Self { hostname: of.hostname.clone(), fields, compression: options.compression }
    }

    fn json(&self, line: &Line, text: &str) -> Vec<u8> {
        let mut all = self.fields.clone();
        let millis = time(line).as_millisecond();
        all.insert("version".to_owned(), "1.1".into());
        all.insert("host".to_owned(), self.hostname.as_str().into());
        all.insert("short_message".to_owned(), text.into());
        all.insert("timestamp".to_owned(), json!(millis as f64 / 1_000.0));
        all.insert("level".to_owned(), LEVEL.into());
        Value::Object(all).to_string().into_bytes()
    }

    /// Adds one line to what is sent over a connection.
    pub fn write(&self, line: &Line, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.json(line, &line.message));
        out.push(0);
    }

    /// The datagrams of a line; `id` is the message's, if it takes several. What does not fit as many as there may be loses its
    /// end.
    pub fn datagrams(&self, line: &Line, id: [u8; 8]) -> Vec<Vec<u8>> {
        let mut most = line.message.len();
        let whole = loop {
            let packed = self.pack(&self.json(line, cut(&line.message, most)));
            if packed.len() <= MAX_PIECES * (PIECE - HEAD) || most == 0 {
                break packed;
            }
            most /= 2;
        };
        if whole.len() <= PIECE {
            return vec![whole];
        }
        let pieces: Vec<_> = whole.chunks(PIECE - HEAD).take(MAX_PIECES).collect();
        let byte = |number: usize| u8::try_from(number).expect("there are 128 pieces at most");
        let piece = |(number, piece): (usize, &&[u8])| {
            let mut all = vec![0x1e, 0x0f];
            all.extend_from_slice(&id);
            all.extend_from_slice(&[byte(number), byte(pieces.len())]);
            all.extend_from_slice(piece);
            all
        };
        pieces.iter().enumerate().map(piece).collect()
    }

    fn pack(&self, json: &[u8]) -> Vec<u8> {
        match self.compression {
            Compression::None => json.to_vec(),
            Compression::Gzip(level) => gzip(json, level),
            Compression::Zlib(level) => {
                let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), compression(level));
                packer.write_all(json).expect(INFALLIBLE);
                packer.finish().expect(INFALLIBLE)
            }
        }
    }
}

const INFALLIBLE: &str = "writing into memory does not fail";

fn compression(level: Option<u32>) -> flate2::Compression {
    level.map_or_else(flate2::Compression::default, flate2::Compression::new)
}

/// Bytes as gzip has them.
pub(super) fn gzip(bytes: &[u8], level: Option<u32>) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), compression(level));
    packer.write_all(bytes).expect(INFALLIBLE);
    packer.finish().expect(INFALLIBLE)
}
