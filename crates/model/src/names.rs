//! Names and ids as types, so that no `String` inside the house means a cluster or a region.
//!
//! Each is a cheaply cloned string whose form was checked where it came in.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A name or id that does not have the form its type demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{value}' is not valid: {rule}")]
pub struct InvalidName {
    /// What kind of name it was to be.
    pub kind: &'static str,
    /// The offending text.
    pub value: String,
    /// The rule it breaks, in words for people.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the form and takes the name.
            pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, InvalidName> {
                let text: Arc<str> = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { kind: $kind, value: text.chars().take(255).collect(), rule: $rule })
                }
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<Arc<str>> for $type {
            type Error = InvalidName;
            fn try_from(text: Arc<str>) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }
        impl From<$type> for Arc<str> {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use name;

/// Up to 255 letters, digits, hyphens and underscores: the rule ECS gives for the names people choose.
pub fn is_ecs_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

name!(
    /// A twelve-digit AWS account number.
    AccountId, "account id", "it must be 12 digits", |t| t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit())
);
name!(
    /// A region such as `us-east-1`; any name of that form is served, each with its own resources.
    Region, "region", "it must look like us-east-1",
    |t| (3..=32).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
name!(
    /// A cluster's name.
    ClusterName, "cluster name", "up to 255 letters, numbers, hyphens and underscores", is_ecs_name
);
name!(
    /// A task definition's family.
    Family, "family", "up to 255 letters, numbers, hyphens and underscores", is_ecs_name
);
name!(
    /// A task's id: 32 lower-case hexadecimal digits.
    TaskId, "task id", "it must be 32 hexadecimal digits", |t| is_lower_hex(t, 32)
);
name!(
    /// A container instance's id: 32 lower-case hexadecimal digits.
    ContainerInstanceId, "container instance id", "it must be 32 hexadecimal digits", |t| is_lower_hex(t, 32)
);
name!(
    /// A service's name.
    ServiceName, "service name", "up to 255 letters, numbers, hyphens and underscores", is_ecs_name
);
name!(
    /// A service deployment's id: 21 letters, digits, hyphens and underscores.
    ServiceDeploymentId, "service deployment id", "it must be 21 letters, numbers, hyphens or underscores",
    |t| t.len() == 21 && is_ecs_name(t)
);
