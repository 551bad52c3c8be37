//! Tags and the rules ECS gives for them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tags of one resource, by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Tags(pub BTreeMap<String, String>);

/// A tag set that breaks a rule. The text is shown to clients with `InvalidParameterException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTags {
    /// A key of no or too many characters, or with a character outside the allowed set.
    #[error("Invalid tag key '{0}': a key has 1 to 128 letters, digits, spaces or _.:/=+-@ characters.")]
    Key(String),
    /// A value that is too long or has a character outside the allowed set.
    #[error("Invalid value of tag '{0}': a value has up to 256 letters, digits, spaces or _.:/=+-@ characters.")]
    Value(String),
    /// A key that only AWS may write.
    #[error("Tag keys that start with 'aws:' are reserved for internal use: '{0}'.")]
    Reserved(String),
    /// The same key twice in one request.
    #[error("Duplicate tag keys found: '{0}'. Please note that Tag keys are case sensitive.")]
    Duplicate(String),
    /// More tags than a resource may carry.
    #[error("The maximum number of tags on a resource is 50.")]
    TooMany,
}

/// Tags per resource, those of the reserved prefix not counted. Source: service model, `Tags`.
pub const MAX_TAGS: usize = 50;

fn allowed(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
}

impl Tags {
    /// Checks what a client sent and takes it.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidTags> {
        Self::checked(pairs, allowed)
    }

    fn checked(
        pairs: impl IntoIterator<Item = (String, String)>,
        allowed: fn(&str) -> bool,
    ) -> Result<Self, InvalidTags> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            if key.is_empty() || key.chars().count() > 128 || !allowed(&key) {
                return Err(InvalidTags::Key(key));
            }
            if value.chars().count() > 256 || !allowed(&value) {
                return Err(InvalidTags::Value(key));
            }
            if key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:")) {
                return Err(InvalidTags::Reserved(key));
            }
            if tags.insert(key.clone(), value).is_some() {
                return Err(InvalidTags::Duplicate(key));
            }
        }
        if tags.len() > MAX_TAGS { Err(InvalidTags::TooMany) } else { Ok(Self(tags)) }
    }

    /// Checks what a client of EC2 sent and takes it: there a tag may hold any character.
    pub fn parse_any(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidTags> {
        Self::checked(pairs, |_| true)
    }

    /// Adds and replaces, as TagResource does; refuses what would leave more than the resource may carry.
    pub fn merge(&mut self, more: &Self) -> Result<(), InvalidTags> {
        let mut merged = self.0.clone();
        merged.extend(more.0.iter().map(|(k, v)| (k.clone(), v.clone())));
        if merged.keys().filter(|k| !k.starts_with("aws:")).count() > MAX_TAGS {
            return Err(InvalidTags::TooMany);
        }
        self.0 = merged;
        Ok(())
    }
}
