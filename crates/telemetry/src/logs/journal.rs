//! The one file every durable change is appended to, so that a hundred streams written at once cost one sync, not a hundred.
//!
//! Journals are numbered; a checkpoint writes the next one beside the old, renames it into place and unlinks the old, so the
//! highest number is the whole truth. A torn end is cut at open: what it held was never answered.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::change::{Change, Fact};
use super::error::OpenError;
use super::frame::{self, Frames};

/// The name of a journal that is still being written.
pub(super) const DRAFT: &str = "journal-next";

pub(super) struct Journal {
    dir: PathBuf,
    file: File,
    number: u64,
    len: u64,
    /// Once a sync has failed the kernel may have dropped what we wrote, so nothing may be answered until a reopen has
    /// read back what really is on the disk.
    failed: Option<String>,
}

/// What a journal held.
pub(super) struct Replay {
    pub(super) changes: Vec<Change>,
    /// Bytes cut off the end.
    pub(super) torn: u64,
    /// Whole records were among them. A power failure in the middle of a write can do that too, so it is no reason not to open.
    pub(super) damaged: bool,
}

fn file_name(number: u64) -> String {
    format!("journal-{number:016}")
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

impl Journal {
    /// Opens the newest journal in `dir`, or `None` when there is none yet.
    pub(super) fn open(dir: &Path) -> Result<Option<(Journal, Replay)>, OpenError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir).map_err(io_error("listing the log store"))? {
            let entry = entry.map_err(io_error("listing the log store"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(number) = name.strip_prefix("journal-") {
                match number.parse::<u64>() {
                    Ok(number) => numbers.push(number),
                    Err(_) => fs::remove_file(entry.path()).map_err(io_error(format!("removing {name}")))?,
                }
            }
        }
        let Some(number) = numbers.iter().copied().max() else { return Ok(None) };
        for older in numbers.into_iter().filter(|older| *older != number) {
            fs::remove_file(dir.join(file_name(older))).map_err(io_error("removing a journal that was replaced"))?;
        }
        let path = dir.join(file_name(number));
        let bytes = fs::read(&path).map_err(io_error(format!("reading {}", path.display())))?;
        let mut frames = Frames::new(&bytes);
        let mut changes = Vec::new();
        for payload in frames.by_ref() {
            let change =
                Change::decode(payload).map_err(|why| OpenError::Damaged { file: path.display().to_string(), why })?;
            changes.push(change);
        }
        let len = frames.good() as u64;
        let damaged = frame::resumes(&bytes, frames.good());
        let torn = bytes.len() as u64 - len;
        let file = OpenOptions::new().write(true).open(&path).map_err(io_error("opening the journal"))?;
        if torn > 0 {
            file.set_len(len).and_then(|()| file.sync_all()).map_err(io_error("cutting the journal's torn end"))?;
        }
        let journal = Journal { dir: dir.to_path_buf(), file, number, len, failed: None };
        Ok(Some((journal, Replay { changes, torn, damaged })))
    }

    /// Makes journal `number` hold exactly `kept`, durably, in place of the one before.
    fn create(dir: &Path, number: u64, next_id: u64, kept: &[Change]) -> io::Result<Journal> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, &Change::Fact(Fact::JournalBegun { next_id }).encode());
        for change in kept {
            frame::push(&mut bytes, &change.encode());
        }
        let draft = dir.join(DRAFT);
        let file = File::create(&draft)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&draft, dir.join(file_name(number)))?;
        File::open(dir)?.sync_all()?;
        Ok(Journal { dir: dir.to_path_buf(), file, number, len: bytes.len() as u64, failed: None })
    }

    pub(super) fn first(dir: &Path, next_id: u64) -> io::Result<Journal> {
        Journal::create(dir, 1, next_id, &[])
    }

    /// Replaces this journal; on failure it stays as it is.
    pub(super) fn rotate(&mut self, next_id: u64, kept: &[Change]) -> io::Result<()> {
        let next = Journal::create(&self.dir, self.number + 1, next_id, kept)?;
        let old = self.dir.join(file_name(self.number));
        *self = next;
        if let Err(error) = fs::remove_file(&old) {
            tracing::warn!(file = %old.display(), %error, "a replaced journal stays until the next start");
        }
        Ok(())
    }

    /// Appends `bytes` (whole frames) and syncs. After an error nothing of them is kept, except that after a failed sync it
    /// is unknown, and the journal refuses everything from then on.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            if let Err(cut) = self.file.set_len(self.len) {
                self.failed = Some(format!("the journal cannot be cut back: {cut}"));
            }
            return Err(error.to_string());
        }
        if let Err(error) = self.file.sync_data() {
            let why = format!("a sync failed, restart to read back what is on the disk: {error}");
            self.failed = Some(why.clone());
            return Err(why);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}
