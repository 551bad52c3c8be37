//! Seals what is stored of secrets and parameters, and opens it for those who may have it (docs/decisions/0027).
//!
//! Each value has a key of its own, which one of the server's keys wraps; so changing that key does not touch a value. Plain
//! text is in memory while it is asked for, and nowhere else: not in the state, its dumps and backups, nor in any log.

pub(crate) mod cipher;
pub mod keys;
#[cfg(test)]
mod tests;

pub use keys::{Keeper, KeysError};

use effects::Effects;
use keys::KeyRing;
use model::{
    AccountId, Scope,
    iam::AccessKey,
    vault::{Plain, Sealed, Value, ValueKey},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, RwLock, Weak},
};

/// What somebody gave to be kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Plain),
    Bytes(Vec<u8>),
}

/// Opens and seals.
pub struct Vault {
    keeper: Keeper,
    ring: RwLock<Arc<KeyRing>>,
    /// Former rings: while somebody seals with one of them, its keys must not go.
    former: Mutex<Vec<Weak<KeyRing>>>,
    /// The file that the ring was read from: its inode and change time, since each is written anew.
    seen: Mutex<Option<(u64, i64, i64)>>,
}

/// The right to seal, by the key that was the newest when it was given. Whoever commits what it sealed holds it until that is
/// done, so that a key goes only when nothing can be wrapped by it any more.
pub(crate) struct Sealer(Arc<KeyRing>);

/// A value that no key of ours opens.
#[derive(Debug, thiserror::Error)]
#[error("the value {value} was sealed with key {key}, which does not open it or is not there")]
pub(crate) struct Unopened {
    value: String,
    key: String,
}

/// What a value is bound to: it opens as nothing else's.
fn context(scope: &Scope, key: &ValueKey) -> String {
    format!("{}/{}/{key}", scope.account, scope.region)
}

impl Vault {
    /// With the keys of the data directory, made now if there are none.
    ///
    /// # Errors
    /// They cannot be read, understood or written.
    pub fn open(keeper: Keeper, effects: &Effects) -> Result<Self, KeysError> {
        let ring = keeper.open(effects)?;
        let ring = RwLock::new(Arc::new(ring));
        let vault = Self { keeper, ring, former: Mutex::default(), seen: Mutex::default() };
        vault.is_other_file();
        Ok(vault)
    }

    /// The right to seal.
    pub(crate) fn sealer(&self) -> Sealer {
        Sealer(self.ring())
    }

    /// What a value holds.
    pub(crate) fn reveal(&self, value: &Value) -> Result<Content, Unopened> {
        let opened = || {
            let context = context(&value.scope, &value.key());
            let own = self.unwrap(&value.sealed, &context)?;
            let plain = cipher::open(&own, &context, &value.sealed.text)?;
            match plain.split_first()? {
                (b't', text) => Some(Content::Text(Plain::from(String::from_utf8(text.to_vec()).ok()?))),
                (b'b', bytes) => Some(Content::Bytes(bytes.to_vec())),
                _ => None,
            }
        };
        opened().ok_or_else(|| Unopened { value: value.key().to_string(), key: value.sealed.key.clone() })
    }

    fn unwrap(&self, sealed: &Sealed, context: &str) -> Option<cipher::Key> {
        let ring = self.ring();
        let bytes = cipher::open(ring.find(&sealed.key)?, context, &sealed.wrapped)?;
        Some(cipher::Key::from(<[u8; 32]>::try_from(bytes).ok()?))
    }

    /// What an access key signs with.
    pub(crate) fn reveal_key(&self, key: &AccessKey) -> Result<Plain, Unopened> {
        let opened = || {
            let context = AccessKey::context(&key.account, &key.id);
            let plain = cipher::open(&self.unwrap(&key.secret, &context)?, &context, &key.secret.text)?;
            String::from_utf8(plain).ok().map(Plain::from)
        };
        opened().ok_or_else(|| Unopened { value: key.id.clone(), key: key.secret.key.clone() })
    }

    /// The same access key with its secret wrapped by the current key; none if it is already.
    pub(crate) fn rewrap_key(&self, key: &AccessKey, effects: &Effects) -> Result<Option<AccessKey>, Unopened> {
        let context = AccessKey::context(&key.account, &key.id);
        let secret = self.rewrapped(&key.secret, &context, effects);
        let secret = secret.ok_or_else(|| Unopened { value: key.id.clone(), key: key.secret.key.clone() })?;
        Ok(secret.map(|secret| AccessKey { secret, ..key.clone() }))
    }

