//! The ways out: check a store, copy it while it runs, put a copy in its place.

use crate::{
    audit::{audit, over_capacity},
    backend::BackendError,
    load::Loading,
    record::{Kind, Record},
    sqlite, wal,
};
use model::{MachineState, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Problems that are told one by one; a store with more is told to be worse.
const PROBLEMS_TOLD: usize = 100;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file that was looked at.
    pub file: PathBuf,
    /// Its latest revision.
    pub revision: u64,
    /// How many records there are of each kind.
    pub records: BTreeMap<Kind, u64>,
    /// What is wrong, at most the first hundred things; empty if nothing is.
    pub problems: Vec<String>,
    /// What is unusual but can come about by itself, such as an instance that came back smaller than its tasks.
    pub notes: Vec<String>,
    /// The machines that are not terminated, by id: those that may have files on this host.
    pub machines: BTreeSet<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at revision {}", self.file.display(), self.revision)?;
        for (kind, count) in &self.records {
            writeln!(f, "  {count} {kind} records")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        if self.is_sound() {
            return write!(f, "It is sound.");
        }
        write!(f, "It is damaged. `longshore state restore` puts a backup in its place and keeps this one beside it.")
    }
}

/// Why a copy could not be made or put in place.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MaintainError {
    /// The engine keeps no file that could be copied.
    #[error("this state store is not kept in a file")]
    NoFile,
    /// There is no store at this path.
    #[error("there is no state store at {0}")]
    Missing(PathBuf),
    /// Nothing is written over; the caller must name another file, or say so.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A damaged backup is not put in place.
    #[error("{file} is damaged: {}", problems.join("; "))]
    Unsound {
        /// The backup.
        file: PathBuf,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// The engine or the disk failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The copying thread was ended by shutdown.
    #[error("interrupted")]
    Interrupted,
}

/// Whether somebody writes to the store of a state directory: a server that runs.
pub fn is_in_use(directory: &Path) -> bool {
    directory.is_dir() && matches!(sqlite::lock(directory), Err(BackendError::InUse(_)))
}

/// The store file of a state directory, or a file itself.
fn store_file(path: &Path) -> Result<PathBuf, MaintainError> {
    let file = if path.is_dir() { path.join(sqlite::FILE) } else { path.to_owned() };
    if file.is_file() { Ok(file) } else { Err(MaintainError::Missing(file)) }
}

/// Looks at everything in a store (its directory, or the file of a backup): SQLite's own structure, every checksum,
/// every record, and what must hold between them. Changes nothing; a server may be running on it.
pub fn check(path: &Path) -> Result<Report, MaintainError> {
    let file = store_file(path)?;
    let mut report = Report {
        file: file.clone(),
        revision: 0,
        records: BTreeMap::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        machines: BTreeSet::new(),
    };
    if path.is_dir() {
        report.notes = strangers(path).map_err(BackendError::from)?;
    }
    if path.is_dir() && path.join(sqlite::RESTORING).exists() {
        report.problems.push(format!("a restore was interrupted: {} is still there", sqlite::RESTORING));
    }
    // While a server runs, the log is being written and its last frames are not whole; then the server has checked it.
    if path.is_dir()
        && !matches!(sqlite::lock(path), Err(BackendError::InUse(_)))
        && let Err(what) = wal::check(&file)
    {
        report.problems.push(what);
    }
    match look(&file, &mut report) {
        Ok(()) => {}
        Err(BackendError::Corrupt(what)) => report.problems.push(what.to_string()),
        Err(error) => return Err(error.into()),
    }
    report.problems.truncate(PROBLEMS_TOLD);
    Ok(report)
}

/// Files beside the store that belong to nothing: left by a copy that was interrupted, or by somebody else.
fn strangers(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // The store, its log and index, its lock, and a former store that a restore has put aside.
        let known = name == sqlite::RESTORING
            || ["state.db", "state.db.replaced"]
                .iter()
                .any(|own| ["", "-wal", "-shm"].map(|s| format!("{own}{s}")).contains(&name))
            || name == "state.lock";
        if !known {
            found.push(format!("{name} is no file of the store"));
        }
    }
    found.sort();
    Ok(found)
}

