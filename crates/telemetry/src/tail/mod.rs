//! The node's half of `awslogs`: reads the raw file a container's shim appends to and gives its lines with their offsets.
//!
//! The file is what containerd's `file://` logger makes: stdout and stderr merged, no times, opened `O_APPEND` by the shim
//! (containerd 1.6 to 2.x, `pkg/process/io.go`). That flag is what [`Tailer::release`] stands on: holes punched in what has
//! been shipped change neither the file's length nor where the shim writes next, so a container's log takes only the disk of
//! what has not been shipped yet, however long it runs.
//!
//! Nothing waits in here. The agent asks [`Tailer::has_more`] at the pace [`Pace`] suggests: one `fstat` per running container
//! at 20 ms after output and down to once a second in silence costs less than a hundredth of a percent of a core, where
//! inotify would cost a wake-up for each of the shim's 4 KiB writes.

mod lines;
mod newest;
mod pace;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use regex::bytes::Regex;

use crate::Line;

pub use self::newest::keep_newest;

pub use self::pace::Pace;

/// Bytes of one event before it is split: what every CloudWatch agent keeps to.
pub const MAX_LINE_BYTES: usize = 256 << 10;
/// What CloudWatch adds to each event when it measures a batch.
const EVENT_OVERHEAD: usize = 26;
/// Bytes read for one batch at most, as a multiple of the batch's bound: empty lines take space and give no event.
const READ_BYTES: usize = 1 << 20;

/// How much one batch may hold. The defaults are what one `PutLogEvents` may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Lines.
    pub events: usize,
    /// Bytes of text plus 26 per line.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits { events: 10_000, bytes: 1 << 20 }
    }
}

/// Lines read, and the part of the file they are. Empty lines give no event but belong to the part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the part begins.
    pub offset: u64,
    /// Where the next one will.
    pub next_offset: u64,
    /// In the order of the file.
    pub lines: Vec<Line>,
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The file is shorter than what was read of it: someone cut or replaced it.
    #[error("the log file has {len} bytes, fewer than the {offset} already read")]
    Shrunk {
        /// Its length now.
        len: u64,
        /// How far it had been read.
        offset: u64,
    },
    /// The operating system refused.
    #[error("reading the log file")]
    Io(#[from] io::Error),
}

/// Whole lines at the end of the file whose event may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where the event begins.
    pub from: u64,
    /// Where the last of its lines ends.
    pub upto: u64,
    /// When the file had last been written as its beginning was first seen, which is the event's time.
    pub since_millis: i64,
}

/// A reader of one log file. It keeps the file open, its place in it, and since when an unfinished event is there.
#[derive(Debug)]
pub struct Tailer {
    file: File,
    offset: u64,
    released: u64,
    limits: BatchLimits,
    start: Option<Regex>,
    forced: Option<u64>,
    held: Option<Held>,
}

impl Tailer {
    /// Opens `path` to be read on from `offset`, which must be one that a [`Batch`] ended at, or 0. Each line is an event.
    pub fn open(path: &Path, offset: u64, limits: BatchLimits) -> Result<Tailer, TailError> {
        // For writing too, because only then may holes be punched in it.
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let tailer = Tailer { file, offset, released: 0, limits, start: None, forced: None, held: None };
        tailer.len()?;
        Ok(tailer)
    }

    /// Only a line that matches begins an event.
    pub fn starting_with(mut self, start: Option<Regex>) -> Tailer {
        self.start = start;
        self
    }

    /// The unfinished event that the last [`Tailer::read`] found at the end of the file.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// An event ends at this offset, whatever follows. Whoever sends it must remember the offset until it is acknowledged, and
    /// say it again to each tailer that reads the same bytes: else the event could be cut otherwise the second time.
    pub fn end_event_at(&mut self, offset: u64) {
        self.forced = Some(offset);
    }

