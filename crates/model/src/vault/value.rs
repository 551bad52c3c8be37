//! Values: plain where somebody was given one, sealed where they are kept.

use crate::Scope;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Plain text that nobody may find in a log. Whoever shows it says so by [`Plain::reveal`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Plain(String);

impl Plain {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Plain {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A value as it is stored: sealed with a key of its own, which is wrapped by one of the server's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which of the server's keys wraps its key.
    pub key: String,
    /// Its wrapped key, in base64.
    pub wrapped: String,
    /// What it seals, in base64.
    pub text: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key)
    }
}

/// What a value is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueKey {
    /// Whose it is: `secret:NAME-SUFFIX` or `parameter:NAME`.
    pub owner: String,
    /// Which version of that.
    pub version: String,
}

impl fmt::Display for ValueKey {
    /// No owner's name holds a `#`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.owner, self.version)
    }
}

/// The value of one version of a secret or a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Account and region.
    pub scope: Scope,
    /// Whose it is, as in [`ValueKey`].
    pub owner: String,
    /// Which version of that.
    pub version: String,
    /// The value.
    pub sealed: Sealed,
}

impl Value {
    /// What it is found by.
    pub fn key(&self) -> ValueKey {
        ValueKey { owner: self.owner.clone(), version: self.version.clone() }
    }
}
