//! Access keys and whose they are: the root credentials of the server's account, made at first start and kept in a file, and
//! the keys of IAM's users, which are part of the state and whose secrets are sealed there. Temporary ones are kept nowhere: what
//! comes with them says whose they are (`crate::tokens`).

use crate::access::Documents;
use crate::config::{Config, KeyPair};
use crate::identity::{Acting, Identity};
use crate::tokens::{Of, Session};
use crate::vault::{Unopened, Vault};
use effects::Effects;
use model::iam::{AccessKey, KeyStatus};
use model::vault::Plain;
use model::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use state::Snapshot;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
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
    /// Whom it speaks for.
    pub identity: Identity,
    /// When its session began; none if the key holds for good.
    pub since: Option<Timestamp>,
    secret: Secret,
}

/// What a key signs with, opened only where nothing derived from it is kept.
#[derive(Clone)]
enum Secret {
    Root(Plain),
    Session(Plain),
    User(Arc<AccessKey>),
}

/// When and for what an access key was last used.
#[derive(Clone)]
pub(crate) struct LastUse {
    pub(crate) at: Timestamp,
    pub(crate) region: String,
    pub(crate) service: String,
}

/// Derived signing keys that are kept. Each is one key's day, region and service; more than this many at once are a scan,
/// not a client, and cost it only the four hashes that deriving takes.
const SIGNING_KEYS: usize = 1_024;
/// Access keys of which is known when they were last used: as many as an account may have.
const LAST_USES: usize = 10_000;

/// The keys that are known.
pub struct Credentials {
    root: KeyPair,
    holder: Holder,
    /// In memory only: a write for each request would be dear, and who asks wants to know whether a key still is in use.
    last_uses: Mutex<HashMap<String, LastUse>>,
    /// What those may do who have keys.
    pub(crate) documents: Documents,
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
            identity: Identity::Root,
            since: None,
            secret: Secret::Root(root.secret_access_key.clone().into()),
        };
        Ok(Self {
            root,
            holder,
            last_uses: Mutex::default(),
            documents: Documents::default(),
            signing_keys: Mutex::default(),
        })
    }

    /// Whose key it is. AWS: one that may not be used is told apart from one that does not exist by nobody but its owner.
    pub fn find(&self, snapshot: &Snapshot, access_key: &str) -> Option<Holder> {
        if self.root.access_key_id == access_key {
            return Some(self.holder.clone());
        }
        let key = snapshot.access_key(access_key).filter(|key| key.status == KeyStatus::Active)?;
        let user = snapshot.directory(&key.account)?.user(&key.user)?;
        let identity = Identity::User(user.clone());
        Some(Holder { account: key.account.clone(), identity, since: None, secret: Secret::User(key.clone()) })
    }

    /// Whose session it is; none if who it is of is no more, or somebody else has his name now.
    pub(crate) fn of_session(snapshot: &Snapshot, session: Session) -> Option<Holder> {
        let directory = snapshot.directory(&session.account);
        let identity = match session.of {
            Of::Root => Identity::Root,
            Of::User { name, id } => Identity::User(directory?.user(&name).filter(|user| user.id == id)?.clone()),
            Of::Role(of) => {
                let role = directory?.role(&of.role).filter(|role| role.id == of.id)?.clone();
                Identity::Role(Acting { role, session: Arc::new(of), since: session.issued })
            }
        };
        let (since, secret) = (Some(session.issued), Secret::Session(session.secret));
        Some(Holder { account: session.account, identity, since, secret })
    }

    /// The key that a holder signs with in a scope. An access key's id is never given twice, so what was derived for it holds as
    /// long as it is found.
    pub(crate) fn signing_key(
        &self,
        vault: &Vault,
        holder: &Holder,
        scope: &SigningScope,
    ) -> Result<SigningKey, Unopened> {
        if let Some(kept) = self.signing_keys().get(scope) {
            return Ok(kept.clone());
        }
        Ok(match &holder.secret {
            Secret::Root(secret) | Secret::Session(secret) => SigningKey::derive(secret.reveal(), scope),
            Secret::User(key) => SigningKey::derive(vault.reveal_key(key)?.reveal(), scope),
        })
    }

    /// Notes that a user's key has proved a signature.
    pub(crate) fn used(&self, scope: &SigningScope, at: Timestamp) {
        let mut uses = self.last_uses.lock().expect(CALM);
        if uses.len() >= LAST_USES && !uses.contains_key(&scope.access_key) {
            uses.clear();
        }
        let last = LastUse { at, region: scope.region.clone(), service: scope.service.clone() };
        uses.insert(scope.access_key.clone(), last);
    }

    /// When an access key was last used, since this server started.
    pub(crate) fn last_use(&self, access_key: &str) -> Option<LastUse> {
        self.last_uses.lock().expect(CALM).get(access_key).cloned()
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
        self.signing_keys.lock().expect(CALM)
    }

    /// The root key, for tests and for the `dev` command's own calls.
    pub fn root(&self) -> &KeyPair {
        &self.root
    }
}

const CALM: &str = "nothing panics while it holds the lock";

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

// Both alphabets have a power of two letters, so that taking a byte's low bits is fair.
const CAPITALS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn draw(bytes: &[u8], letters: &[u8]) -> String {
    bytes.iter().map(|b| char::from(letters[usize::from(*b) % letters.len()])).collect()
}

/// The prefix and so many capitals and digits: the id of an access key, or of something in IAM.
pub(crate) fn make_id<const LENGTH: usize>(prefix: &str, effects: &Effects) -> String {
    format!("{prefix}{}", draw(&effects.bytes::<LENGTH>(), CAPITALS))
}

/// What an access key signs with: 40 characters.
pub(crate) fn make_secret(effects: &Effects) -> Plain {
    draw(&effects.bytes::<40>(), BASE64).into()
}

fn make_root(config: &Config, effects: &Effects) -> Result<RootFile, CredentialsError> {
    let file = RootFile {
        version: VERSION,
        account_id: config.account.clone(),
        access_key_id: make_id::<16>("AKIA", effects),
        secret_access_key: make_secret(effects).reveal().to_owned(),
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
        let nobody = Snapshot::default();
        let holder = first.find(&nobody, &first.root().access_key_id).unwrap();
        assert!(holder.identity.is_root());
        assert!(first.find(&nobody, "AKIAUNKNOWN").is_none());
    }

    #[tokio::test]
    async fn a_given_key_is_used_and_not_written() {
        let (dir, mut config) = config();
        config.root_credentials =
            Some(KeyPair { access_key_id: "test".to_owned(), secret_access_key: "test".to_owned() });
        let credentials = Credentials::open(&config, &Effects::real()).unwrap();
        assert!(credentials.find(&Snapshot::default(), "test").is_some());
        assert!(!dir.path().join(ROOT_FILE).exists());
    }

    #[tokio::test]
    async fn a_foreign_file_is_not_overwritten() {
        let (dir, config) = config();
        fs::write(dir.path().join(ROOT_FILE), r#"{"version":9}"#).unwrap();
        assert!(matches!(Credentials::open(&config, &Effects::real()), Err(CredentialsError::Form { .. })));
    }
}
