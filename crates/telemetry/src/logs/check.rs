//! Looks at a whole log store that no server has open: every frame, every block, every checksum. Changes nothing, which is why
//! it reads for itself where opening would repair.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::change::Change;
use super::error::OpenError;
use super::frame::{self, Frames};
use super::group_files::GroupFiles;
use super::{journal, segment};

/// Problems that are told one by one; a store with more is told to be worse.
const PROBLEMS_TOLD: usize = 100;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Log groups.
    pub groups: u64,
    /// Streams in them.
    pub streams: u64,
    /// Events in segments; those in the journal are not counted.
    pub events: u64,
    /// What is wrong, at most the first hundred things; empty if nothing is.
    pub problems: Vec<String>,
    /// What is unusual and can come about by itself.
    pub notes: Vec<String>,
    /// Whether there is a store that could be looked at.
    pub checked: bool,
}

/// Checks the store in `dir`; one that does not exist is empty.
pub fn check(dir: &Path) -> Result<Report, OpenError> {
    let mut report = Report::default();
    let io_error = |source| OpenError::Io { what: format!("reading {}", dir.display()), source };
    let lock = match File::open(dir.join("lock")) {
        Ok(lock) => lock,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(report),
        Err(e) => return Err(io_error(e)),
    };
    match lock.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            report.notes.push("a server has the logs open; they are checked when it is stopped".to_string());
            return Ok(report);
        }
        Err(TryLockError::Error(e)) => return Err(io_error(e)),
    }
    report.checked = true;
    for name in names(dir).map_err(io_error)? {
        if name.strip_prefix("journal-").is_some_and(|number| number.parse::<u64>().is_ok()) {
            check_journal(&dir.join(&name), &mut report).map_err(io_error)?;
        } else if !["lock", "groups", journal::DRAFT].contains(&name.as_str()) {
            report.notes.push(format!("{name} is no file of the log store"));
        }
    }
    for name in names(&dir.join("groups")).map_err(io_error)? {
        if name.parse::<u64>().is_ok() {
            check_group(&dir.join("groups").join(&name), &mut report).map_err(io_error)?;
        }
    }
    report.problems.truncate(PROBLEMS_TOLD);
    Ok(report)
}

fn names(dir: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Whole frames up to the end; behind them at most the unfinished end of one last write.
fn check_frames(path: &Path, report: &mut Report, decode: impl Fn(&[u8]) -> Result<(), String>) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let mut frames = Frames::new(&bytes);
    for payload in frames.by_ref() {
        if let Err(why) = decode(payload) {
            report.problems.push(format!("{}: {why}", path.display()));
        }
    }
    let good = frames.good();
    if frame::resumes(&bytes, good) {
        report
            .problems
            .push(format!("{} is damaged behind byte {good}, and records follow the damage", path.display()));
    } else if good < bytes.len() {
        let left = bytes.len() - good;
        report.notes.push(format!("{} ends with {left} bytes of a write that was never answered", path.display()));
    }
    Ok(())
}

fn check_journal(path: &Path, report: &mut Report) -> io::Result<()> {
    check_frames(path, report, |payload| Change::decode(payload).map(drop))
}

fn check_group(dir: &Path, report: &mut Report) -> io::Result<()> {
    let streams_log = dir.join("streams.log");
    if streams_log.exists() {
        check_frames(&streams_log, report, |_| Ok(()))?;
    }
    let group = match GroupFiles::load(dir) {
        Ok(Some((group, _))) => group,
        Ok(None) => return Ok(()),
        Err(error) => {
            report.problems.push(error.to_string());
            return Ok(());
        }
    };
    report.groups += 1;
    let mut known = BTreeSet::new();
    for stream in group.streams().by_id.values() {
        report.streams += 1;
        for meta in &stream.state().segments {
            let path = segment::path(dir, stream.id, meta.no);
            known.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            let blocks = segment::index(dir, stream.id, meta);
            let events = blocks.and_then(|blocks| {
                blocks.iter().try_fold(0, |sum, block| {
                    segment::read(&path, block)?;
                    Ok(sum + u64::from(block.count))
                })
            });
            match events {
                Ok(events) => report.events += events,
                Err(why) => report.problems.push(format!("{} of stream {}: {why}", path.display(), stream.name)),
            }
        }
    }
    for name in names(dir)?.into_iter().filter(|name| name.ends_with(".seg") && !known.contains(name)) {
        report.notes.push(format!("{} holds nothing that counts", dir.join(name).display()));
    }
    Ok(())
}
