//! The usages that are over, for ever: an append-only file or more for each month in which they ended.
//!
//! What is appended is durable when `append` returns. Whoever is not sure whether it was appended appends it again: a reader
//! takes the first of each key. A torn end is cut before the next append; a file with damage before its end is left as it is
//! and another one begun, and readers tell of it. Files are never rewritten, so an operator may copy or remove whole months.

use super::{Usage, Window};
use crate::frame::{self, Frames};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet, hash_map::DefaultHasher},
    fs::{self, File, OpenOptions},
    hash::{Hash, Hasher},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The version of a frame's form.
const VERSION: u32 = 1;
/// Where a file ends and the next of the month begins: some 200,000 usages.
const FILE_BYTES: u64 = 64 << 20;
/// Usages in one frame: some 300 KiB, of which a torn end costs nothing that was told as done.
const FRAME_USAGES: usize = 1_000;
/// Usages that one reading takes, so that a question does not take all memory: their keys are 200 MB.
const MAX_READ: usize = 5_000_000;

/// Why the ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file cannot be written or read.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A newer version wrote it.
    #[error("{file} has format version {version}; run a newer longshore")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// It holds more than is read at once.
    #[error("the period holds more than {MAX_READ} tasks and instances")]
    TooMany,
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let file = file.display().to_string();
    move |source| LedgerError::Io { file, source }
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    usage: &'a [Usage],
}

#[derive(Deserialize)]
struct Frame {
    v: u32,
    #[serde(default)]
    usage: Vec<Usage>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// A file's place: year, month and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    year: i16,
    month: i8,
    number: u32,
}

impl Place {
    fn of(at: Timestamp) -> Self {
        // What is no date at all is the beginning of time.
        let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = jiff::tz::Offset::UTC.to_datetime(at).date();
        Self { year: date.year(), month: date.month(), number: 1 }
    }

    fn parse(name: &str) -> Option<Self> {
        let (date, number) = name.strip_prefix("usage-")?.rsplit_once('.')?;
        let (year, month) = date.rsplit_once('-')?;
        Some(Self { year: year.parse().ok()?, month: month.parse().ok()?, number: number.parse().ok()? })
    }

    fn month(self) -> (i16, i8) {
        (self.year, self.month)
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("usage-{:04}-{:02}.{:04}", self.year, self.month, self.number))
    }
}

fn places(dir: &Path) -> Result<Vec<Place>, LedgerError> {
    let mut places = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        places.extend(entry.file_name().to_str().and_then(Place::parse));
    }
    places.sort_unstable();
    Ok(places)
}

/// The ledger's one writer.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    open: Option<Open>,
    /// A file that could not be written to; what it may hold besides what was synced is unknown.
    spoiled: Option<Place>,
    file_bytes: u64,
}

#[derive(Debug)]
struct Open {
    place: Place,
    file: File,
    len: u64,
}

impl Ledger {
    /// Opens the ledger in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed(parent))?;
        Ok(Self { dir: dir.to_owned(), open: None, spoiled: None, file_bytes: FILE_BYTES })
    }

    /// The same with files of another length, for tests.
    #[must_use]
    pub fn with_file_bytes(self, file_bytes: u64) -> Self {
        Self { file_bytes, ..self }
    }

    /// Appends usages, durably.
    ///
    /// # Errors
    /// Something of them could not be written. Some may have been; append all of them again.
    pub fn append(&mut self, usages: &[Usage]) -> Result<(), LedgerError> {
        let mut months: BTreeMap<Place, Vec<Usage>> = BTreeMap::new();
        for usage in usages {
            months.entry(Place::of(usage.billed_until())).or_default().push(usage.clone());
        }
        for (month, usages) in months {
            let mut bytes = Vec::new();
            for usages in usages.chunks(FRAME_USAGES) {
                let written = Written { v: VERSION, usage: usages };
                frame::push(&mut bytes, &serde_json::to_vec(&written).expect("a usage is JSON"));
            }
            self.write(month, &bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, month: Place, bytes: &[u8]) -> Result<(), LedgerError> {
        let known = self.open.take().filter(|open| open.place.month() == month.month() && open.len < self.file_bytes);
        let mut open = match known {
            Some(open) => open,
            None => self.open_for(month)?,
        };
        let written = open.file.write_all_at(bytes, open.len).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // After a failed sync nobody knows what is on the disk, so this file gets nothing more.
            self.spoiled = Some(open.place);
            return Err(failed(&open.place.path(&self.dir))(error));
        }
        open.len += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// The month's last file, cut to what is whole in it, or its next.
    fn open_for(&self, month: Place) -> Result<Open, LedgerError> {
        let last = places(&self.dir)?.into_iter().rfind(|place| place.month() == month.month());
        let Some(last) = last else { return self.create(month) };
        let next = Place { number: last.number + 1, ..last };
        if self.spoiled == Some(last) {
            return self.create(next);
        }
        let path = last.path(&self.dir);
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let mut frames = Frames::new(&bytes);
        frames.by_ref().for_each(drop);
        let good = frames.good();
        if good as u64 >= self.file_bytes || frame::resumes(&bytes, good) {
            return self.create(next);
        }
        let file = OpenOptions::new().write(true).open(&path).map_err(failed(&path))?;
        if good < bytes.len() {
            file.set_len(good as u64).and_then(|()| file.sync_all()).map_err(failed(&path))?;
        }
        Ok(Open { place: last, file, len: good as u64 })
    }

    fn create(&self, place: Place) -> Result<Open, LedgerError> {
        let path = place.path(&self.dir);
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = made.map_err(failed(&path))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed(&self.dir))?;
        Ok(Open { place, file, len: 0 })
    }
}

