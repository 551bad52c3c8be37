//! What users and roles may do: putting, attaching and taking away. Source: the API reference, and IAM's quotas.

use super::{Directory, Edit, Refusal, Role, User, managed};
use crate::policy::{Document, Kind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Managed policies that a user or a role may have.
const MAX_ATTACHED: usize = 10;
/// Characters of all inline policies of a user, white space not counted.
const MAX_USER_INLINE: usize = 2_048;
/// The same of a role.
const MAX_ROLE_INLINE: usize = 10_240;

/// What somebody may do: policies of his own, by name, and the ARNs of policies that others share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Inline policies: their documents as they were given, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inline: BTreeMap<String, String>,
    /// ARNs of managed policies, those of AWS's too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub attached: BTreeSet<String>,
}

/// Whose policies are meant, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Names.
pub enum Holder<'a> {
    User(&'a str),
    Role(&'a str),
}

impl<'a> Holder<'a> {
    fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Role(_) => "role",
        }
    }

    /// The name.
    pub fn name(self) -> &'a str {
        let (Self::User(name) | Self::Role(name)) = self;
        name
    }
}

impl Permissions {
    /// The text of every policy, in no order that matters. `None` stands for one that is attached and not there.
    pub fn documents<'a>(&'a self, directory: &'a Directory) -> impl Iterator<Item = Option<&'a str>> {
        let attached = self.attached.iter().map(|arn| document_of(directory, arn));
        self.inline.values().map(|document| Some(document.as_str())).chain(attached)
    }

    /// One inline policy.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn inline_policy(&self, holder: Holder<'_>, name: &str) -> Result<&str, Refusal> {
        let found = self.inline.get(name).map(String::as_str);
        found.ok_or_else(|| Refusal::NoInline(holder.kind(), name.to_owned()))
    }

    pub(super) fn check_removable(&self) -> Result<(), Refusal> {
        if !self.attached.is_empty() {
            return Err(Refusal::Holds("detach all policies"));
        }
        if !self.inline.is_empty() {
            return Err(Refusal::Holds("delete policies"));
        }
        Ok(())
    }
}

/// The document that holds of a managed policy, the account's own or AWS's.
pub fn document_of<'a>(directory: &'a Directory, arn: &str) -> Option<&'a str> {
    match managed::find(arn) {
        Some(policy) => Some(policy.document),
        None => directory.policy_by_arn(arn).map(|policy| policy.document()),
    }
}

/// What counts of a document against the quotas.
pub(super) fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

impl Directory {
    /// What somebody may do.
    ///
    /// # Errors
    /// There is no such user or role.
    pub fn permissions(&self, holder: Holder<'_>) -> Result<&Permissions, Refusal> {
        match holder {
            Holder::User(name) => self.the_user(name).map(|user| &user.permissions),
            Holder::Role(name) => self.the_role(name).map(|role| &role.permissions),
        }
    }
}

impl Edit {
    /// Puts an inline policy, new or in the place of the one of that name.
    pub fn put_inline(&mut self, holder: Holder<'_>, name: &str, document: &str) -> Result<(), Refusal> {
        Document::parse(document, Kind::Inline)?;
        let max = match holder {
            Holder::User(_) => MAX_USER_INLINE,
            Holder::Role(_) => MAX_ROLE_INLINE,
        };
        self.change(holder, |permissions| {
            permissions.inline.insert(name.to_owned(), document.to_owned());
            let whole: usize = permissions.inline.values().map(|document| size(document)).sum();
            if whole > max {
                return Err(Refusal::TooLarge(max, holder.kind(), holder.name().to_owned()));
            }
            Ok(())
        })
    }

    /// Deletes an inline policy.
    pub fn delete_inline(&mut self, holder: Holder<'_>, name: &str) -> Result<(), Refusal> {
        self.change(holder, |permissions| {
            permissions.inline_policy(holder, name)?;
            permissions.inline.remove(name);
            Ok(())
        })
    }

    /// Attaches a managed policy; one that is attached already stays so.
    pub fn attach(&mut self, holder: Holder<'_>, arn: &str) -> Result<(), Refusal> {
        if document_of(self.directory(), arn).is_none() {
            return Err(Refusal::NotAttachable(arn.to_owned()));
        }
        self.change(holder, |permissions| {
            permissions.attached.insert(arn.to_owned());
            let quota = match holder {
                Holder::User(_) => "PoliciesPerUser",
                Holder::Role(_) => "PoliciesPerRole",
            };
            if permissions.attached.len() > MAX_ATTACHED { Err(Refusal::Quota(quota, MAX_ATTACHED)) } else { Ok(()) }
        })
    }

    /// Detaches a managed policy.
    pub fn detach(&mut self, holder: Holder<'_>, arn: &str) -> Result<(), Refusal> {
        self.change(holder, |permissions| {
            if permissions.attached.remove(arn) { Ok(()) } else { Err(Refusal::NoPolicy(arn.to_owned())) }
        })
    }

    fn change(
        &mut self,
        holder: Holder<'_>,
        decide: impl FnOnce(&mut Permissions) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match holder {
            Holder::User(name) => {
                let mut user = User::clone(self.directory().the_user(name)?);
                decide(&mut user.permissions)?;
                self.put(user);
            }
            Holder::Role(name) => {
                let mut role = Role::clone(self.directory().the_role(name)?);
                role.check_changeable()?;
                decide(&mut role.permissions)?;
                self.put(role);
            }
        }
        Ok(())
    }
}
