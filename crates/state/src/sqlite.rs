//! The embedded engine: one SQLite file, write-ahead log, an fsync per group.
//!
//! `records` holds the latest form of every key, and its rowid is the revision, so new rows go to the end and `tail` is a
//! range scan. Removed keys stay as rows without a value for followers to see. SQLite checks little of what it reads, so
//! each record carries a CRC and `meta` the count and sum of all, updated with every commit: a record that went missing, or came
//! back from an earlier time, is noticed at the next start. Always the bundled SQLite: older ones can lose a WAL.

use crate::{
    backend::{Backend, BackendError, Batch, Sink, Stored},
    record::Kind,
    wal,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The file in a state directory.
pub const FILE: &str = "state.db";
/// Here while a restore is under way; a server that finds it does not start.
pub(crate) const RESTORING: &str = "state.db.restoring";
const LOCK: &str = "state.lock";
/// `Lshr`, so that `file` and we know our own.
const APPLICATION_ID: i32 = 0x4c73_6872;
/// The layout of the tables below. Records have versions of their own.
const FORMAT: i32 = 1;

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('epoch', 0), ('floor', 0), ('count', 0), ('sum', 0);
    CREATE TABLE records (
        revision INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT,
        crc INTEGER NOT NULL,
        UNIQUE (kind, key)
    );
    CREATE INDEX removed ON records (revision) WHERE value IS NULL;
";

/// Removed keys are kept for this many revisions: a follower that was away for some minutes of full load finds all it missed.
const TOMBSTONES_KEPT: u64 = 100_000;
/// Every so many commits the older ones are dropped, so that they cost little each time and never pile up.
const PURGE_EVERY: u32 = 1024;

/// A state directory, held by this process alone.
pub struct Sqlite {
    connection: Connection,
    directory: PathBuf,
    commits: u32,
    /// Released when the process ends, however it ends.
    _lock: File,
}

impl Sqlite {
    /// Opens the store in `directory`, making both if they do not exist. Fails if another process has it open.
    pub fn open(directory: &Path) -> Result<Self, BackendError> {
        let lock = lock(directory)?;
        let file = directory.join(FILE);
        if directory.join(RESTORING).exists() {
            let what = format!(
                "a restore into {} was interrupted: run `longshore state restore` again, or remove {RESTORING}",
                directory.display()
            );
            return Err(BackendError::Corrupt(what.into()));
        }
        wal::check(&file).map_err(|what| damaged(&file, what))?;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        match created {
            Ok(_) => sync_directory(directory)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            }
            Err(e) => return Err(e.into()),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(|e| refused(&file, e))?;
        prepare(&connection, &file)?;
        Ok(Self { connection, directory: directory.to_owned(), commits: 0, _lock: lock })
    }
}

/// Takes the directory for this process, making it first if need be.
pub(crate) fn lock(directory: &Path) -> Result<File, BackendError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let lock = open?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackendError::InUse(directory.to_owned())),
        Err(TryLockError::Error(e)) => Err(e.into()),
    }
}

/// Makes names in a directory as durable as the files they name.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), BackendError> {
    Ok(File::open(directory).and_then(|d| d.sync_all())?)
}

/// Opens a store or a backup to look at it, without taking it; a server may be running on it.
pub(crate) fn open_to_read(file: &Path) -> Result<Connection, BackendError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|e| refused(file, e))?;
    let numbers = identity(&connection).map_err(|e| refused(file, e))?;
    identify(file, numbers)?;
    Ok(connection)
}

fn prepare(connection: &Connection, file: &Path) -> Result<(), BackendError> {
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(|e| refused(file, e))?;
    if tables > 0 {
        // Before anything is written: what is not ours stays as it is.
        identify(file, identity(connection).map_err(|e| refused(file, e))?)?;
    }
    let done = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL: every commit is on the disk before it is answered.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        // Keys of tasks are random: the index's inner pages of a million of them stay in this many KiB.
        connection.pragma_update(None, "cache_size", -16_384)?;
        // Pages in the log before it is moved into the database (16 MiB): a page that changes often is moved once.
        connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
        // A reader (backup, check) holds the file for moments only, and only while the log starts over.
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        if tables == 0 {
            let new = connection.unchecked_transaction()?;
            new.execute_batch(SCHEMA)?;
            new.pragma_update(None, "application_id", APPLICATION_ID)?;
            new.pragma_update(None, "user_version", FORMAT)?;
            new.commit()?;
        }
        Ok(())
    };
    done().map_err(|e| refused(file, e))
}

