//! Who calls, as what IAM knows of him: the account's root, one of its users, or somebody who acts as one of its roles. What follows from that (his ARN, his policies,
//! what conditions can ask of him) is here, so that a new kind of identity is a new arm of this.

use crate::tokens::RoleSession;
use model::{
    AccountId, Tags, Timestamp,
    iam::{Directory, Role, User, document_of},
    policy::Keys,
};
use std::sync::Arc;

/// Somebody with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself, which may do everything.
    Root,
    /// A user, as he was when the request came.
    User(Arc<User>),
    /// Somebody who acts as a role for a while.
    Role(Acting),
}

/// Who acts as a role, and as which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The role, as it was when the request came.
    pub(crate) role: Arc<Role>,
    /// What is known of its session.
    pub(crate) session: Arc<RoleSession>,
    /// When the session began.
    pub(crate) since: Timestamp,
}

impl Identity {
    /// His ARN.
    pub fn arn(&self, account: &AccountId) -> String {
        match self {
            Self::Root => format!("arn:aws:iam::{account}:root"),
            Self::User(user) => user.arn(),
            Self::Role(acting) => acting.session.arn(account),
        }
    }

    /// His `aws:userid`. AWS: a root user's is its account's number.
    pub fn id(&self, account: &AccountId) -> String {
        match self {
            Self::Root => account.to_string(),
            Self::User(user) => user.id.clone(),
            Self::Role(acting) => acting.session.user_id(),
        }
    }

    /// Whether he may do everything.
    pub fn is_root(&self) -> bool {
        match self {
            Self::Root => true,
            Self::User(_) | Self::Role(_) => false,
        }
    }

    /// The ARN that conditions know him by, in `aws:PrincipalArn`.
    pub(crate) fn principal_arn(&self, account: &AccountId) -> String {
        match self {
            Self::Root | Self::User(_) => self.arn(account),
            Self::Role(acting) => acting.role.arn(),
        }
    }

    /// By which ARNs a role's trust may name him.
    pub(crate) fn trusted_arns(&self, account: &AccountId) -> Vec<String> {
        match self {
            Self::Root | Self::User(_) => vec![self.arn(account)],
            Self::Role(acting) => vec![acting.role.arn(), self.arn(account)],
        }
    }

    /// The texts of the policies that cut down what his own let him do; none if nothing does.
    pub(crate) fn limits<'a>(&'a self, directory: &'a Directory) -> Option<Vec<Option<&'a str>>> {
        let Self::Role(acting) = self else { return None };
        let managed = acting.session.policy_arns.iter().map(|arn| document_of(directory, arn));
        let all: Vec<_> = acting.session.policy.iter().map(|text| Some(text.as_str())).chain(managed).collect();
        (!all.is_empty()).then_some(all)
    }

    /// The texts of the policies that say what he may do. `None` stands for one that is attached and not there.
    pub(crate) fn policies<'a>(&'a self, directory: &'a Directory) -> Vec<Option<&'a str>> {
        match self {
            Self::Root => Vec::new(),
            // As he is in that directory, which may be newer than what he was when he proved himself.
            Self::User(user) => match directory.user(&user.name).filter(|now| now.id == user.id) {
                Some(now) => now.permissions.documents(directory).collect(),
                None => vec![None],
            },
            Self::Role(acting) => match directory.role(&acting.role.name).filter(|now| now.id == acting.role.id) {
                Some(now) => now.permissions.documents(directory).collect(),
                None => vec![None],
            },
        }
    }

    /// What conditions may ask of him.
    pub(crate) fn describe(&self, account: &AccountId, keys: &mut Keys) {
        keys.set("aws:PrincipalArn", self.principal_arn(account));
        keys.set("aws:PrincipalAccount", account.as_str());
        keys.set("aws:userid", self.id(account));
        match self {
            Self::Root => keys.set("aws:PrincipalType", "Account"),
            Self::User(user) => {
                keys.set("aws:PrincipalType", "User");
                keys.set("aws:username", user.name.as_str());
                tags(&user.tags, keys);
            }
            Self::Role(acting) => {
                keys.set("aws:PrincipalType", "AssumedRole");
                describe_session(acting.since, keys);
                if let Some(source) = &acting.session.source_identity {
                    keys.set("aws:SourceIdentity", source.as_str());
                }
                tags(&acting.role.tags, keys);
            }
        }
    }
}

/// What conditions may ask of who has temporary credentials. AWS: of keys that hold for good there is neither.
pub(crate) fn describe_session(since: Timestamp, keys: &mut Keys) {
    // In both forms of a date, as other times are.
    keys.set("aws:TokenIssueTime", since.0.div_euclid(1_000).to_string());
    keys.set("aws:MultiFactorAuthPresent", "false");
}

fn tags(tags: &Tags, keys: &mut Keys) {
    for (key, value) in &tags.0 {
        keys.set(&format!("aws:PrincipalTag/{key}"), value.as_str());
    }
}
