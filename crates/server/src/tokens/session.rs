//! What stands in a session token. Servers of other versions read it, as long as it holds.

use model::{AccountId, Timestamp, vault::Plain};
use serde::{Deserialize, Serialize};

/// The version of what is written. One of a later version is nobody's.
const VERSION: u32 = 1;

/// A session: whose rights somebody has for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) account: AccountId,
    pub(crate) of: Of,
    /// What its requests are signed with.
    pub(crate) secret: Plain,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

/// Whose rights a session has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    /// The account's root (GetSessionToken).
    Root,
    /// A user's (GetSessionToken), as long as there is that one.
    User { name: String, id: String },
    /// A role's, as long as there is that one.
    Role(RoleSession),
}

/// Somebody who acts as a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleSession {
    /// The role's name.
    pub(crate) role: String,
    /// Its unique id: a later role of that name is another.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The policy that its rights are cut down by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Managed policies that its rights are cut down by, by ARN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy_arns: Vec<String>,
    /// Who is behind it, in words of whoever assumed it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_identity: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    d: T,
}

impl Session {
    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(&Versioned { v: VERSION, d: self }).expect("strings and numbers become JSON")
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let read: Versioned<Self> = serde_json::from_slice(bytes).ok()?;
        (read.v == VERSION).then_some(read.d)
    }
}

impl RoleSession {
    /// AWS's ARN of somebody who acts as the role.
    pub(crate) fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:sts::{account}:assumed-role/{}/{}", self.role, self.name)
    }

    /// AWS's unique id of somebody who acts as the role.
    pub(crate) fn user_id(&self) -> String {
        format!("{}:{}", self.id, self.name)
    }
}
