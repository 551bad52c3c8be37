//! The journal's vocabulary. Live commits and recovery both go through these records, so there is one way to change the store.
//!
//! Stored format, version 1: `[1][kind]` and then JSON for the rare changes (kind 1) or packed bytes for events (kind 2).
//! `tests` below holds the golden bytes; a new shape gets a new version byte and keeps reading the old one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::{self, Chunk, Reader};
use super::types::Scope;

const VERSION: u8 = 1;
const KIND_FACT: u8 = 1;
const KIND_EVENTS: u8 = 2;

/// One durable change. Every one is idempotent by id: replaying a journal over a newer catalogue changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Fact(Fact),
    Appended(Appended),
}

/// The rare changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub(super) enum Fact {
    /// First record of each journal: ids below `next_id` may have been used, even by what is long deleted.
    JournalBegun {
        next_id: u64,
    },
    GroupCreated {
        id: u64,
        scope: Scope,
        name: String,
        created: i64,
        tags: BTreeMap<String, String>,
    },
    GroupDeleted {
        id: u64,
    },
    RetentionSet {
        id: u64,
        days: Option<u32>,
    },
    TagsSet {
        id: u64,
        tags: BTreeMap<String, String>,
    },
    StreamCreated {
        group: u64,
        id: u64,
        name: String,
        created: i64,
    },
    StreamDeleted {
        group: u64,
        id: u64,
    },
}

impl Fact {
    /// Whether it concerns one stream rather than its group.
    pub(super) fn is_of_stream(&self) -> bool {
        match self {
            Fact::StreamCreated { .. } | Fact::StreamDeleted { .. } => true,
            Fact::JournalBegun { .. }
            | Fact::GroupCreated { .. }
            | Fact::GroupDeleted { .. }
            | Fact::RetentionSet { .. }
            | Fact::TagsSet { .. } => false,
        }
    }
}

/// Events added to one stream, and how far their producer has come with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) group: u64,
    pub(super) stream: u64,
    pub(super) producer: Option<(String, u64)>,
    pub(super) chunk: Chunk,
}

impl Change {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Change::Fact(fact) => {
                let mut out = vec![VERSION, KIND_FACT];
                serde_json::to_writer(&mut out, fact).expect("facts are plain data and a Vec takes every write");
                out
            }
            Change::Appended(added) => added.encode(),
        }
    }

    /// The change in `payload`, or why it cannot be one.
    pub(super) fn decode(payload: &[u8]) -> Result<Change, String> {
        match payload {
            [VERSION, KIND_FACT, json @ ..] => {
                serde_json::from_slice(json).map(Change::Fact).map_err(|error| error.to_string())
            }
            [VERSION, KIND_EVENTS, packed @ ..] => {
                Appended::decode(packed).map(Change::Appended).ok_or_else(|| "malformed events".to_string())
            }
            [version, kind, ..] => Err(format!("unknown record version {version} kind {kind}")),
            _ => Err("record without a version".to_string()),
        }
    }
}

impl Appended {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.chunk.bytes + 64);
        out.extend_from_slice(&[VERSION, KIND_EVENTS]);
        codec::put_u64(&mut out, self.group);
        codec::put_u64(&mut out, self.stream);
        match &self.producer {
            None => out.push(0),
            Some((id, next_offset)) => {
                out.push(1);
                codec::put_text(&mut out, id);
                codec::put_u64(&mut out, *next_offset);
            }
        }
        codec::put_u64(&mut out, self.chunk.first_seq);
        codec::put_u64(&mut out, self.chunk.events.len() as u64);
        codec::put_events(&mut out, self.chunk.events.iter());
        out
    }

    fn decode(packed: &[u8]) -> Option<Appended> {
        let mut reader = Reader::new(packed);
        let group = reader.u64()?;
        let stream = reader.u64()?;
        let producer = match reader.u8()? {
            0 => None,
            _ => Some((reader.text()?, reader.u64()?)),
        };
        let first_seq = reader.u64()?;
        let count = reader.u64()?;
        let events = reader.events(count)?;
        reader.is_empty().then(|| Appended { group, stream, producer, chunk: Chunk::new(first_seq, events) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::StoredEvent;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Golden: these bytes are on people's disks. Never edit a line; add one for a new version.
    #[test]
    fn the_stored_format_has_not_moved() {
        let events = vec![
            StoredEvent { timestamp: 1_700_000_000_000, ingestion: 1_700_000_000_005, message: "hé".to_string() },
            StoredEvent { timestamp: 1_699_999_999_999, ingestion: 1_700_000_000_005, message: "b".to_string() },
        ];
        let appended = |producer| {
            Change::Appended(Appended { group: 3, stream: 300, producer, chunk: Chunk::new(9, events.clone()) })
        };
        let rows = [
            (appended(None), "010203ac0200090280a0abfef9628aa0abfef9620368c3a901000162"),
            (
                appended(Some(("p".to_string(), 128))),
                "010203ac0201017080010902 80a0abfef9628aa0abfef9620368c3a901000162",
            ),
        ];
        for (change, golden) in rows {
            assert_eq!(hex(&change.encode()), golden.replace(' ', ""));
            assert_eq!(Change::decode(&change.encode()), Ok(change));
        }
        let fact = Change::Fact(Fact::RetentionSet { id: 7, days: Some(30) });
        let golden = b"\x01\x01{\"fact\":\"retention_set\",\"id\":7,\"days\":30}";
        assert_eq!(fact.encode(), golden);
        assert_eq!(Change::decode(golden), Ok(fact));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for bytes in [&b""[..], b"\x01", b"\x02\x01{}", b"\x01\x09", b"\x01\x01{", b"\x01\x02\x01"] {
            assert!(Change::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