fn look(file: &Path, report: &mut Report) -> Result<(), BackendError> {
    let connection = sqlite::open_to_read(file)?;
    // One moment for all that follows, also while a server writes.
    let moment = connection.unchecked_transaction()?;
    let sql = format!("PRAGMA integrity_check({PROBLEMS_TOLD})");
    let mut statement = moment.prepare(&sql)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            report.problems.push(format!("SQLite: {line}"));
        }
    }
    let (mut loading, mut problems) = (Loading::default(), Vec::new());
    let mut undecoded = Vec::new();
    report.revision = sqlite::scan(
        &moment,
        0,
        &mut |stored| {
            let Some(value) = &stored.value else { return Ok(()) };
            *report.records.entry(stored.kind).or_default() += 1;
            match Record::decode(stored.kind, &stored.key, value) {
                Ok(record) => loading.add(record),
                Err(corrupt) => undecoded.push(corrupt.to_string()),
            }
            Ok(())
        },
        &mut |what| {
            problems.push(what);
            Ok(())
        },
    )?;
    report.problems.append(&mut problems);
    report.problems.append(&mut undecoded);
    match loading.build() {
        Ok((snapshot, _)) => {
            report.problems.append(&mut audit(&snapshot));
            report.notes.append(&mut over_capacity(&snapshot));
            let live = snapshot.all_machines().filter(|m| m.state != MachineState::Terminated);
            report.machines = live.map(|m| m.id.clone()).collect();
        }
        Err(orphan) => report.problems.push(orphan.to_string()),
    }
    Ok(())
}

/// Copies a store (its directory, or a file) into the new file `to`, whole and of one moment, while it runs. The file is
/// there only when it is complete and on the disk.
pub fn backup(from: &Path, to: &Path) -> Result<(), MaintainError> {
    let file = store_file(from)?;
    if to.exists() {
        return Err(MaintainError::Exists(to.to_owned()));
    }
    let partial = beside(to, ".partial");
    let copied = copy_out(&file, &partial).and_then(|()| settle(&partial, to));
    if copied.is_err() {
        // What is left of a failed copy is of no use; that it can not be removed adds nothing to the error.
        let _ = fs::remove_file(&partial);
    }
    Ok(copied?)
}

fn copy_out(file: &Path, partial: &Path) -> Result<(), BackendError> {
    // Made first, so that it is nobody else's to read from its first byte on.
    let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial);
    new?;
    let connection = sqlite::open_to_read(file)?;
    let name = partial.to_str().ok_or_else(|| BackendError::Failed("the backup's path is not UTF-8".into()))?;
    connection.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Puts a finished file under its name, durably.
fn settle(partial: &Path, to: &Path) -> Result<(), BackendError> {
    sync(partial)?;
    fs::rename(partial, to)?;
    sqlite::sync_directory(parent(to))
}

/// Puts the backup `file` in place of the store in `directory`, which no server may be using. The backup is checked first.
/// A store that is there already stays unless `overwrite` is said, and is then kept as `state.db.replaced`.
///
/// Its revisions go back, so its epochs must go on: whoever remembers the highest pair of both would take everything from
/// now on for old. What was handed out since the backup is in the store that is replaced; if that is lost or damaged, the
/// time of the restore, `at`, in milliseconds, is higher than any epoch that was counted from an earlier one.
pub fn restore(file: &Path, directory: &Path, overwrite: bool, at: Timestamp) -> Result<Report, MaintainError> {
    let report = check(file)?;
    if !report.is_sound() {
        return Err(MaintainError::Unsound { file: file.to_owned(), problems: report.problems });
    }
    let _lock = sqlite::lock(directory)?;
    let (store, restoring) = (directory.join(sqlite::FILE), directory.join(sqlite::RESTORING));
    if store.exists() && !overwrite {
        return Err(MaintainError::Exists(store));
    }
    let _ = fs::remove_file(&restoring);
    copy_out(&report.file, &restoring)?;
    let handed_out = if store.exists() { sqlite::epoch(&store).unwrap_or_default() } else { 0 };
    sqlite::raise_epoch(&restoring, handed_out.max(u64::try_from(at.0).unwrap_or_default()))?;
    sync(&restoring)?;
    sqlite::sync_directory(directory)?;
    // From here to the last rename a crash leaves the restoring file, and no server starts on what it finds.
    let replaced = directory.join("state.db.replaced");
    for suffix in ["-wal", ""] {
        move_away(&beside(&store, suffix), &beside(&replaced, suffix))?;
    }
    move_away(&beside(&store, "-shm"), &beside(&replaced, "-shm"))?;
    sqlite::sync_directory(directory)?;
    fs::rename(&restoring, &store).map_err(BackendError::from)?;
    sqlite::sync_directory(directory)?;
    Ok(report)
}

/// Renames what is there; whatever had the new name goes, so that no log is left beside a database it does not belong to.
fn move_away(from: &Path, to: &Path) -> Result<(), BackendError> {
    for result in [fs::remove_file(to), fs::rename(from, to)] {
        match result {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn sync(file: &Path) -> Result<(), BackendError> {
    Ok(File::open(file).and_then(|f| f.sync_all())?)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
