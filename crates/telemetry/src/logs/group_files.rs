//! A log group on disk: `group.json`, replaced whole, and `streams.log`, to which a record is appended whenever a stream has
//! nothing left in the journal. Directories and segments are named by ids, so no log group name ever meets the file system.
//!
//! Stored format, version 1, of both files: see the golden test below.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::{Group, Mark, Settings, Stream, StreamState};
use super::error::OpenError;
use super::frame::{self, Frames};
use super::segment::SegmentMeta;
use super::types::Scope;

const VERSION: u8 = 1;
/// `streams.log` is rewritten when it holds this many records more than four times what is alive: the rewriting then costs
/// less than the appending did.
const SLACK_RECORDS: u64 = 1_000;

#[derive(Serialize, Deserialize)]
struct GroupFile {
    version: u8,
    id: u64,
    scope: Scope,
    name: String,
    created: i64,
    retention_days: Option<u32>,
    tags: BTreeMap<String, String>,
}

/// One line of `streams.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum StreamRecord {
    Stream(Box<StreamFacts>),
    Gone { id: u64 },
}

/// All there is to know of a stream but for the events still in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamFacts {
    id: u64,
    name: String,
    created: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_event: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_event: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_ingestion: Option<i64>,
    stored_bytes: u64,
    next_seq: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    producers: BTreeMap<String, Mark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    segments: Vec<SegmentMeta>,
}

impl StreamRecord {
    /// Leaves out what the tail added, because the journal that still has it will add it again.
    pub(super) fn of(stream: &Stream, state: &StreamState) -> StreamRecord {
        StreamRecord::Stream(Box::new(StreamFacts {
            id: stream.id,
            name: stream.name.to_string(),
            created: stream.created,
            first_event: state.first_event,
            last_event: state.last_event,
            last_ingestion: state.last_ingestion,
            stored_bytes: state.stored_bytes.saturating_sub(state.tail_bytes() as u64),
            next_seq: state.tail.first().map_or(state.next_seq, |chunk| chunk.first_seq),
            producers: state.producers.clone(),
            segments: state.segments.clone(),
        }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        serde_json::to_writer(&mut out, self).expect("records are plain data and a Vec takes every write");
        out
    }

    fn decode(payload: &[u8]) -> Result<StreamRecord, String> {
        match payload {
            [VERSION, json @ ..] => serde_json::from_slice(json).map_err(|error| error.to_string()),
            _ => Err(format!("unknown record version {:?}", payload.first())),
        }
    }
}

impl StreamFacts {
    fn state(self) -> (u64, String, i64, StreamState) {
        let state = StreamState {
            first_event: self.first_event,
            last_event: self.last_event,
            last_ingestion: self.last_ingestion,
            stored_bytes: self.stored_bytes,
            next_seq: self.next_seq,
            producers: self.producers,
            segments: self.segments,
            tail: Vec::new(),
        };
        (self.id, self.name, self.created, state)
    }
}

/// The writer's hold on one group's directory. Nothing stays open between uses.
pub(super) struct GroupFiles {
    pub(super) dir: PathBuf,
    len: u64,
    records: u64,
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> OpenError {
    OpenError::Damaged { file: path.display().to_string(), why: why.to_string() }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    move |source| OpenError::Io { what: format!("reading {}", path.display()), source }
}

impl GroupFiles {
    /// Makes the directory, durably.
    pub(super) fn create(groups: &Path, id: u64) -> io::Result<GroupFiles> {
        let dir = groups.join(id.to_string());
        fs::create_dir_all(&dir)?;
        sync_dir(groups)?;
        Ok(GroupFiles { dir, len: 0, records: 0 })
    }

    /// Reads a group's directory; `None` when its creation was interrupted before it held anything.
    pub(super) fn load(dir: &Path) -> Result<Option<(Group, GroupFiles)>, OpenError> {
        let path = dir.join("group.json");
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path)(error)),
        };
        let file: GroupFile = serde_json::from_slice(&json).map_err(|error| damaged(&path, &error))?;
        if file.version != VERSION {
            return Err(damaged(&path, &format!("version {} is newer than this program", file.version)));
        }
        let settings = Settings { retention_days: file.retention_days, tags: file.tags };
        let group = Group::new(file.id, file.scope, &file.name, file.created, settings);
        let files = GroupFiles { dir: dir.to_path_buf(), len: 0, records: 0 }.load_streams(&group)?;
        Ok(Some((group, files)))
    }