/// The keys of what was read: each usage counts once.
#[derive(Debug, Default)]
pub struct Keys(HashSet<(u64, u64)>);

impl Keys {
    /// Notes a key. False if it was known.
    pub fn add(&mut self, key: &str) -> bool {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, key).hash(&mut hasher);
            hasher.finish()
        };
        self.0.insert((half(0), half(1)))
    }
}

/// What a reading found.
#[derive(Debug, Default)]
pub struct Read {
    /// The keys of all that was read, of the period or not.
    pub keys: Keys,
    /// Files in which something is damaged, so that usages are missing.
    pub damaged: Vec<String>,
}

/// Hands over every usage of which a billed second can lie in a period, each once.
///
/// # Errors
/// A file cannot be read, is of a newer form, or the period holds too much.
pub fn read(dir: &Path, period: Window, mut take: impl FnMut(&Usage)) -> Result<Read, LedgerError> {
    let mut read = Read::default();
    // What ends before the period is in an earlier month's file, and nothing of a later one begins in it only by chance.
    let first = Place::of(period.from).month();
    for place in places(dir)?.into_iter().filter(|place| place.month() >= first) {
        let path = place.path(dir);
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let damaged = each_frame(&bytes, |payload| {
            let name = || path.display().to_string();
            for usage in decode(payload, name)? {
                if read.keys.add(&usage.key) && usage.from < period.to && usage.billed_until() > period.from {
                    take(&usage);
                }
            }
            if read.keys.0.len() > MAX_READ { Err(LedgerError::TooMany) } else { Ok(()) }
        })?;
        if damaged {
            read.damaged.push(path.display().to_string());
        }
    }
    Ok(read)
}

/// Calls for each whole frame, also behind damage; true if there was some.
fn each_frame(bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), LedgerError>) -> Result<bool, LedgerError> {
    let (mut at, mut damaged) = (0, false);
    loop {
        let mut frames = Frames::new(&bytes[at..]);
        for payload in frames.by_ref() {
            take(payload)?;
        }
        at += frames.good();
        // A torn end is none: what it held was never told as done.
        let next = (at + 1..bytes.len()).find(|from| Frames::new(&bytes[*from..]).next().is_some());
        match next {
            Some(from) => (at, damaged) = (from, true),
            None => return Ok(damaged),
        }
    }
}

fn decode(payload: &[u8], file: impl Fn() -> String) -> Result<Vec<Usage>, LedgerError> {
    let wrong = |error: serde_json::Error| LedgerError::Io { file: file(), source: error.into() };
    let Version { v } = serde_json::from_slice(payload).map_err(wrong)?;
    if v > VERSION {
        return Err(LedgerError::Newer { file: file(), version: v });
    }
    let frame: Frame = serde_json::from_slice(payload).map_err(wrong)?;
    debug_assert_eq!(frame.v, v);
    Ok(frame.usage)
}
