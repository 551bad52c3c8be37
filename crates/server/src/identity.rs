//! Who calls, as what IAM knows of him: the account's root, or one of its users. What follows from that (his ARN, his policies,
//! what conditions can ask of him) is here, so that a new kind of identity is a new arm of this.

use model::{
    AccountId, Tags,
    iam::{Directory, User},
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
}

impl Identity {
    /// His ARN.
    pub fn arn(&self, account: &AccountId) -> String {
        match self {
            Self::Root => format!("arn:aws:iam::{account}:root"),
            Self::User(user) => user.arn(),
        }
    }

    /// His `aws:userid`. AWS: a root user's is its account's number.
    pub fn id(&self, account: &AccountId) -> String {
        match self {
            Self::Root => account.to_string(),
            Self::User(user) => user.id.clone(),
        }
    }

    /// Whether he may do everything.
    pub fn is_root(&self) -> bool {
        match self {
            Self::Root => true,
            Self::User(_) => false,
        }
    }

    /// The ARN that conditions know him by, in `aws:PrincipalArn`.
    pub(crate) fn principal_arn(&self, account: &AccountId) -> String {
        self.arn(account)
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
        }
    }
}

fn tags(tags: &Tags, keys: &mut Keys) {
    for (key, value) in &tags.0 {
        keys.set(&format!("aws:PrincipalTag/{key}"), value.as_str());
    }
}
