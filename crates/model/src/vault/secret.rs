//! Secrets: their names, versions and staging labels. Source: the Secrets Manager API reference, and texts that its users quote.

use super::{ValueKey, Vault};
use crate::{Scope, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version that is meant when none is named.
pub const CURRENT: &str = "AWSCURRENT";
/// The one that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// One that rotation is making. Nothing here follows from it; clients may use it.
pub const PENDING: &str = "AWSPENDING";
/// Versions that are kept; beyond them the oldest without a label goes. Source: quotas, "versions of a secret".
pub const MAX_VERSIONS: usize = 100;
/// Labels of one version. Source: quotas.
pub const MAX_STAGES: usize = 20;
/// Characters that AWS puts behind a secret's name in its ARN.
const SUFFIX: usize = 6;

/// A secret without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Account and region.
    pub scope: Scope,
    /// Its name, of which the scope has one.
    pub name: String,
    /// What its ARN has behind the name, so that a later secret of that name has another.
    pub suffix: String,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything of it last changed.
    pub changed_at: Timestamp,
    /// When it will be deleted, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<Timestamp>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// Versions, the oldest first.
    pub versions: Vec<SecretVersion>,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// The token of the request that made it.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its staging labels, in order.
    pub stages: Vec<String>,
}

/// Why something cannot be done with secrets, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The texts say it.
pub enum SecretRefusal {
    #[error("Secrets Manager can't find the specified secret.")]
    NotFound,
    #[error("Secrets Manager can't find the specified secret value for staging label: {0}")]
    NoStage(String),
    #[error("Secrets Manager can't find the specified secret value for VersionId: {0}")]
    NoVersion(String),
    #[error("You provided a VersionStage that is not associated to the provided VersionId.")]
    StageOfAnother,
    #[error("You can't perform this operation on the secret because it was marked for deletion.")]
    MarkedForDeletion,
    #[error("You can't create this secret because a secret with this name is already scheduled for deletion.")]
    NameMarkedForDeletion,
    #[error("The operation failed because the secret {0} already exists.")]
    Exists(String),
    #[error("You can't use ClientRequestToken {0} because that value is already in use for a version of secret {1}.")]
    TokenInUse(String, String),
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Parameter(String),
    #[error("{0}")]
    Request(String),
}

impl SecretRefusal {
    /// AWS's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound | Self::NoStage(_) | Self::NoVersion(_) => "ResourceNotFoundException",
            Self::Exists(_) | Self::TokenInUse(..) => "ResourceExistsException",
            Self::Limit(_) => "LimitExceededException",
            Self::Parameter(_) => "InvalidParameterException",
            Self::StageOfAnother | Self::MarkedForDeletion | Self::NameMarkedForDeletion | Self::Request(_) => {
                "InvalidRequestException"
            }
        }
    }
}

/// The secret that an id names: its name, its ARN, or its ARN without what AWS puts behind the name. Those marked for deletion
/// too.
pub fn find<'a>(vault: &'a Vault, scope: &Scope, id: &str) -> Result<&'a Arc<Secret>, SecretRefusal> {
    let Some(rest) = id.strip_prefix("arn:") else { return vault.secret(id).ok_or(SecretRefusal::NotFound) };
    let parts: Vec<&str> = rest.splitn(6, ':').collect();
    let [_, "secretsmanager", region, account, "secret", resource] = parts[..] else {
        return Err(SecretRefusal::Parameter(format!("Invalid ARN: {id}")));
    };
    if region != scope.region.as_str() || account != scope.account.as_str() {
        return Err(SecretRefusal::NotFound);
    }
    // AWS: a partial ARN whose name ends like a whole one is read as a whole one first.
    let whole = resource.len().checked_sub(SUFFIX + 1).and_then(|at| resource.split_at_checked(at));
    let whole =
        whole.and_then(|(name, end)| vault.secret(name).filter(|s| end.strip_prefix('-') == Some(s.suffix.as_str())));
    whole.or_else(|| vault.secret(resource)).ok_or(SecretRefusal::NotFound)
}

impl Secret {
    /// Its ARN.
    pub fn arn(&self) -> String {
        let Scope { account, region } = &self.scope;
        format!("arn:aws:secretsmanager:{region}:{account}:secret:{}-{}", self.name, self.suffix)
    }

    /// Where the value of a version is.
    pub fn value_key(&self, version: &str) -> ValueKey {
        ValueKey { owner: format!("secret:{}-{}", self.name, self.suffix), version: version.to_owned() }
    }

    /// The secret, unless it is marked for deletion.
    pub fn usable(&self) -> Result<&Self, SecretRefusal> {
        if self.delete_at.is_some() { Err(SecretRefusal::MarkedForDeletion) } else { Ok(self) }
    }