fn identity(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    Ok((number("application_id")?, number("user_version")?))
}

fn identify(file: &Path, (application, format): (i32, i32)) -> Result<(), BackendError> {
    if application != APPLICATION_ID {
        return Err(damaged(file, "it is not a longshore state store".to_owned()));
    }
    if format != FORMAT {
        return Err(damaged(
            file,
            format!("it has store format {format}; this longshore knows format {FORMAT}: run the one that made it"),
        ));
    }
    Ok(())
}

fn damaged(file: &Path, what: impl std::fmt::Display) -> BackendError {
    BackendError::Corrupt(format!("the state store {} can not be used: {what}", file.display()).into())
}

/// What is said when a file is opened; damage to the file is told with its name.
fn refused(file: &Path, error: impl Into<BackendError>) -> BackendError {
    let error = error.into();
    if let BackendError::Corrupt(what) = error { damaged(file, what) } else { error }
}

impl From<std::io::Error> for BackendError {
    fn from(error: std::io::Error) -> Self {
        let text = error.to_string().into();
        if error.kind() == std::io::ErrorKind::StorageFull { Self::Full(text) } else { Self::Failed(text) }
    }
}

impl From<rusqlite::Error> for BackendError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string().into();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            Some(_) | None => Self::Failed(text),
        }
    }
}

/// Over all that names the record and all that is in it.
fn crc(revision: u64, kind: &str, key: &str, value: Option<&str>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&revision.to_le_bytes());
    hasher.update(kind.as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    hasher.update(&[u8::from(value.is_some())]);
    hasher.update(value.unwrap_or_default().as_bytes());
    hasher.finalize()
}

/// What one record adds to the sum over all. Spread by its revision, which is in the CRC too, so that no two rows cancel.
fn weight(revision: u64, crc: u32) -> i64 {
    let spread = (revision << 32 | u64::from(crc)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    i64::from_ne_bytes(spread.to_ne_bytes())
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?.execute(params![name, value]).map(drop)
}

/// The latest epoch that a store has handed out.
pub(crate) fn epoch(file: &Path) -> Result<u64, BackendError> {
    Ok(meta(&open_to_read(file)?, "epoch")?.cast_unsigned())
}

/// Makes every epoch that this store, which nobody has open, will hand out higher than `floor`.
pub(crate) fn raise_epoch(file: &Path, floor: u64) -> Result<(), BackendError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // No journal beside it: whoever is interrupted here begins with a new copy, which an old journal would spoil.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    if meta(&connection, "epoch")?.cast_unsigned() < floor {
        set_meta(&connection, "epoch", floor.cast_signed())?;
    }
    Ok(())
}

