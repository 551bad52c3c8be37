//! Tags of what is in IAM: unlike elsewhere, keys that differ by case only are the same key.

use super::Refusal;
use crate::{
    Tags,
    tags::{InvalidTags, MAX_TAGS},
};

/// What a client sent, as tags.
///
/// # Errors
/// A tag that breaks a rule, or two of the same key.
pub fn parse_tags(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags, Refusal> {
    let tags = Tags::parse(pairs).map_err(|wrong| match wrong {
        InvalidTags::Duplicate(_) => Refusal::SameTags,
        InvalidTags::Key(_) | InvalidTags::Value(_) | InvalidTags::Reserved(_) | InvalidTags::TooMany => {
            Refusal::Tags(wrong)
        }
    })?;
    let mut lower: Vec<String> = tags.0.keys().map(|key| key.to_lowercase()).collect();
    lower.sort();
    if lower.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::SameTags);
    }
    Ok(tags)
}

/// Adds and replaces.
pub(super) fn merge(tags: &mut Tags, more: Tags) -> Result<(), Refusal> {
    for (key, value) in more.0 {
        remove(tags, &key);
        tags.0.insert(key, value);
    }
    if tags.0.len() > MAX_TAGS { Err(Refusal::Tags(InvalidTags::TooMany)) } else { Ok(()) }
}

/// Removes a key; one that is not there is no error.
pub(super) fn remove(tags: &mut Tags, key: &str) {
    let key = key.to_lowercase();
    tags.0.retain(|known, _| known.to_lowercase() != key);
}
