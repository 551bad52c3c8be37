//! Users: people and programs with access keys that do not end by themselves.

use super::{Directory, Edit, Key, Permissions, Refusal, arn, has_name, tagging};
use crate::{AccountId, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Users of an account. Source: quotas.
const MAX_USERS: usize = 5_000;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Whose it is.
    pub account: AccountId,
    /// Its name, of which the account has one.
    pub name: String,
    /// `/`, or folders with a slash at both ends.
    pub path: String,
    /// `AIDA` and 17 capitals and digits; a later user of that name has another.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// What it may do.
    #[serde(default)]
    pub permissions: Permissions,
}

impl User {
    /// Its ARN.
    pub fn arn(&self) -> String {
        arn(&self.account, "user", &self.path, &self.name)
    }
}

impl Directory {
    /// The user of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn the_user(&self, name: &str) -> Result<&Arc<User>, Refusal> {
        self.user(name).ok_or_else(|| Refusal::NoUser(name.to_owned()))
    }
}

impl Edit {
    /// Adds a user that was just made.
    pub fn create_user(&mut self, user: User) -> Result<(), Refusal> {
        if has_name(self.directory().users().map(|user| &*user.name), &user.name) {
            return Err(Refusal::UserExists(user.name));
        }
        if self.directory().users().count() >= MAX_USERS {
            return Err(Refusal::Quota("UsersPerAccount", MAX_USERS));
        }
        self.put(user);
        Ok(())
    }

    /// Gives a user another name, another path or both. Access keys and policies stay his.
    pub fn update_user(&mut self, name: &str, new: Option<&str>, path: Option<&str>) -> Result<(), Refusal> {
        let mut user = User::clone(self.directory().the_user(name)?);
        if let Some(path) = path {
            path.clone_into(&mut user.path);
        }
        if let Some(new) = new.filter(|new| *new != name) {
            let others = self.directory().users().map(|user| &*user.name).filter(|known| *known != name);
            if has_name(others, new) {
                return Err(Refusal::UserExists(new.to_owned()));
            }
            self.remove(Key::User(name.to_owned()));
            new.clone_into(&mut user.name);
            let keys = self.directory().access_keys_of(name).into_iter().map(|key| (**key).clone());
            for mut key in keys.collect::<Vec<_>>() {
                new.clone_into(&mut key.user);
                self.put(key);
            }
        }
        self.put(user);
        Ok(())
    }

    /// Adds tags to a user, or replaces them.
    pub fn tag_user(&mut self, name: &str, more: Tags) -> Result<(), Refusal> {
        let mut user = User::clone(self.directory().the_user(name)?);
        tagging::merge(&mut user.tags, more)?;
        self.put(user);
        Ok(())
    }

    /// Removes tags of a user.
    pub fn untag_user(&mut self, name: &str, keys: &[String]) -> Result<(), Refusal> {
        let mut user = User::clone(self.directory().the_user(name)?);
        keys.iter().for_each(|key| tagging::remove(&mut user.tags, key));
        self.put(user);
        Ok(())
    }

    /// Deletes a user that has neither policies nor access keys.
    pub fn delete_user(&mut self, name: &str) -> Result<(), Refusal> {
        let user = self.directory().the_user(name)?;
        if !self.directory().access_keys_of(name).is_empty() {
            return Err(Refusal::Holds("delete access keys"));
        }
        user.permissions.check_removable()?;
        self.remove(Key::User(name.to_owned()));
        Ok(())
    }
}