/// Reads all rows above `from`, in order. Each row that does not stand its checks is handed to `bad` instead of `sink`.
pub(crate) fn scan(
    connection: &Connection,
    from: u64,
    sink: Sink<'_>,
    bad: &mut dyn FnMut(String) -> Result<(), BackendError>,
) -> Result<u64, BackendError> {
    let (mut last, mut count, mut sum) = (0, 0_i64, 0_i64);
    let sql = "SELECT revision, kind, key, value, crc FROM records WHERE revision > ?1 ORDER BY revision";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([from.cast_signed()])?;
    while let Some(row) = rows.next()? {
        let read = || -> rusqlite::Result<(u64, String, String, Option<String>, u32)> {
            Ok((revision(row)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let (revision, kind, key, value, stored_crc) = match read() {
            Ok(row) => row,
            Err(e) => {
                bad(format!("a record can not be read: {e}"))?;
                continue;
            }
        };
        last = revision;
        count += 1;
        sum = sum.wrapping_add(weight(revision, stored_crc));
        if crc(revision, &kind, &key, value.as_deref()) != stored_crc {
            bad(format!("{kind} record '{key}' does not match its checksum"))?;
            continue;
        }
        match Kind::parse(&kind) {
            Some(kind) => sink(Stored { revision, kind, key, value })?,
            None => bad(format!("record '{key}' is of the unknown kind '{kind}'; run a newer longshore"))?,
        }
    }
    drop(rows);
    if from == 0 && (count, sum) != totals(connection)? {
        bad(format!("the records found ({count}) are not those that were written: some are missing or outdated"))?;
    }
    Ok(last.max(from))
}

/// The first column, which SQLite keeps signed; it starts at 1 and only counts up.
fn revision(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(i64::cast_unsigned)
}

fn totals(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    Ok((meta(connection, "count")?, meta(connection, "sum")?))
}

impl Sqlite {
    fn write(&mut self, batch: &Batch, epoch: u64) -> Result<u64, BackendError> {
        let purge = self.commits.is_multiple_of(PURGE_EVERY);
        let write = self.connection.transaction()?;
        if meta(&write, "epoch")? != epoch.cast_signed() {
            return Err(BackendError::Fenced);
        }
        let revision = put(&write, batch, purge)?;
        write.commit()?;
        self.commits = self.commits.wrapping_add(1);
        Ok(revision)
    }
}

fn put(write: &Connection, batch: &Batch, purge: bool) -> rusqlite::Result<u64> {
    let latest = "SELECT coalesce(max(revision), 0) FROM records";
    let mut latest = write.prepare_cached(latest)?.query_row([], revision)?;
    let (mut count, mut sum) = totals(write)?;
    let mut old = write.prepare_cached("SELECT revision, crc FROM records WHERE kind = ?1 AND key = ?2")?;
    let mut replace = write.prepare_cached("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for change in batch {
        latest += 1;
        let kind = change.kind.as_str();
        let before: Option<(u64, u32)> =
            old.query_row([kind, &change.key], |row| Ok((revision(row)?, row.get(1)?))).optional()?;
        match before {
            Some((revision, crc)) => sum = sum.wrapping_sub(weight(revision, crc)),
            None => count += 1,
        }
        let crc = crc(latest, kind, &change.key, change.value.as_deref());
        sum = sum.wrapping_add(weight(latest, crc));
        replace.execute(params![latest.cast_signed(), kind, change.key, change.value, crc])?;
    }
    if purge {
        let floor = latest.saturating_sub(TOMBSTONES_KEPT);
        let mut gone = write
            .prepare_cached("DELETE FROM records WHERE value IS NULL AND revision <= ?1 RETURNING revision, crc")?;
        let gone = gone.query_map([floor.cast_signed()], |row| Ok((revision(row)?, row.get(1)?)))?;
        for row in gone {
            let (revision, crc) = row?;
            sum = sum.wrapping_sub(weight(revision, crc));
            count -= 1;
        }
        set_meta(write, "floor", floor.cast_signed())?;
    }
    set_meta(write, "count", count)?;
    set_meta(write, "sum", sum)?;
    Ok(latest)
}

impl Backend for Sqlite {
    fn lead(&mut self) -> Result<u64, BackendError> {
        let lead = || -> rusqlite::Result<i64> {
            let write = self.connection.unchecked_transaction()?;
            let epoch = meta(&write, "epoch")? + 1;
            set_meta(&write, "epoch", epoch)?;
            write.commit()?;
            Ok(epoch)
        };
        lead().map(i64::cast_unsigned).map_err(|e| refused(&self.directory.join(FILE), e))
    }

    fn load(&mut self, sink: Sink<'_>) -> Result<u64, BackendError> {
        let file = self.directory.join(FILE);
        let loaded = scan(&self.connection, 0, sink, &mut |what| Err(BackendError::Corrupt(what.into())));
        loaded.map_err(|error| refused(&file, error))
    }

    fn commit(&mut self, batch: &Batch, epoch: u64) -> Result<u64, BackendError> {
        self.write(batch, epoch)
    }

    fn tail(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError> {
        let floor = meta(&self.connection, "floor")?.cast_unsigned();
        if from < floor {
            return Err(BackendError::Failed(format!("revisions up to {floor} are no longer told apart: load").into()));
        }
        scan(&self.connection, from, sink, &mut |what| Err(BackendError::Corrupt(what.into())))
    }

    fn newer(&mut self, from: u64, sink: Sink<'_>) -> Result<u64, BackendError> {
        let mut kept = |stored: Stored| if stored.value.is_some() { sink(stored) } else { Ok(()) };
        scan(&self.connection, from, &mut kept, &mut |what| Err(BackendError::Corrupt(what.into())))
    }

    fn directory(&self) -> Option<PathBuf> {
        Some(self.directory.clone())
    }
}