    /// Where the next batch begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the file has grown beyond what was read. A line without its end counts, so this may be true while
    /// [`Tailer::read`] has nothing to give yet.
    pub fn has_more(&self) -> Result<bool, TailError> {
        Ok(self.len()? > self.offset)
    }

    fn len(&self) -> Result<u64, TailError> {
        self.look().map(|(len, _)| len)
    }

    /// How long the file is, and when it was last written.
    fn look(&self) -> Result<(u64, SystemTime), TailError> {
        let told = self.file.metadata()?;
        let (len, written) = (told.len(), told.modified()?);
        if len < self.offset { Err(TailError::Shrunk { len, offset: self.offset }) } else { Ok((len, written)) }
    }

    /// Reads the next batch, or `None` when there is no whole line. `ended` says that nobody will write any more: then what
    /// is left without a newline is a line too. Lines bear the time at which the file was last written, since they may have
    /// waited for somebody to look, or for an agent to come back; never one behind the time given. An event of several lines
    /// bears that of its beginning.
    pub fn read(&mut self, now_millis: i64, ended: bool) -> Result<Option<Batch>, TailError> {
        let (len, written) = self.look()?;
        let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let now_millis = i64::try_from(written).unwrap_or(i64::MAX).min(now_millis);
        let left = usize::try_from(len - self.offset).unwrap_or(usize::MAX);
        if left == 0 {
            self.held = None;
            return Ok(None);
        }
        let mut bytes = vec![0; left.min(READ_BYTES)];
        let read = read_up_to(&self.file, &mut bytes, self.offset)?;
        bytes.truncate(read);
        let at_end = ended && read == left;
        let rules = lines::Rules { start: self.start.as_ref(), forced: self.forced, at_end, limits: self.limits };
        let mut cut = lines::cut(&bytes, self.offset, now_millis, rules);
        let offset = self.offset;
        self.offset += cut.used as u64;
        let seen = self.held.filter(|held| held.from == offset).map(|held| held.since_millis);
        if let (Some(first), Some(seen)) = (cut.lines.first_mut(), seen) {
            first.timestamp_millis = seen;
        }
        self.held = (cut.held > 0 && read == left).then(|| Held {
            from: self.offset,
            upto: self.offset + cut.held as u64,
            since_millis: seen.filter(|_| cut.used == 0).unwrap_or(now_millis),
        });
        if cut.used == 0 {
            return Ok(None);
        }
        Ok(Some(Batch { offset, next_offset: self.offset, lines: cut.lines }))
    }

    /// Goes back (or on) to `offset`, for example to what the server says it has.
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// When more than `most` bytes are unread, leaves out the oldest of them, to seven eighths of `most` so that it need not be
    /// done for each line; answers where to read on then, behind a newline if there is one near. Nothing is given back yet:
    /// [`Tailer::release`] does that.
    pub fn skip_to_newest(&mut self, most: u64) -> Result<Option<u64>, TailError> {
        let len = self.len()?;
        if len - self.offset <= most {
            return Ok(None);
        }
        let from = len - (most - most / 8);
        // From the byte before, which may be the newline looked for. There is one, because what is left out is not nothing.
        let mut bytes = vec![0; MAX_LINE_BYTES.min(usize::try_from(len - from + 1).unwrap_or(usize::MAX))];
        let read = read_up_to(&self.file, &mut bytes, from - 1)?;
        self.offset = from + bytes[..read].iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline as u64);
        self.held = None;
        Ok(Some(self.offset))
    }

    /// Gives the disk space before `upto` back to the file system, in whole blocks, once that much is kept elsewhere. The
    /// file's length stays. A file system without holes is no error: its files just grow.
    pub fn release(&mut self, upto: u64) -> io::Result<()> {
        let block = u64::from(u32::try_from(rustix::fs::fstat(&self.file)?.st_blksize).unwrap_or(4_096).max(1));
        let end = upto.min(self.offset) / block * block;
        if end <= self.released {
            return Ok(());
        }
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, punch, self.released, end - self.released) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.released = end;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod tests;
