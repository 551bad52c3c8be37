//! The keys that seal session tokens: a file beside the server's other keys, which changes by itself.
//!
//! The newest seals. An older one is kept as long as a token that it sealed may hold, so that a change ends no session. Whoever
//! removes the file and starts the server anew ends all of them.

use super::LONGEST;
use crate::{credentials::write_private, vault::cipher::Key};
use base64::{Engine, engine::general_purpose::STANDARD};
use effects::Effects;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

/// Where the keys are kept, below the data directory.
pub(super) const FILE: &str = "session-keys.json";
/// The format of the file. One of a later format is refused, not guessed at.
const VERSION: u32 = 1;
/// Letters of a key's id.
pub(super) const ID: usize = 8;
/// How long a key seals. It would be good for 2^32 tokens; a week keeps short what a stolen one opens, and the file at three keys.
const SEALS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeysError {
    /// The operating system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what we wrote.
    #[error("{} is not a file of session keys this version reads; move it away to have new ones made, which ends all sessions", .0.display())]
    Form(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    /// The newest last.
    keys: Vec<Listed>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    id: String,
    made: Timestamp,
    /// In base64.
    key: String,
}

#[derive(Clone)]
struct Known {
    id: String,
    made: Timestamp,
    key: Key,
}

/// The keys, the newest last. Never empty.
pub(super) struct Keys {
    path: PathBuf,
    all: RwLock<Arc<Vec<Known>>>,
    /// Held by who adds one. Not the lock above: whoever verifies a token does not wait for a disk.
    adding: Mutex<()>,
}

impl Keys {
    pub(super) fn open(dir: &Path, effects: &Effects) -> Result<Self, TokenKeysError> {
        let path = dir.join(FILE);
        let all = match fs::read(&path) {
            Ok(bytes) => read(&bytes).ok_or_else(|| TokenKeysError::Form(path.clone()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => with_another(&path, &[], effects)?,
            Err(source) => return Err(TokenKeysError::Io { path, source }),
        };
        Ok(Self { path, all: RwLock::new(Arc::new(all)), adding: Mutex::new(()) })
    }

    /// The key that seals now. While another cannot be written, and while somebody writes it, that is the old one still: it is good
    /// for longer than it has to be.
    pub(super) fn current(&self, effects: &Effects) -> (String, Key) {
        let is_over = |all: &[Known]| all.last().is_none_or(|newest| later(newest.made, SEALS_FOR) <= effects.now());
        let mut all = self.all();
        if is_over(&all)
            && let Ok(_adding) = self.adding.try_lock()
        {
            // Somebody may have been here between.
            all = self.all();
            if is_over(&all) {
                match with_another(&self.path, &all, effects) {
                    Ok(more) => {
                        all = Arc::new(more);
                        *self.all.write().expect(super::CALM) = all.clone();
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "no new session key can be written; the old one goes on");
                    }
                }
            }
        }
        let newest = all.last().expect("there is one from the beginning");
        (newest.id.clone(), newest.key.clone())
    }

    pub(super) fn find(&self, id: &str) -> Option<Key> {
        self.all().iter().find(|known| known.id == id).map(|known| known.key.clone())
    }

    fn all(&self) -> Arc<Vec<Known>> {
        self.all.read().expect(super::CALM).clone()
    }
}

/// Those and a new one, as they are in the file then, without those whose successor is so old that nothing of theirs holds.
fn with_another(path: &Path, all: &[Known], effects: &Effects) -> Result<Vec<Known>, TokenKeysError> {
    let now = effects.now();
    let fresh = Known { id: hex::encode(effects.bytes::<4>()), made: now, key: Key::from(effects.bytes::<32>()) };
    let over = all.iter().skip(1).take_while(|successor| later(successor.made, LONGEST) <= now).count();
    let kept: Vec<Known> = all.iter().skip(over).cloned().chain([fresh]).collect();
    let listed = |k: &Known| Listed { id: k.id.clone(), made: k.made, key: STANDARD.encode(k.key.bytes()) };
    let file = OnDisk { version: VERSION, keys: kept.iter().map(listed).collect() };
    let bytes = serde_json::to_vec_pretty(&file).expect("strings and numbers become JSON");
    write_private(path, &bytes).map_err(|source| TokenKeysError::Io { path: path.to_owned(), source })?;
    Ok(kept)
}

fn later(than: Timestamp, by: Duration) -> Timestamp {
    than.plus_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

fn read(bytes: &[u8]) -> Option<Vec<Known>> {
    let file: OnDisk = serde_json::from_slice(bytes).ok()?;
    let known = |listed: Listed| {
        let key = <[u8; 32]>::try_from(STANDARD.decode(listed.key).ok()?).ok()?;
        (listed.id.len() == ID).then_some(Known { id: listed.id, made: listed.made, key: Key::from(key) })
    };
    let all: Vec<_> = file.keys.into_iter().map(known).collect::<Option<_>>()?;
    (file.version == VERSION && !all.is_empty()).then_some(all)
}
