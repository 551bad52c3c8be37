//! Roles: what machines, tasks and services act as. Source: the IAM API reference and quotas.

use super::{Directory, Edit, Key, Permissions, Refusal, arn, has_name, permissions::size, tagging};
use crate::{
    AccountId, Tags, Timestamp,
    policy::{Document, Kind},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The path of roles that AWS's services made for themselves.
pub const SERVICE_ROLE_PATH: &str = "/aws-service-role/";
/// Roles of an account.
const MAX_ROLES: usize = 1_000;
/// Characters of a document of trust, white space not counted.
const MAX_TRUST: usize = 2_048;

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Whose it is.
    pub account: AccountId,
    /// Its name, of which the account has one.
    pub name: String,
    /// `/`, or folders with a slash at both ends.
    pub path: String,
    /// `AROA` and 17 capitals and digits; a later role of that name has another.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may assume it: `AssumeRolePolicyDocument`, as it was given.
    pub trust: String,
    /// How long a session of it may last.
    pub max_session_seconds: u32,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// What it may do.
    #[serde(default)]
    pub permissions: Permissions,
}

impl Role {
    /// Its ARN.
    pub fn arn(&self) -> String {
        arn(&self.account, "role", &self.path, &self.name)
    }

    /// Whether it is one that only a service changes.
    pub fn is_service_linked(&self) -> bool {
        self.path.starts_with(SERVICE_ROLE_PATH)
    }

    pub(super) fn check_changeable(&self) -> Result<(), Refusal> {
        if self.is_service_linked() { Err(Refusal::Protected(self.name.clone())) } else { Ok(()) }
    }
}

fn check_trust(document: &str) -> Result<(), Refusal> {
    Document::parse(document, Kind::Trust)?;
    if size(document) > MAX_TRUST { Err(Refusal::Quota("ACLSizePerRole", MAX_TRUST)) } else { Ok(()) }
}

impl Directory {
    /// The role of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn the_role(&self, name: &str) -> Result<&Arc<Role>, Refusal> {
        self.role(name).ok_or_else(|| Refusal::NoRole(name.to_owned()))
    }
}

impl Edit {
    /// Adds a role that was just made.
    pub fn create_role(&mut self, role: Role) -> Result<(), Refusal> {
        check_trust(&role.trust)?;
        if has_name(self.directory().roles().map(|role| &*role.name), &role.name) {
            return Err(Refusal::RoleExists(role.name));
        }
        if self.directory().roles().count() >= MAX_ROLES {
            return Err(Refusal::Quota("RolesPerAccount", MAX_ROLES));
        }
        self.put(role);
        Ok(())
    }

    /// Changes a role that is no service's own. The decision is about its description, trust and sessions.
    pub fn update_role(&mut self, name: &str, decide: impl FnOnce(&mut Role)) -> Result<Role, Refusal> {
        let mut role = Role::clone(self.directory().the_role(name)?);
        role.check_changeable()?;
        decide(&mut role);
        check_trust(&role.trust)?;
        self.put(role.clone());
        Ok(role)
    }

    /// Adds tags to a role, or replaces them.
    pub fn tag_role(&mut self, name: &str, more: Tags) -> Result<(), Refusal> {
        let mut role = Role::clone(self.directory().the_role(name)?);
        tagging::merge(&mut role.tags, more)?;
        self.put(role);
        Ok(())
    }

    /// Removes tags of a role.
    pub fn untag_role(&mut self, name: &str, keys: &[String]) -> Result<(), Refusal> {
        let mut role = Role::clone(self.directory().the_role(name)?);
        keys.iter().for_each(|key| tagging::remove(&mut role.tags, key));
        self.put(role);
        Ok(())
    }

    /// Deletes a role that has no policies and is in no instance profile.
    pub fn delete_role(&mut self, name: &str) -> Result<(), Refusal> {
        let role = self.directory().the_role(name)?;
        role.check_changeable()?;
        if self.directory().profiles().any(|profile| profile.role.as_deref() == Some(name)) {
            return Err(Refusal::Holds("remove roles from instance profile"));
        }
        role.permissions.check_removable()?;
        self.remove(Key::Role(name.to_owned()));
        Ok(())
    }

    /// Deletes a role that a service made, with what it may do.
    pub fn delete_service_linked_role(&mut self, name: &str) -> Result<(), Refusal> {
        let role = self.directory().the_role(name)?;
        if !role.is_service_linked() {
            return Err(Refusal::Input(format!("The role {name} is not a service-linked role.")));
        }
        self.remove(Key::Role(name.to_owned()));
        Ok(())
    }
}
