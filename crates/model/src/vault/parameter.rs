//! Parameters: their names, versions and labels. Source: the Systems Manager API reference, and texts that its users quote.

use super::ValueKey;
use crate::{Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};

/// Versions of one parameter; beyond them the oldest goes, unless it has a label. Source: quotas.
pub const MAX_HISTORY: usize = 100;
/// Labels of one version. Source: quotas.
pub const MAX_LABELS: usize = 10;
/// Parts of a path. Source: `PutParameter`, "maximum of fifteen levels".
const MAX_LEVELS: usize = 15;
/// Characters of a name with the ARN's 37 before it at most. Source: `PutParameter`, `Name`.
const MAX_NAME: usize = 1011;

/// A parameter without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Account and region.
    pub scope: Scope,
    /// Its name, of which the scope has one.
    pub name: String,
    /// What its values are.
    pub kind: ParameterKind,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// Versions, the oldest first; never empty.
    pub versions: Vec<ParameterVersion>,
}

/// What a parameter's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // AWS's words.
pub enum ParameterKind {
    String,
    StringList,
    SecureString,
}

impl ParameterKind {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }

    /// The kind of that word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::String, Self::StringList, Self::SecureString].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One version of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterVersion {
    /// Counted from 1.
    pub number: u64,
    /// When it was put.
    pub modified_at: Timestamp,
    /// Who put it: an ARN.
    pub modified_by: String,
    /// What it is for, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A regular expression that its value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_pattern: Option<String>,
    /// Its labels, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Why something cannot be done with parameters, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The texts say it.
pub enum ParameterRefusal {
    #[error("Parameter {0} not found.")]
    NotFound(String),
    #[error("Systems Manager could not find version {version} of {name}. Verify the version and try again.")]
    VersionNotFound { name: String, version: u64 },
    #[error("Systems Manager could not find label {label} of {name}. Verify the label and try again.")]
    LabelNotFound { name: String, label: String },
    #[error("The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")]
    Exists,
    #[error("{0}")]
    Invalid(String),
    #[error("No access to reserved parameter name: {0}.")]
    Reserved(String),
    #[error("Parameter names can have up to {MAX_LEVELS} levels.")]
    TooDeep,
    #[error(
        "Parameter Store doesn't support changing a parameter type in a hierarchy. You must create a new, unique parameter."
    )]
    OtherKind,
    #[error(
        "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. \
         Version {version}, the oldest version, can't be deleted because it has a label associated with it. Move the \
         label to another version of the parameter, and try again."
    )]
    OldestLabelled { name: String, version: u64 },
    #[error(
        "A parameter version can have maximum {MAX_LABELS} labels. Move one or more labels to another version and try again."
    )]
    TooManyLabels,
}

impl ParameterRefusal {
    /// AWS's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "ParameterNotFound",
            Self::VersionNotFound { .. } | Self::LabelNotFound { .. } => "ParameterVersionNotFound",
            Self::Exists => "ParameterAlreadyExists",
            Self::Invalid(_) => "ValidationException",
            Self::Reserved(_) => "AccessDeniedException",
            Self::TooDeep => "HierarchyLevelLimitExceededException",
            Self::OtherKind => "HierarchyTypeMismatchException",
            Self::OldestLabelled { .. } => "ParameterMaxVersionLimitExceeded",
            Self::TooManyLabels => "ParameterVersionLabelLimitExceeded",
        }
    }
}

/// Which version of a parameter is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one of that number.
    Version(u64),
    /// The one that has the label.
    Label(String),
}

/// Whether a new parameter may have that name.
pub fn check_name(name: &str) -> Result<(), ParameterRefusal> {
    let invalid = |text: &str| Err(ParameterRefusal::Invalid(text.to_owned()));
    let begins = |name: &str, with: &str| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if name.contains('/') && !name.starts_with('/') {
        return invalid("Parameter name must be a fully qualified name.");
    }
    let path = name.starts_with('/');
    if path && (begins(name, "/aws/") || name.eq_ignore_ascii_case("/aws")) {
        return Err(ParameterRefusal::Reserved(name.to_owned()));
    }
    if path && begins(name, "/ssm") {
        return invalid(
            "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of \
             sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following \
             3 symbols .-_",
        );
    }
    if begins(name, "aws") || begins(name, "ssm") {
        return invalid("Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).");
    }
    let parts = name.strip_prefix('/').unwrap_or(name).split('/');
    if name.len() > MAX_NAME || !name.chars().all(allowed) || parts.clone().any(str::is_empty) {
        return invalid(
            "Parameter name: can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of \
             letters, numbers and the following 3 symbols .-_",
        );
    }
    if parts.count() > MAX_LEVELS { Err(ParameterRefusal::TooDeep) } else { Ok(()) }
}

