//! The keys that wrap the keys of values: a file beside the server's other keys, and with a passphrase itself sealed.
//!
//! The newest wraps; older ones are there only until nothing is wrapped by them any more. Whoever changes the file holds a
//! lock on the one beside it, because `longshore secrets rotate-key` is another process than the server.

use super::cipher::{self, Key};
use crate::credentials::write_private;
use aws_lc_rs::pbkdf2;
use base64::{Engine, engine::general_purpose::STANDARD};
use effects::Effects;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where the keys are kept, below the data directory.
pub const KEYS_FILE: &str = "secrets-keys.json";
/// Held by whoever changes that file.
const LOCK_FILE: &str = "secrets-keys.lock";
/// The format of the file. One of a later format is refused, not guessed at.
const VERSION: u32 = 1;
/// How often a passphrase is hashed. Source: OWASP's advice of 2023 for PBKDF2 with HMAC-SHA256.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("it is not zero");
/// What a file that a passphrase seals is bound to.
const FILE_CONTEXT: &str = "longshore secrets keys";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operating system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what we wrote.
    #[error("{} is not a file of keys this version reads", .0.display())]
    Form(PathBuf),
    /// There is one, and none was needed, or the other way round.
    #[error("{} is sealed with a passphrase; name the file that holds it (--secrets-passphrase-file)", .0.display())]
    PassphraseMissing(PathBuf),
    /// It does not open what it should.
    #[error("the passphrase does not open {}", .0.display())]
    PassphraseWrong(PathBuf),
    /// Nobody could tell it from an empty one.
    #[error("the passphrase file {} is empty", .0.display())]
    PassphraseEmpty(PathBuf),
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Listed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<SealedKeys>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    current: String,
    /// By id, in base64.
    all: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct SealedKeys {
    salt: String,
    rounds: NonZeroU32,
    text: String,
}

/// Where the keys are, and what seals them.
#[derive(Debug, Clone)]
pub struct Keeper {
    dir: PathBuf,
    passphrase: Option<PathBuf>,
}

/// The keys. Never empty.
#[derive(Clone)]
pub(crate) struct KeyRing {
    pub(crate) current: String,
    all: BTreeMap<String, Key>,
}

impl Keeper {
    /// Those of a data directory; `passphrase` is the file that holds what seals them.
    pub fn new(dir: &Path, passphrase: Option<&Path>) -> Self {
        Self { dir: dir.to_owned(), passphrase: passphrase.map(Path::to_owned) }
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.dir.join(KEYS_FILE)
    }

    /// The keys, made now if there are none.
    pub(crate) fn open(&self, effects: &Effects) -> Result<KeyRing, KeysError> {
        let _lock = self.lock()?;
        match self.read()? {
            Some((ring, sealed)) => {
                if !sealed && self.passphrase.is_some() {
                    // Chosen since: from now on it is needed.
                    self.write(&ring, effects)?;
                }
                Ok(ring)
            }
            None => {
                let ring = KeyRing::fresh(effects);
                self.write(&ring, effects)?;
                Ok(ring)
            }
        }
    }

    /// Adds a key by which everything is to be wrapped from now on, and answers its id. A server that runs notices.
    ///
    /// # Errors
    /// There are no keys yet, or the file cannot be read or written.
    pub fn rotate(&self, effects: &Effects) -> Result<String, KeysError> {
        let _lock = self.lock()?;
        let missing = || self.failed(io::Error::from(io::ErrorKind::NotFound));
        let (mut ring, _) = self.read()?.ok_or_else(missing)?;
        ring.add(effects);
        self.write(&ring, effects)?;
        Ok(ring.current)
    }

