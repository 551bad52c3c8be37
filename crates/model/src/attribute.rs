//! Attributes of container instances: what placement constraints look at.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One attribute; one without a value only says that it is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribute {
    /// 1 to 128 of `[A-Za-z0-9_\-./\\]`.
    pub name: String,
    /// 1 to 128 characters, if present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The attributes of an instance, by name.
pub type Attributes = BTreeMap<String, Option<String>>;

/// Custom attributes an instance may carry. Source: `AttributeLimitExceededException` in the service model.
pub const MAX_CUSTOM_ATTRIBUTES: usize = 10;

/// Whether the system sets this attribute itself, so that a client may not.
pub fn is_reserved(name: &str) -> bool {
    ["ecs.", "com.amazonaws.ecs.", "longshore.capability."].iter().any(|prefix| name.starts_with(prefix))
}

impl Attribute {
    /// Checks the form that clients must keep to; the text says which rule is broken.
    pub fn check(&self) -> Result<(), String> {
        let name_ok = (1..=128).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./\\".contains(&b));
        if !name_ok {
            return Err(format!("Invalid attribute name '{}'.", self.name));
        }
        let Some(value) = &self.value else { return Ok(()) };
        let value_ok = (1..=128).contains(&value.len())
            && value.trim() == value
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./\\@: ".contains(&b));
        if value_ok { Ok(()) } else { Err(format!("Invalid value of attribute '{}'.", self.name)) }
    }
}
