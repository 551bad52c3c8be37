//! Instance profiles: what a machine is given so that it may act as a role.

use super::{Directory, Edit, Key, Refusal, arn, has_name, tagging};
use crate::{AccountId, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Instance profiles of an account. Source: quotas.
const MAX_PROFILES: usize = 1_000;

/// An instance profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceProfile {
    /// Whose it is.
    pub account: AccountId,
    /// Its name, of which the account has one.
    pub name: String,
    /// `/`, or folders with a slash at both ends.
    pub path: String,
    /// `AIPA` and 17 capitals and digits.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// The name of its role, of which it holds one at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl InstanceProfile {
    /// Its ARN.
    pub fn arn(&self) -> String {
        arn(&self.account, "instance-profile", &self.path, &self.name)
    }
}

impl Directory {
    /// The instance profile of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn the_profile(&self, name: &str) -> Result<&Arc<InstanceProfile>, Refusal> {
        self.profile(name).ok_or_else(|| Refusal::NoProfile(name.to_owned()))
    }
}

impl Edit {
    /// Adds an instance profile that was just made.
    pub fn create_profile(&mut self, profile: InstanceProfile) -> Result<(), Refusal> {
        if has_name(self.directory().profiles().map(|profile| &*profile.name), &profile.name) {
            return Err(Refusal::ProfileExists(profile.name));
        }
        if self.directory().profiles().count() >= MAX_PROFILES {
            return Err(Refusal::Quota("InstanceProfilesPerAccount", MAX_PROFILES));
        }
        self.put(profile);
        Ok(())
    }

    /// Puts a role into an instance profile that has none.
    pub fn add_role_to_profile(&mut self, name: &str, role: &str) -> Result<(), Refusal> {
        let profile = self.directory().the_profile(name)?;
        self.directory().the_role(role)?.check_changeable()?;
        if profile.role.is_some() {
            return Err(Refusal::Quota("InstanceSessionsPerInstanceProfile", 1));
        }
        self.put(InstanceProfile { role: Some(role.to_owned()), ..InstanceProfile::clone(profile) });
        Ok(())
    }

    /// Takes a role out of an instance profile.
    pub fn remove_role_from_profile(&mut self, name: &str, role: &str) -> Result<(), Refusal> {
        let profile = self.directory().the_profile(name)?;
        self.directory().the_role(role)?;
        if profile.role.as_deref() != Some(role) {
            return Err(Refusal::NotInProfile(role.to_owned(), name.to_owned()));
        }
        self.put(InstanceProfile { role: None, ..InstanceProfile::clone(profile) });
        Ok(())
    }

    /// Adds tags to an instance profile, or replaces them.
    pub fn tag_profile(&mut self, name: &str, more: Tags) -> Result<(), Refusal> {
        let mut profile = InstanceProfile::clone(self.directory().the_profile(name)?);
        tagging::merge(&mut profile.tags, more)?;
        self.put(profile);
        Ok(())
    }

    /// Removes tags of an instance profile.
    pub fn untag_profile(&mut self, name: &str, keys: &[String]) -> Result<(), Refusal> {
        let mut profile = InstanceProfile::clone(self.directory().the_profile(name)?);
        keys.iter().for_each(|key| tagging::remove(&mut profile.tags, key));
        self.put(profile);
        Ok(())
    }

    /// Deletes an instance profile that has no role.
    pub fn delete_profile(&mut self, name: &str) -> Result<(), Refusal> {
        if self.directory().the_profile(name)?.role.is_some() {
            return Err(Refusal::Holds("remove roles from instance profile"));
        }
        self.remove(Key::InstanceProfile(name.to_owned()));
        Ok(())
    }
}