    /// How many keys there are: one, when nothing is wrapped by an older one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self) -> Result<usize, KeysError> {
        let _lock = self.lock()?;
        Ok(self.read()?.map_or(0, |(ring, _)| ring.all.len()))
    }

    /// Drops every key but the current one, unless that has changed meanwhile.
    pub(crate) fn forget_old(&self, current: &str, effects: &Effects) -> Result<Option<KeyRing>, KeysError> {
        let _lock = self.lock()?;
        let Some((mut ring, _)) = self.read()? else { return Ok(None) };
        if ring.current != current {
            return Ok(None);
        }
        ring.all.retain(|id, _| id == current);
        self.write(&ring, effects)?;
        Ok(Some(ring))
    }

    /// What the file holds.
    pub(crate) fn look(&self) -> Result<Option<KeyRing>, KeysError> {
        Ok(self.read()?.map(|(ring, _)| ring))
    }

    fn failed(&self, source: io::Error) -> KeysError {
        KeysError::Io { path: self.path(), source }
    }

    fn lock(&self) -> Result<File, KeysError> {
        let path = self.dir.join(LOCK_FILE);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| KeysError::Io { path, source })
    }

    /// The keys, and whether a passphrase seals them.
    fn read(&self) -> Result<Option<(KeyRing, bool)>, KeysError> {
        let text = match fs::read_to_string(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let form = || KeysError::Form(self.path());
        let file: OnDisk = serde_json::from_str(&text).map_err(|_| form())?;
        let listed = match (file.version, file.keys, file.sealed) {
            (VERSION, Some(listed), None) => return Ok(Some((KeyRing::of(&listed).ok_or_else(form)?, false))),
            (VERSION, None, Some(sealed)) => {
                let missing = || KeysError::PassphraseMissing(self.path());
                let key = self.stretched(&sealed.salt, sealed.rounds)?.ok_or_else(missing)?;
                let opened = cipher::open(&key, FILE_CONTEXT, &sealed.text);
                let opened = opened.ok_or_else(|| KeysError::PassphraseWrong(self.path()))?;
                serde_json::from_slice(&opened).map_err(|_| form())?
            }
            _ => return Err(form()),
        };
        Ok(Some((KeyRing::of(&listed).ok_or_else(form)?, true)))
    }

    fn write(&self, ring: &KeyRing, effects: &Effects) -> Result<(), KeysError> {
        let listed = ring.listed();
        let salt = STANDARD.encode(effects.bytes::<16>());
        let file = match self.stretched(&salt, ROUNDS)? {
            None => OnDisk { version: VERSION, keys: Some(listed), sealed: None },
            Some(key) => {
                let plain = serde_json::to_vec(&listed).expect("texts become JSON");
                let text = cipher::seal(&key, FILE_CONTEXT, &plain, effects);
                OnDisk { version: VERSION, keys: None, sealed: Some(SealedKeys { salt, rounds: ROUNDS, text }) }
            }
        };
        let bytes = serde_json::to_vec_pretty(&file).expect("texts become JSON");
        write_private(&self.path(), &bytes).map_err(|source| self.failed(source))
    }

    /// The key that the passphrase gives; none where there is none.
    fn stretched(&self, salt: &str, rounds: NonZeroU32) -> Result<Option<Key>, KeysError> {
        let Some(path) = &self.passphrase else { return Ok(None) };
        let text = fs::read_to_string(path).map_err(|source| KeysError::Io { path: path.clone(), source })?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(KeysError::PassphraseEmpty(path.clone()));
        }
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt.as_bytes(), text.as_bytes(), &mut key);
        Ok(Some(Key::from(key)))
    }
}

impl KeyRing {
    fn fresh(effects: &Effects) -> Self {
        let mut ring = Self { current: String::new(), all: BTreeMap::new() };
        ring.add(effects);
        ring
    }

    fn add(&mut self, effects: &Effects) {
        self.current = hex::encode(effects.bytes::<8>());
        self.all.insert(self.current.clone(), Key::from(effects.bytes::<32>()));
    }

    /// The key of that id.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.all.get(id)
    }

    /// The one that wraps.
    pub(crate) fn newest(&self) -> &Key {
        self.all.get(&self.current).expect("a ring is made with its current key")
    }

    /// Whether there are others than the current one.
    pub(crate) fn has_old(&self) -> bool {
        self.all.len() > 1
    }

    fn of(listed: &Listed) -> Option<Self> {
        let key = |text: &String| STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let all: Option<BTreeMap<_, _>> =
            listed.all.iter().map(|(id, text)| Some((id.clone(), Key::from(key(text)?)))).collect();
        let all = all.filter(|all| all.contains_key(&listed.current))?;
        Some(Self { current: listed.current.clone(), all })
    }

    fn listed(&self) -> Listed {
        let all = self.all.iter().map(|(id, key)| (id.clone(), STANDARD.encode(key.bytes())));
        Listed { current: self.current.clone(), all: all.collect() }
    }
}