    /// None if it cannot be opened; none in that if it is wrapped by the current key already.
    fn rewrapped(&self, sealed: &Sealed, context: &str, effects: &Effects) -> Option<Option<Sealed>> {
        if sealed.key == self.current() {
            return Some(None);
        }
        let own = self.unwrap(sealed, context)?;
        let ring = self.ring();
        let wrapped = cipher::seal(ring.newest(), context, own.bytes(), effects);
        Some(Some(Sealed { key: ring.current.clone(), wrapped, text: sealed.text.clone() }))
    }

    /// The same value with its key wrapped by the current key; none if it is already.
    pub(crate) fn rewrap(&self, value: &Value, effects: &Effects) -> Result<Option<Value>, Unopened> {
        let sealed = self.rewrapped(&value.sealed, &context(&value.scope, &value.key()), effects);
        let sealed =
            sealed.ok_or_else(|| Unopened { value: value.key().to_string(), key: value.sealed.key.clone() })?;
        Ok(sealed.map(|sealed| Value { sealed, ..value.clone() }))
    }

    /// The id of the key that wraps.
    pub(crate) fn current(&self) -> String {
        self.ring().current.clone()
    }

    /// Whether there is a key of that id.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.ring().find(key).is_some()
    }

    /// Whether there are keys that are to go.
    pub(crate) fn has_old_keys(&self) -> bool {
        self.ring().has_old()
    }

    /// Reads the keys again if somebody has written them.
    pub(crate) fn refresh(&self) -> Result<(), KeysError> {
        if self.is_other_file()
            && let Some(ring) = self.keeper.look()?
        {
            self.turn_to(ring);
        }
        Ok(())
    }

    /// Whether nobody seals by an older key any more.
    pub(crate) fn is_settled(&self) -> bool {
        let mut former = self.former.lock().expect(CALM);
        former.retain(|ring| ring.strong_count() > 0);
        former.is_empty()
    }

    /// Drops the keys by which nothing is wrapped any more: all but the current one.
    pub(crate) fn forget_old(&self, effects: &Effects) -> Result<(), KeysError> {
        if let Some(ring) = self.keeper.forget_old(&self.current(), effects)? {
            self.turn_to(ring);
            self.is_other_file();
        }
        Ok(())
    }

    fn ring(&self) -> Arc<KeyRing> {
        self.ring.read().expect(CALM).clone()
    }

    fn turn_to(&self, ring: KeyRing) {
        let old = std::mem::replace(&mut *self.ring.write().expect(CALM), Arc::new(ring));
        self.former.lock().expect(CALM).push(Arc::downgrade(&old));
    }

    /// Whether the file is another than at the last look.
    fn is_other_file(&self) -> bool {
        let now = fs::metadata(self.keeper.path()).ok().map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        let mut seen = self.seen.lock().expect(CALM);
        let other = now.is_some() && *seen != now;
        *seen = now;
        other
    }
}

impl Sealer {
    /// Seals a value.
    pub(crate) fn seal(&self, scope: &Scope, key: ValueKey, content: &Content, effects: &Effects) -> Value {
        let context = context(scope, &key);
        let plain = match content {
            Content::Text(text) => [b"t", text.reveal().as_bytes()].concat(),
            Content::Bytes(bytes) => [b"b", &bytes[..]].concat(),
        };
        let sealed = self.sealed(&context, &plain, effects);
        Value { scope: scope.clone(), owner: key.owner, version: key.version, sealed }
    }

    /// Seals what an access key signs with.
    pub(crate) fn seal_key(&self, account: &AccountId, id: &str, secret: &Plain, effects: &Effects) -> Sealed {
        self.sealed(&AccessKey::context(account, id), secret.reveal().as_bytes(), effects)
    }

    fn sealed(&self, context: &str, plain: &[u8], effects: &Effects) -> Sealed {
        let own = cipher::Key::from(effects.bytes::<32>());
        let text = cipher::seal(&own, context, plain, effects);
        let ring = &self.0;
        Sealed { key: ring.current.clone(), wrapped: cipher::seal(ring.newest(), context, own.bytes(), effects), text }
    }
}

const CALM: &str = "nothing panics while it holds the keys";
