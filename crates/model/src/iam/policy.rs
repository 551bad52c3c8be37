//! Managed policies of an account, with their versions.

use super::{Directory, Edit, Holder, Key, Refusal, arn, has_name, managed, permissions::size, tagging};
use crate::{
    AccountId, Tags, Timestamp,
    policy::{Document, Kind},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Policies of an account. Source of these: quotas.
const MAX_POLICIES: usize = 1_500;
/// Versions of a policy.
const MAX_VERSIONS: usize = 5;
/// Characters of a version, white space not counted.
const MAX_SIZE: usize = 6_144;

/// A managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whose it is.
    pub account: AccountId,
    /// Its name, of which the account has one.
    pub name: String,
    /// `/`, or folders with a slash at both ends.
    pub path: String,
    /// `ANPA` and 17 capitals and digits.
    pub id: String,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its versions last changed.
    pub updated_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// The version that holds.
    pub default_version: u32,
    /// The last number that was given; none comes twice.
    pub last_version: u32,
    /// Versions that are kept, the oldest first.
    pub versions: Vec<PolicyVersion>,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Counted from 1; `v1` to clients.
    pub number: u32,
    /// The document, as it was given.
    pub document: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Policy {
    /// Its ARN.
    pub fn arn(&self) -> String {
        arn(&self.account, "policy", &self.path, &self.name)
    }

    /// The version of that number.
    pub fn version(&self, number: u32) -> Option<&PolicyVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that clients call `v1`, `v2` and so on.
    ///
    /// # Errors
    /// There is none.
    pub fn the_version(&self, id: &str) -> Result<&PolicyVersion, Refusal> {
        let number = id.strip_prefix('v').and_then(|number| number.parse().ok());
        let version = number.and_then(|number| self.version(number));
        version.ok_or_else(|| Refusal::NoVersion(self.arn(), id.to_owned()))
    }

    /// The document that holds. A policy always has its default version; [`super::audit`] looks for it.
    pub fn document(&self) -> &str {
        self.version(self.default_version).map_or("", |version| &version.document)
    }
}

impl Directory {
    /// The account's own policy of that ARN.
    ///
    /// # Errors
    /// There is none.
    pub fn the_policy(&self, arn: &str) -> Result<&Arc<Policy>, Refusal> {
        self.policy_by_arn(arn).ok_or_else(|| Refusal::NoPolicy(arn.to_owned()))
    }

    /// Who has a managed policy attached.
    pub fn holders_of<'a>(&'a self, arn: &'a str) -> impl Iterator<Item = Holder<'a>> {
        let users = self.users().filter(move |user| user.permissions.attached.contains(arn));
        let roles = self.roles().filter(move |role| role.permissions.attached.contains(arn));
        users.map(|user| Holder::User(&user.name)).chain(roles.map(|role| Holder::Role(&role.name)))
    }
}

fn check(document: &str) -> Result<(), Refusal> {
    Document::parse(document, Kind::Managed)?;
    if size(document) > MAX_SIZE { Err(Refusal::Quota("PolicySize", MAX_SIZE)) } else { Ok(()) }
}

impl Edit {
    /// Adds a policy that was just made, with its first version.
    pub fn create_policy(&mut self, policy: Policy) -> Result<(), Refusal> {
        check(policy.document())?;
        if has_name(self.directory().policies().map(|policy| &*policy.name), &policy.name) {
            return Err(Refusal::PolicyExists(policy.name));
        }
        if self.directory().policies().count() >= MAX_POLICIES {
            return Err(Refusal::Quota("PoliciesPerAccount", MAX_POLICIES));
        }
        self.put(policy);
        Ok(())
    }

    /// Adds a version of a policy, and makes it the one that holds if that is asked for. Answers its number.
    pub fn add_policy_version(
        &mut self,
        arn: &str,
        document: &str,
        as_default: bool,
        at: Timestamp,
    ) -> Result<u32, Refusal> {
        let mut policy = self.changeable_policy(arn)?;
        check(document)?;
        if policy.versions.len() >= MAX_VERSIONS {
            return Err(Refusal::TooManyVersions);
        }
        let number = policy.last_version + 1;
        policy.last_version = number;
        policy.updated_at = at;
        policy.versions.push(PolicyVersion { number, document: document.to_owned(), created_at: at });
        if as_default {
            policy.default_version = number;
        }
        self.put(policy);
        Ok(number)
    }

    /// Makes a version the one that holds.
    pub fn set_default_version(&mut self, arn: &str, version: &str, at: Timestamp) -> Result<(), Refusal> {
        let mut policy = self.changeable_policy(arn)?;
        policy.default_version = policy.the_version(version)?.number;
        policy.updated_at = at;
        self.put(policy);
        Ok(())
    }

    /// Deletes a version that does not hold.
    pub fn delete_policy_version(&mut self, arn: &str, version: &str) -> Result<(), Refusal> {
        let mut policy = self.changeable_policy(arn)?;
        let number = policy.the_version(version)?.number;
        if number == policy.default_version {
            return Err(Refusal::IsDefault);
        }
        policy.versions.retain(|version| version.number != number);
        self.put(policy);
        Ok(())
    }

    /// Deletes a policy that nobody has, and of which there is but one version.
    pub fn delete_policy(&mut self, arn: &str) -> Result<(), Refusal> {
        let policy = self.changeable_policy(arn)?;
        if self.directory().holders_of(arn).next().is_some() {
            return Err(Refusal::Attached);
        }
        if policy.versions.len() > 1 {
            return Err(Refusal::HasVersions);
        }
        self.remove(Key::Policy(policy.name));
        Ok(())
    }

    /// Adds tags to a policy, or replaces them.
    pub fn tag_policy(&mut self, arn: &str, more: Tags) -> Result<(), Refusal> {
        let mut policy = self.changeable_policy(arn)?;
        tagging::merge(&mut policy.tags, more)?;
        self.put(policy);
        Ok(())
    }

    /// Removes tags of a policy.
    pub fn untag_policy(&mut self, arn: &str, keys: &[String]) -> Result<(), Refusal> {
        let mut policy = self.changeable_policy(arn)?;
        keys.iter().for_each(|key| tagging::remove(&mut policy.tags, key));
        self.put(policy);
        Ok(())
    }

    fn changeable_policy(&self, arn: &str) -> Result<Policy, Refusal> {
        if managed::find(arn).is_some() {
            return Err(Refusal::OfAws(arn.to_owned()));
        }
        self.directory().the_policy(arn).map(|policy| Policy::clone(policy))
    }
}