    /// The version of that id.
    pub fn version(&self, id: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that has a label.
    pub fn staged(&self, stage: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.has(stage))
    }

    /// The version that is asked for: by id, by label, by both, or the current one.
    pub fn asked(&self, id: Option<&str>, stage: Option<&str>) -> Result<&SecretVersion, SecretRefusal> {
        match (id, stage) {
            (None, stage) => {
                let stage = stage.unwrap_or(CURRENT);
                self.staged(stage).ok_or_else(|| SecretRefusal::NoStage(stage.to_owned()))
            }
            (Some(id), stage) => {
                let version = self.version(id).ok_or_else(|| SecretRefusal::NoVersion(id.to_owned()))?;
                match stage {
                    Some(stage) if !version.has(stage) => Err(SecretRefusal::StageOfAnother),
                    Some(_) | None => Ok(version),
                }
            }
        }
    }

    /// Adds a version with these labels, or as the current one, and answers which versions went for it. The first version is
    /// current whatever it is given. That there is none of that id is for the caller to see to.
    pub fn add(&mut self, id: &str, stages: &[String], at: Timestamp) -> Result<Vec<String>, SecretRefusal> {
        let mut wanted = stages.to_vec();
        if wanted.is_empty() || self.versions.is_empty() && !wanted.iter().any(|stage| stage == CURRENT) {
            wanted.push(CURRENT.to_owned());
        }
        self.versions.push(SecretVersion { id: id.to_owned(), created_at: at, stages: Vec::new() });
        for stage in &wanted {
            self.label(stage, id)?;
        }
        self.changed_at = at;
        Ok(self.shed())
    }

    /// Moves a label, as UpdateSecretVersionStage says.
    pub fn move_stage(
        &mut self,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
        at: Timestamp,
    ) -> Result<(), SecretRefusal> {
        for id in [from, to].into_iter().flatten() {
            self.version(id).ok_or_else(|| SecretRefusal::NoVersion(id.to_owned()))?;
        }
        let holder = self.staged(stage).map(|version| version.id.clone());
        match (&holder, from) {
            (Some(holder), Some(from)) if holder != from => {
                return Err(SecretRefusal::Parameter(format!(
                    "The parameter RemoveFromVersionId must be the version that staging label {stage} is attached to: \
                     {holder}."
                )));
            }
            (None, Some(_)) => return Err(SecretRefusal::NoStage(stage.to_owned())),
            (Some(holder), None) if to.is_some_and(|to| to != holder) => {
                return Err(SecretRefusal::Parameter(format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to \
                     version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
                )));
            }
            (Some(_) | None, _) => {}
        }
        match (from, to) {
            (_, Some(to)) => self.label(stage, to)?,
            (Some(_), None) if stage == CURRENT => {
                return Err(SecretRefusal::Parameter(format!(
                    "You can only move staging label {CURRENT} to a different secret version. It can't be completely \
                     removed."
                )));
            }
            (Some(_), None) => self.unlabel(stage),
            (None, None) => {
                let text = "You must specify RemoveFromVersionId, MoveToVersionId, or both.";
                return Err(SecretRefusal::Parameter(text.to_owned()));
            }
        }
        self.changed_at = at;
        Ok(())
    }

    /// Gives a label to a version, and takes it from the one that had it. Which was current is previous then.
    fn label(&mut self, stage: &str, id: &str) -> Result<(), SecretRefusal> {
        let holder = self.staged(stage).map(|version| version.id.clone());
        if holder.as_deref() == Some(id) {
            return Ok(());
        }
        self.unlabel(stage);
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            if version.stages.len() >= MAX_STAGES {
                let text = format!("You've exceeded the limit of {MAX_STAGES} staging labels of a version.");
                return Err(SecretRefusal::Limit(text));
            }
            version.stages.push(stage.to_owned());
            version.stages.sort();
        }
        match holder {
            Some(holder) if stage == CURRENT => self.label(PREVIOUS, &holder),
            Some(_) | None => Ok(()),
        }
    }

    fn unlabel(&mut self, stage: &str) {
        for version in &mut self.versions {
            version.stages.retain(|own| own != stage);
        }
    }

    /// Drops the oldest versions without labels, as far as there are too many.
    fn shed(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        while self.versions.len() > MAX_VERSIONS {
            let Some(at) = self.versions.iter().position(|version| version.stages.is_empty()) else { break };
            gone.push(self.versions.remove(at).id);
        }
        gone
    }
}

impl SecretVersion {
    /// Whether it has a label.
    pub fn has(&self, stage: &str) -> bool {
        self.stages.iter().any(|own| own == stage)
    }
}
