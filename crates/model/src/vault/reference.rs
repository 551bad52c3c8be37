//! What `valueFrom` names: a secret with what is wanted of it, or a parameter.

use crate::{AccountId, Region, Scope};

/// A secret or a parameter, as a task definition names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:json-key:version-stage:version-id]`
    Secret {
        /// Where it is.
        scope: Scope,
        /// Its ARN without what follows.
        arn: String,
        /// Which member of it.
        json_key: Option<String>,
        /// Which version.
        stage: Option<String>,
        /// Which version.
        version: Option<String>,
    },
    /// `arn:aws:ssm:REGION:ACCOUNT:parameter/NAME`, or a name.
    Parameter {
        /// Where it is, if not where the task is.
        scope: Option<Scope>,
        /// As given.
        name: String,
    },
}

/// A `valueFrom` that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither the ARN of a secret nor the ARN or name of a parameter")]
pub struct InvalidReference(pub String);

/// Characters of a parameter's name. Source: what RegisterTaskDefinition says of a longer one.
const MAX_NAME: usize = 2048;

impl SecretReference {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let invalid = || InvalidReference(text.to_owned());
        let Some(rest) = text.strip_prefix("arn:") else {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/:".contains(c);
            let fine = !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(allowed);
            return if fine { Ok(Self::Parameter { scope: None, name: text.to_owned() }) } else { Err(invalid()) };
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let (Some(region), Some(account)) = (parts.get(2), parts.get(3)) else { return Err(invalid()) };
        let region = Region::parse(*region).map_err(|_| invalid())?;
        let account = AccountId::parse(*account).map_err(|_| invalid())?;
        let scope = Scope { account, region };
        let given = |part: &str| Some(part.to_owned()).filter(|part| !part.is_empty());
        let of = |json_key: &str, stage: &str, version: &str| Self::Secret {
            scope: scope.clone(),
            arn: format!("arn:{}", parts[..6].join(":")),
            json_key: given(json_key),
            stage: given(stage),
            version: given(version),
        };
        match parts[..] {
            [_, "secretsmanager", _, _, "secret", name] if !name.is_empty() => Ok(of("", "", "")),
            [_, "secretsmanager", _, _, "secret", name, json_key, stage, version] if !name.is_empty() => {
                Ok(of(json_key, stage, version))
            }
            [_, "ssm", _, _, resource, ..] if resource.starts_with("parameter/") => {
                Ok(Self::Parameter { scope: Some(scope), name: text.to_owned() })
            }
            _ => Err(invalid()),
        }
    }
}

/// The member of a JSON object, as the original agent reads it out of a secret.
pub fn json_member<'a>(members: impl IntoIterator<Item = (&'a str, String)>, key: &str) -> Result<String, String> {
    let found = members.into_iter().find(|(name, _)| *name == key);
    // AWS: the original's words (ecs-agent `asm.go`).
    found
        .map(|(_, value)| value)
        .ok_or_else(|| format!("retrieved secret from Secrets Manager did not contain json key {key}"))
}
