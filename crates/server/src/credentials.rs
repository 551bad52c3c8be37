//! Access keys and whose they are. For now there is one: the root credentials of the server's account, made at first start.

use crate::config::{Config, KeyPair};
use effects::Effects;
use model::AccountId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use wire::sigv4::{Scope as SigningScope, SigningKey};

/// Where the root credentials are kept, below the data directory; `longshore env` reads it.
pub const ROOT_FILE: &str = "root-credentials.json";

/// The format of [`ROOT_FILE`]. A file of a later one is refused, not guessed at.
const VERSION: u32 = 1;

/// The root credentials as kept on disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFile {
    /// Format of this file.
    pub version: u32,
    /// Whose they are.
    pub account_id: AccountId,
    /// `AKIA` and 16 capitals and digits.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
}

/// Why the credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The operating system refused.
    #[error("cannot use the root credentials at {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what we wrote.
    #[error("{} is not a file of root credentials this version reads; move it away to have new ones made", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Option<serde_json::Error>,
    },
}

/// One access key's holder.
#[derive(Clone)]
pub struct Holder {
    /// The account it belongs to.
    pub account: AccountId,
    /// The principal it speaks for.
    pub principal: String,
    /// What it signs with.
    pub secret: String,
}

/// Derived signing keys that are kept. Each is one key's day, region and service; more than this many at once are a scan,
/// not a client, and cost it only the four hashes that deriving takes.
const SIGNING_KEYS: usize = 1_024;

/// The keys that are known.
pub struct Credentials {
    root: KeyPair,
    holder: Holder,
    signing_keys: Mutex<HashMap<SigningScope, SigningKey>>,
}

impl Credentials {
    /// The configured root key, or the one in the data directory, made now if there is none.
    ///
    /// # Errors
    /// The file cannot be read, understood or written.
    pub fn open(config: &Config, effects: &Effects) -> Result<Self, CredentialsError> {
        let root = match &config.root_credentials {
            Some(given) => given.clone(),
            None => {
                let file = read_root(&config.data_dir)?.map_or_else(|| make_root(config, effects), Ok)?;
                KeyPair { access_key_id: file.access_key_id, secret_access_key: file.secret_access_key }
            }
        };
        let holder = Holder {
            account: config.account.clone(),
            principal: format!("arn:aws:iam::{}:root", config.account),
            secret: root.secret_access_key.clone(),
        };
        Ok(Self { root, holder, signing_keys: Mutex::default() })
    }

    /// Whose key it is.
    pub fn find(&self, access_key: &str) -> Option<&Holder> {
        (self.root.access_key_id == access_key).then_some(&self.holder)
    }

    /// The key that a holder signs with in a scope.
    pub(crate) fn signing_key(&self, holder: &Holder, scope: &SigningScope) -> SigningKey {
        let kept = self.signing_keys().get(scope).cloned();
        kept.unwrap_or_else(|| SigningKey::derive(&holder.secret, scope))
    }

    /// Keeps a key that has proved a signature, so that only true callers fill the cache.
    pub(crate) fn remember(&self, scope: &SigningScope, key: SigningKey) {
        let mut keys = self.signing_keys();
        if keys.contains_key(scope) {
            return;
        }
        if keys.len() >= SIGNING_KEYS {
            keys.clear();
        }
        keys.insert(scope.clone(), key);
    }

    fn signing_keys(&self) -> MutexGuard<'_, HashMap<SigningScope, SigningKey>> {
        self.signing_keys.lock().expect("nothing panics while it holds the lock")
    }

    /// The root key, for tests and for the `dev` command's own calls.
    pub fn root(&self) -> &KeyPair {
        &self.root
    }
}

/// The kept root credentials; `None` if the server never started on this directory.
///
/// # Errors
/// The file cannot be read or understood.
pub fn read_root(data_dir: &Path) -> Result<Option<RootFile>, CredentialsError> {
    let path = data_dir.join(ROOT_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CredentialsError::Io { path, source }),
    };
    match serde_json::from_slice::<RootFile>(&bytes) {
        Ok(file) if file.version == VERSION => Ok(Some(file)),
        Ok(_) => Err(CredentialsError::Form { path, source: None }),
        Err(source) => Err(CredentialsError::Form { path, source: Some(source) }),
    }
}

fn make_root(config: &Config, effects: &Effects) -> Result<RootFile, CredentialsError> {
    const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Both alphabets have a power of two letters, so that taking a byte's low bits is fair.
    let draw = |bytes: &[u8], letters: &[u8]| -> String {
        bytes.iter().map(|b| char::from(letters[usize::from(*b) % letters.len()])).collect()
    };
    let file = RootFile {
        version: VERSION,
        account_id: config.account.clone(),
        access_key_id: format!("AKIA{}", draw(&effects.bytes::<16>(), CAPITALS)),
        secret_access_key: draw(&effects.bytes::<40>(), BASE64),
    };
    let path = config.data_dir.join(ROOT_FILE);
    write_private(&path, &serde_json::to_vec_pretty(&file).expect("strings and numbers become JSON"))
        .map_err(|source| CredentialsError::Io { path, source })?;
    Ok(file)
}

/// Writes a file nobody else may read: whole or not at all, and on disk when this returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    // The mode above is only for a file that did not exist.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().to_owned());
        (dir, config)
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_that_later_starts_find() {
        let (dir, config) = config();
        let effects = Effects::real();
        let first = Credentials::open(&config, &effects).unwrap();
        let again = Credentials::open(&config, &effects).unwrap();
        assert!(first.root() == again.root());
        assert_eq!((first.root().access_key_id.len(), first.root().secret_access_key.len()), (20, 40));
        let mode = fs::metadata(dir.path().join(ROOT_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let holder = first.find(&first.root().access_key_id).unwrap();
        assert_eq!(holder.principal, "arn:aws:iam::000000000000:root");
        assert!(first.find("AKIAUNKNOWN").is_none());
    }

    #[tokio::test]
    async fn a_given_key_is_used_and_not_written() {
        let (dir, mut config) = config();
        config.root_credentials =
            Some(KeyPair { access_key_id: "test".to_owned(), secret_access_key: "test".to_owned() });
        let credentials = Credentials::open(&config, &Effects::real()).unwrap();
        assert_eq!(credentials.find("test").unwrap().secret, "test");
        assert!(!dir.path().join(ROOT_FILE).exists());
    }

    #[tokio::test]
    async fn a_foreign_file_is_not_overwritten() {
        let (dir, config) = config();
        fs::write(dir.path().join(ROOT_FILE), r#"{"version":9}"#).unwrap();
        assert!(matches!(Credentials::open(&config, &Effects::real()), Err(CredentialsError::Form { .. })));
    }
}
