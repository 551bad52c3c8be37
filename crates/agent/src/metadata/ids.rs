//! The id by which a container asks for itself: part of the address in its environment, and all that keeps another task
//! from reading it.
//!
//! It follows from a secret of this agent and the container's own id, so that it need not be kept, is the same after a
//! restart, and cannot be guessed. AWS: a random UUID there, kept in the agent's database.

use crate::files::{self, Durable, Mode};
use effects::Effects;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{fs, io, path::Path};

/// In the agent's data folder.
const FILE: &str = "metadata.secret";

/// What ids are made with.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The data folder's, made if there is none.
    ///
    /// # Errors
    /// Of the file system; and if the file is not what we wrote.
    pub fn open(data_dir: &Path, effects: &Effects) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map(Self).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is not 32 bytes long", path.display()))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let secret = effects.bytes::<32>();
                files::write(&path, &secret, Mode::Private, Durable::PowerFailure)?;
                Ok(Self(secret))
            }
            Err(e) => Err(e),
        }
    }

    /// The id of a container, in the form of a UUID.
    pub fn id(&self, runtime_id: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(runtime_id.as_bytes());
        let h = hex::encode(&mac.finalize().into_bytes()[..16]);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn ids_outlive_the_agent_and_differ_between_agents() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let effects = Effects::real();
        let id = |dir: &Path, container| Secret::open(dir, &effects).unwrap().id(container);
        let first = id(here.path(), "a-web-1");
        assert_eq!((first.len(), first.matches('-').count()), (36, 4));
        assert_eq!(id(here.path(), "a-web-1"), first);
        assert_ne!(id(here.path(), "a-web-2"), first);
        assert_ne!(id(there.path(), "a-web-1"), first);
        let mode = fs::metadata(here.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(here.path().join(FILE), "short").unwrap();
        assert!(Secret::open(here.path(), &effects).is_err(), "a damaged secret is not taken for a new one");
    }
}
