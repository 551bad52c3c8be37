//! Opening a store: what the group directories say, then the journal over it. Cost: one small read per group, one line per
//! stream, at most a journal of events; no segment is touched.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::catalog::Catalog;
use super::change::{Change, Fact};
use super::error::OpenError;
use super::group_files::{self, GroupFiles};
use super::journal::Journal;
use super::types::Limits;
use super::writer::Writer;

fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError + '_ {
    move |source| OpenError::Io { what: what.to_string(), source }
}

/// Takes the directory for this process. The lock goes with the returned file.
pub(super) fn lock(root: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(root.join("groups")).map_err(io_error("making the log store's directory"))?;
    let file = File::create(root.join("lock")).map_err(io_error("opening the log store's lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(root.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io_error("locking the log store")(error)),
    }
}

/// Reads everything back and returns the writer that owns it from here on.
pub(super) fn recover(root: &Path, limits: Limits) -> Result<Writer, OpenError> {
    let catalog = Arc::new(Catalog::default());
    let files = load_groups(root, &catalog)?;
    let opened = Journal::open(root)?;
    let (journal, changes) = match opened {
        Some((journal, replay)) => {
            if replay.damaged {
                tracing::error!(
                    bytes = replay.torn,
                    "cut the log journal where it is damaged; unless the power failed, container output is lost with it"
                );
            } else if replay.torn > 0 {
                tracing::warn!(
                    bytes = replay.torn,
                    "cut the unfinished end of the log journal; nothing answered was in it"
                );
            }
            (journal, replay.changes)
        }
        None => {
            group_files::sync_dir(root).map_err(io_error("syncing the log store's directory"))?;
            let next_id = past_every_id(&catalog, &[]);
            (Journal::first(root, next_id).map_err(io_error("creating the journal"))?, Vec::new())
        }
    };
    let next_id = past_every_id(&catalog, &changes);
    let begun = matches!(changes.first(), None | Some(Change::Fact(Fact::JournalBegun { .. })));
    let mut writer = Writer::new(root.to_path_buf(), limits, catalog, journal, files, next_id);
    for change in changes {
        writer.recall(change);
    }
    if !begun || writer.journal.is_empty() {
        writer.checkpoint(false);
    }
    Ok(writer)
}

fn load_groups(root: &Path, catalog: &Catalog) -> Result<HashMap<u64, GroupFiles>, OpenError> {
    let mut loaded = HashMap::new();
    for entry in fs::read_dir(root.join("groups")).map_err(io_error("listing log groups"))? {
        let dir = entry.map_err(io_error("listing log groups"))?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("deleted-") {
            fs::remove_dir_all(&dir).map_err(io_error("removing a deleted log group"))?;
        } else if name.parse::<u64>().is_ok()
            && let Some((group, files)) = GroupFiles::load(&dir)?
        {
            let id = group.id;
            if catalog.add_group(group) {
                loaded.insert(id, files);
            }
        }
    }
    Ok(loaded)
}

/// An id no group or stream has or had.
fn past_every_id(catalog: &Catalog, changes: &[Change]) -> u64 {
    let groups = catalog.groups();
    let kept =
        groups.by_id.values().map(|group| group.id.max(group.streams().by_id.keys().copied().max().unwrap_or(0)));
    let told = changes.iter().map(|change| match change {
        Change::Fact(Fact::JournalBegun { next_id }) => next_id.saturating_sub(1),
        Change::Fact(Fact::GroupCreated { id, .. } | Fact::StreamCreated { id, .. }) => *id,
        Change::Fact(
            Fact::GroupDeleted { .. } | Fact::RetentionSet { .. } | Fact::TagsSet { .. } | Fact::StreamDeleted { .. },
        )
        | Change::Appended(_) => 0,
    });
    kept.chain(told).max().unwrap_or(0) + 1
}
