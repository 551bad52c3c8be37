//! Access keys of users: what requests are signed with.

use super::{Edit, Key, Refusal};
use crate::{AccountId, Timestamp, vault::Sealed};
use serde::{Deserialize, Serialize};

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // AWS's words.
pub enum KeyStatus {
    Active,
    Inactive,
}

impl KeyStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }

    /// The status of that word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|status| status.as_str() == text)
    }
}

/// An access key of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Whose it is.
    pub account: AccountId,
    /// `AKIA` and 16 capitals and digits.
    pub id: String,
    /// The user that it speaks for.
    pub user: String,
    /// Whether it may be used.
    pub status: KeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its secret, sealed by the server's keys for [`AccessKey::context`].
    pub secret: Sealed,
}

impl AccessKey {
    /// What its secret is sealed for: it opens as nothing else's.
    pub fn context(account: &AccountId, id: &str) -> String {
        format!("{account}/access-key/{id}")
    }
}

/// Access keys of a user. Source: quotas.
const MAX_KEYS: usize = 2;

impl Edit {
    /// Adds an access key that was just made.
    pub fn create_access_key(&mut self, key: AccessKey) -> Result<(), Refusal> {
        self.directory().the_user(&key.user)?;
        if self.directory().access_keys_of(&key.user).len() >= MAX_KEYS {
            return Err(Refusal::Quota("AccessKeysPerUser", MAX_KEYS));
        }
        self.put(key);
        Ok(())
    }

    /// Says whether a user's access key may be used.
    pub fn set_access_key(&mut self, user: &str, id: &str, status: KeyStatus) -> Result<(), Refusal> {
        let key = self.key_of(user, id)?;
        self.put(AccessKey { status, ..key });
        Ok(())
    }

    /// Deletes a user's access key.
    pub fn delete_access_key(&mut self, user: &str, id: &str) -> Result<(), Refusal> {
        self.key_of(user, id)?;
        self.remove(Key::AccessKey(id.to_owned()));
        Ok(())
    }

    fn key_of(&self, user: &str, id: &str) -> Result<AccessKey, Refusal> {
        self.directory().the_user(user)?;
        let key = self.directory().access_key(id).filter(|key| key.user == user);
        key.map(|key| AccessKey::clone(key)).ok_or_else(|| Refusal::NoAccessKey(id.to_owned()))
    }
}