    fn load_streams(mut self, group: &Group) -> Result<GroupFiles, OpenError> {
        let path = self.dir.join("streams.log");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            Err(error) => return Err(io_error(&path)(error)),
        };
        let mut latest: BTreeMap<u64, StreamFacts> = BTreeMap::new();
        let mut frames = Frames::new(&bytes);
        for payload in frames.by_ref() {
            self.records += 1;
            match StreamRecord::decode(payload).map_err(|why| damaged(&path, &why))? {
                StreamRecord::Stream(facts) => drop(latest.insert(facts.id, *facts)),
                StreamRecord::Gone { id } => drop(latest.remove(&id)),
            }
        }
        self.len = frames.good() as u64;
        for facts in latest.into_values() {
            let (id, name, created, state) = facts.state();
            group.add_stream(id, &name, created, state);
        }
        Ok(self)
    }

    pub(super) fn write_group(&self, group: &Group) -> io::Result<()> {
        let settings = group.settings().clone();
        let file = GroupFile {
            version: VERSION,
            id: group.id,
            scope: group.scope.clone(),
            name: group.name.to_string(),
            created: group.created,
            retention_days: settings.retention_days,
            tags: settings.tags,
        };
        let json = serde_json::to_vec_pretty(&file).expect("a group is plain data");
        replace(&self.dir, "group.json", &json)
    }

    /// Appends `records` and syncs; after an error the file is as it was before, or this group can no longer be written.
    pub(super) fn append(&mut self, records: &[StreamRecord]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for record in records {
            frame::push(&mut bytes, &record.encode());
        }
        let path = self.dir.join("streams.log");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        // Cuts what a crash or a full disk left half-written behind the last whole record.
        file.set_len(self.len)?;
        if let Err(error) = file.write_all_at(&bytes, self.len).and_then(|()| file.sync_data()) {
            // A record that got through whole must not come true later: its segment will have been rewritten by then.
            file.set_len(self.len)?;
            return Err(error);
        }
        if self.len == 0 {
            sync_dir(&self.dir)?;
        }
        self.len += bytes.len() as u64;
        self.records += records.len() as u64;
        Ok(())
    }

    pub(super) fn wants_rewrite(&self, alive: u64) -> bool {
        self.records > alive * 4 + SLACK_RECORDS
    }

    /// Replaces `streams.log` by `records`, which must say everything the old one said.
    pub(super) fn rewrite(&mut self, records: &[StreamRecord]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            frame::push(&mut bytes, &record.encode());
        }
        replace(&self.dir, "streams.log", &bytes)?;
        (self.len, self.records) = (bytes.len() as u64, records.len() as u64);
        Ok(())
    }
}

/// Writes `name` in `dir` whole or not at all.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.next"));
    let file = File::create(&draft)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name))?;
    sync_dir(dir)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: these bytes are on people's disks.
    #[test]
    fn the_stored_format_has_not_moved() {
        let full = r#"{"record":"stream","id":4,"name":"a/b","created":1,"first_event":2,"last_event":3,"last_ingestion":4,"stored_bytes":27,"next_seq":1,"producers":{"p":{"next_offset":9,"at":4}},"segments":[{"no":1,"len":50,"min":2,"max":3,"bytes":27,"sealed":false}]}"#;
        let bare = r#"{"record":"stream","id":4,"name":"a","created":1,"stored_bytes":0,"next_seq":0}"#;
        for golden in [full, bare, r#"{"record":"gone","id":4}"#] {
            let bytes = [&[VERSION], golden.as_bytes()].concat();
            let record = StreamRecord::decode(&bytes).unwrap();
            assert_eq!(String::from_utf8(record.encode()[1..].to_vec()).unwrap(), golden);
        }
        let group = r#"{"version":1,"id":2,"scope":{"account":"0","region":"r"},"name":"g","created":5,"retention_days":7,"tags":{"k":"v"}}"#;
        let file: GroupFile = serde_json::from_str(group).unwrap();
        assert_eq!(serde_json::to_string(&file).unwrap(), group);
    }
}
