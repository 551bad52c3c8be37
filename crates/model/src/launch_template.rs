//! EC2 launch templates: what instances of an Auto Scaling group are like, in numbered versions.
//!
//! A template says what RunInstances honours and nothing else; what is not given is left to the launch, as in EC2.

use crate::{Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};

/// Versions of one template. AWS's quota.
pub const MAX_VERSIONS: usize = 10_000;

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// Account and region.
    pub scope: Scope,
    /// `lt-` and 17 hexadecimal digits.
    pub id: String,
    /// Its name, unique in its scope.
    pub name: String,
    /// The version of those who ask for `$Default`.
    pub default_version: u64,
    /// By number, from 1; never empty.
    pub versions: Vec<LaunchTemplateVersion>,
    /// CreateLaunchTemplate's idempotency token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// Its own tags; those of instances are its data's.
    #[serde(default)]
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
    /// The ARN of who made it.
    pub created_by: String,
}

/// One version, which never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    /// Its number.
    pub number: u64,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it says.
    pub data: LaunchTemplateData,
    /// CreateLaunchTemplateVersion's idempotency token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The ARN of who made it.
    pub created_by: String,
}

/// What a version says. Source: `RequestLaunchTemplateData`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // AWS's members of the same names.
pub struct LaunchTemplateData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// In base64, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<TemplateMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<InstanceProfile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_specifications: Vec<TemplateTags>,
}

/// Source: `LaunchTemplateInstanceMetadataOptionsRequest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TemplateMetadata {
    pub enabled: Option<bool>,
    pub tokens_required: Option<bool>,
    pub hop_limit: Option<u8>,
}

/// The instance profile of instances, which has to be there when they are launched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct InstanceProfile {
    pub arn: Option<String>,
    pub name: Option<String>,
}

/// Tags of what is launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateTags {
    /// `instance`, or what a launch has none of.
    pub resource_type: String,
    /// Which.
    pub tags: Tags,
}

/// Which template a group launches from, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateChoice {
    /// Its id.
    pub id: String,
    /// Its name, when it was chosen.
    pub name: String,
    /// Which version.
    pub version: VersionChoice,
}

/// A version, by number or by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum VersionChoice {
    Latest,
    Default,
    Number(u64),
}

impl VersionChoice {
    /// As clients write it; without a word it is the default. `None` of what is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "$Latest" => Some(Self::Latest),
            "" | "$Default" => Some(Self::Default),
            number => number.parse().ok().filter(|number| *number > 0).map(Self::Number),
        }
    }

    /// As clients write it.
    pub fn text(self) -> String {
        match self {
            Self::Latest => "$Latest".to_owned(),
            Self::Default => "$Default".to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl LaunchTemplate {
    /// The number of its newest version.
    pub fn latest_version(&self) -> u64 {
        self.versions.last().map_or(0, |version| version.number)
    }

    /// The version that is chosen, if there is one.
    pub fn version(&self, choice: VersionChoice) -> Option<&LaunchTemplateVersion> {
        let number = match choice {
            VersionChoice::Latest => self.latest_version(),
            VersionChoice::Default => self.default_version,
            VersionChoice::Number(number) => number,
        };
        self.versions.iter().find(|version| version.number == number)
    }
}

/// Whether a name is one of EC2's launch templates: 3 to 128 letters, digits and `().-/_`. Source: `LaunchTemplateName`.
pub fn is_template_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
    (3..=128).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_chosen_by_number_and_by_what_they_are() {
        for (text, want) in [
            ("$Latest", Some(VersionChoice::Latest)),
            ("$Default", Some(VersionChoice::Default)),
            ("", Some(VersionChoice::Default)),
            ("7", Some(VersionChoice::Number(7))),
            ("0", None),
            ("latest", None),
            ("-1", None),
        ] {
            assert_eq!(VersionChoice::parse(text), want, "{text}");
            if let Some(choice) = want.filter(|_| !text.is_empty()) {
                assert_eq!(choice.text(), text);
            }
        }
    }

    #[test]
    fn names_are_ec2_s() {
        for (name, right) in [("web", true), ("a/b(c).d-e_f", true), ("ab", false), ("a b c", false)] {
            assert_eq!(is_template_name(name), right, "{name}");
        }
    }
}
