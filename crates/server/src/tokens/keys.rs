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

struct Known {
    id: String,
    made: Timestamp,
    key: Key,
}

/// The keys, the newest last. Never empty.
pub(super) struct Keys {
    path: PathBuf,
    all: Vec<Known>,
}

impl Keys {
    pub(super) fn open(dir: &Path, effects: &Effects) -> Result<Self, TokenKeysError> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let all = read(&bytes).ok_or_else(|| TokenKeysError::Form(path.clone()))?;
                Ok(Self { path, all })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut keys = Self { path, all: Vec::new() };
                keys.add(effects)?;
                Ok(keys)
            }
            Err(source) => Err(TokenKeysError::Io { path, source }),
        }
    }

    /// The key that seals now.
    pub(super) fn current(&mut self, effects: &Effects) -> Result<(String, Key), TokenKeysError> {
        let now = effects.now();
        if self.all.last().is_none_or(|newest| later(newest.made, SEALS_FOR) <= now) {
            self.add(effects)?;
        }
        let newest = self.all.last().expect("one has just been added, if there was none");
        Ok((newest.id.clone(), newest.key.clone()))
    }

    pub(super) fn find(&self, id: &str) -> Option<Key> {
        self.all.iter().find(|known| known.id == id).map(|known| known.key.clone())
    }

    /// Adds one, and drops those whose successor is so old that nothing of theirs holds.
    fn add(&mut self, effects: &Effects) -> Result<(), TokenKeysError> {
        let now = effects.now();
        let fresh = Known { id: hex::encode(effects.bytes::<4>()), made: now, key: Key::from(effects.bytes::<32>()) };
        let over = self.all.iter().skip(1).take_while(|successor| later(successor.made, LONGEST) <= now).count();
        let kept = self.all.iter().skip(over).chain([&fresh]);
        let keys = kept.map(|k| Listed { id: k.id.clone(), made: k.made, key: STANDARD.encode(k.key.bytes()) });
        let file = OnDisk { version: VERSION, keys: keys.collect() };
        let bytes = serde_json::to_vec_pretty(&file).expect("strings and numbers become JSON");
        write_private(&self.path, &bytes).map_err(|source| TokenKeysError::Io { path: self.path.clone(), source })?;
        self.all.drain(..over);
        self.all.push(fresh);
        Ok(())
    }
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