/// A name that may be followed by `:version` or `:label`. An ARN is taken as it is, but for that.
pub fn selected(text: &str) -> (&str, Option<Selector>) {
    let own = if text.starts_with("arn:") { 6 } else { 1 };
    let mut colons = text.match_indices(':').map(|(at, _)| at);
    let Some(at) = colons.nth(own - 1) else { return (text, None) };
    let (name, rest) = (&text[..at], &text[at + 1..]);
    let selector = rest.parse().map_or_else(|_| Selector::Label(rest.to_owned()), Selector::Version);
    (name, Some(selector))
}

/// The names that a name or an ARN may mean: AWS leaves a leading slash out of ARNs.
pub fn names_in(scope: &Scope, text: &str) -> Vec<String> {
    let Some(rest) = text.strip_prefix("arn:") else { return vec![text.to_owned()] };
    let parts: Vec<&str> = rest.splitn(5, ':').collect();
    let [_, "ssm", region, account, resource] = parts[..] else { return Vec::new() };
    let Some(name) = resource.strip_prefix("parameter/") else { return Vec::new() };
    if region != scope.region.as_str() || account != scope.account.as_str() {
        return Vec::new();
    }
    let path = format!("/{name}");
    if name.contains('/') { vec![path] } else { vec![name.to_owned(), path] }
}

/// Whether a version may have that label.
pub fn is_label(label: &str) -> bool {
    let begins = |with: &str| label.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = label.chars().next();
    first.is_some_and(|c| !c.is_ascii_digit()) && !begins("aws") && !begins("ssm") && label.chars().all(allowed)
}

impl Parameter {
    /// Its ARN.
    pub fn arn(&self) -> String {
        let Scope { account, region } = &self.scope;
        let slash = if self.name.starts_with('/') { "" } else { "/" };
        format!("arn:aws:ssm:{region}:{account}:parameter{slash}{}", self.name)
    }

    /// Where the value of a version is.
    pub fn value_key(&self, number: u64) -> ValueKey {
        ValueKey { owner: format!("parameter:{}", self.name), version: number.to_string() }
    }

    /// The newest version.
    pub fn latest(&self) -> &ParameterVersion {
        self.versions.last().expect("a parameter is made with its first version")
    }

    /// The version that is asked for.
    pub fn asked(&self, selector: Option<&Selector>) -> Result<&ParameterVersion, ParameterRefusal> {
        let name = || self.name.clone();
        let mut versions = self.versions.iter();
        match selector {
            None => Ok(self.latest()),
            Some(Selector::Version(number)) => versions
                .find(|version| version.number == *number)
                .ok_or_else(|| ParameterRefusal::VersionNotFound { name: name(), version: *number }),
            Some(Selector::Label(label)) => versions
                .find(|version| version.labels.contains(label))
                .ok_or_else(|| ParameterRefusal::LabelNotFound { name: name(), label: label.clone() }),
        }
    }

    /// Adds a version, and answers which one went for it.
    pub fn add(&mut self, version: ParameterVersion) -> Result<Option<u64>, ParameterRefusal> {
        let mut gone = None;
        if self.versions.len() >= MAX_HISTORY {
            let oldest = &self.versions[0];
            if !oldest.labels.is_empty() {
                let (name, version) = (self.name.clone(), oldest.number);
                return Err(ParameterRefusal::OldestLabelled { name, version });
            }
            gone = Some(self.versions.remove(0).number);
        }
        self.versions.push(version);
        Ok(gone)
    }

    /// Gives labels to a version, and takes them from those that had them. Answers those that nobody may have.
    pub fn label(&mut self, number: u64, labels: &[String]) -> Result<Vec<String>, ParameterRefusal> {
        self.asked(Some(&Selector::Version(number)))?;
        let (fine, invalid): (Vec<String>, Vec<String>) = labels.iter().cloned().partition(|label| is_label(label));
        if !invalid.is_empty() {
            // AWS: one that is wrong keeps all of them away.
            return Ok(invalid);
        }
        for version in &mut self.versions {
            version.labels.retain(|label| !fine.contains(label));
            if version.number == number {
                version.labels.extend(fine.iter().cloned());
                version.labels.sort();
                version.labels.dedup();
                if version.labels.len() > MAX_LABELS {
                    return Err(ParameterRefusal::TooManyLabels);
                }
            }
        }
        Ok(invalid)
    }
}
