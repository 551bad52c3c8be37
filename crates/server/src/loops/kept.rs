//! How far a loop has come, in a small file: written now and then and at the end, so that a crash costs a second's work done
//! twice.

use crate::credentials::write_private;
use effects::Effects;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a change may wait for being written. Each writing is a sync or two; what is done twice after a crash is at most what
/// is done in this time.
const EVERY: Duration = Duration::from_secs(1);

/// A value and its file.
pub(super) struct Kept<T> {
    path: PathBuf,
    value: T,
    /// When the first change came that is not written yet.
    changed: Option<Duration>,
    /// The last writing failed, and that was told.
    failing: bool,
}

impl<T: Serialize + DeserializeOwned + Send> Kept<T> {
    /// Reads the file; where there is none, makes it with what `first` says.
    pub(super) fn open(path: &Path, first: impl FnOnce() -> T) -> io::Result<Self> {
        let value = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let value = first();
                write_private(path, &serde_json::to_vec(&value)?)?;
                value
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), value, changed: None, failing: false })
    }

    pub(super) fn get(&self) -> &T {
        &self.value
    }

    /// The value, to be changed.
    pub(super) fn change(&mut self, effects: &Effects) -> &mut T {
        self.changed.get_or_insert(effects.monotonic());
        &mut self.value
    }

    /// How long it may wait until it is written; for ever, if nothing has changed.
    pub(super) fn wait(&self, effects: &Effects) -> Duration {
        let due = |since: Duration| (since + EVERY).saturating_sub(effects.monotonic());
        self.changed.map_or(Duration::MAX, due)
    }

    /// Writes it if it has waited long enough, or if this is the `end`. What cannot be written is tried again.
    pub(super) async fn save(&mut self, effects: &Effects, end: bool) {
        if self.changed.is_none() || !(end || self.wait(effects).is_zero()) {
            return;
        }
        self.changed = None;
        let path = self.path.clone();
        let written = match serde_json::to_vec(&self.value) {
            Ok(bytes) => tokio::task::spawn_blocking(move || write_private(&path, &bytes)).await,
            Err(error) => Ok(Err(error.into())),
        };
        match written {
            Ok(Ok(())) => self.failing = false,
            Ok(Err(error)) => {
                // Told once: it is tried every second while it lasts.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(file = %self.path.display(), %error, "cannot be written; events may be told again");
                }
                self.changed = Some(effects.monotonic());
            }
            // Only the process's own end interrupts it.
            Err(_) => self.changed = Some(effects.monotonic()),
        }
    }
}
