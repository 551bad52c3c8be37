//! Why something can not be done with users, roles and policies: IAM's codes and words.

use crate::{policy::Malformed, tags::InvalidTags};

/// A refusal. The text is what clients are shown. Source: what users of IAM quote, and the API reference's lists of errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The text says it.
pub enum Refusal {
    #[error("User with name {0} already exists.")]
    UserExists(String),
    #[error("Role with name {0} already exists.")]
    RoleExists(String),
    #[error("A policy called {0} already exists. Duplicate names are not allowed.")]
    PolicyExists(String),
    #[error("Instance Profile {0} already exists.")]
    ProfileExists(String),

    #[error("The user with name {0} cannot be found.")]
    NoUser(String),
    #[error("The role with name {0} cannot be found.")]
    NoRole(String),
    #[error("The {0} policy with name {1} cannot be found.")]
    NoInline(&'static str, String),
    #[error("Policy {0} was not found.")]
    NoPolicy(String),
    #[error("Policy {0} does not exist or is not attachable.")]
    NotAttachable(String),
    #[error("Policy {0} version {1} does not exist or is not attachable.")]
    NoVersion(String, String),
    #[error("Instance Profile {0} cannot be found.")]
    NoProfile(String),
    #[error("The role {0} is not in the instance profile {1}.")]
    NotInProfile(String, String),
    #[error("The Access Key with id {0} cannot be found.")]
    NoAccessKey(String),

    #[error("Cannot delete entity, must {0} first.")]
    Holds(&'static str),
    #[error("Cannot delete a policy attached to entities.")]
    Attached,
    #[error(
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The \
         default version is deleted with the policy."
    )]
    HasVersions,
    #[error("Cannot delete the default version of a policy.")]
    IsDefault,

    #[error("Cannot exceed quota for {0}: {1}")]
    Quota(&'static str, usize),
    #[error("Maximum policy size of {0} bytes exceeded for {1} {2}")]
    TooLarge(usize, &'static str, String),
    #[error(
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    )]
    TooManyVersions,

    #[error("Cannot perform the operation on the protected role '{0}' - this role is only modifiable by AWS")]
    Protected(String),
    #[error("Policy {0} is AWS's own and cannot be changed.")]
    OfAws(String),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Input(String),
    #[error("Duplicate tag keys found. Please note that Tag keys are case insensitive.")]
    SameTags,
    #[error("{0}")]
    Tags(InvalidTags),
}

impl Refusal {
    /// IAM's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UserExists(_) | Self::RoleExists(_) | Self::PolicyExists(_) | Self::ProfileExists(_) => {
                "EntityAlreadyExists"
            }
            Self::NoUser(_)
            | Self::NoRole(_)
            | Self::NoInline(..)
            | Self::NoPolicy(_)
            | Self::NotAttachable(_)
            | Self::NoVersion(..)
            | Self::NoProfile(_)
            | Self::NotInProfile(..)
            | Self::NoAccessKey(_) => "NoSuchEntity",
            Self::Holds(_) | Self::Attached | Self::HasVersions | Self::IsDefault => "DeleteConflict",
            Self::Quota(..) | Self::TooLarge(..) | Self::TooManyVersions | Self::Tags(InvalidTags::TooMany) => {
                "LimitExceeded"
            }
            Self::Protected(_) => "UnmodifiableEntity",
            // AWS: what belongs to no account of yours you may not change, whoever you are.
            Self::OfAws(_) => "AccessDenied",
            Self::Malformed(_) => "MalformedPolicyDocument",
            Self::Input(_) | Self::SameTags => "InvalidInput",
            Self::Tags(_) => "ValidationError",
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        match self.code() {
            "NoSuchEntity" => 404,
            "EntityAlreadyExists" | "DeleteConflict" | "LimitExceeded" => 409,
            "AccessDenied" => 403,
            _ => 400,
        }
    }
}
