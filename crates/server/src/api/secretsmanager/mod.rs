//! Secrets Manager, as stacks of ECS use it. What is kept is sealed (`crate::vault`); laws are the model's (`model::vault`).
//!
//! Deliberately absent, and refused by name: rotation, replicas, policies of secrets, keys of KMS, types of managed secrets.

mod find;
mod random;
mod read;
mod write;

pub(crate) use find::{asked, find};

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm, read,
};
use crate::context::{Caller, Context};
use model::{tags::InvalidTags, vault::SecretRefusal};
use serde_json::Value;

pub(crate) const HONOURED: &[Row] = &[
    row("BatchGetSecretValue", &["SecretIdList"]),
    row("CreateSecret", &["ClientRequestToken", "Description", "Name", "SecretBinary", "SecretString", "Tags.*"]),
    row("DeleteSecret", &["ForceDeleteWithoutRecovery", "RecoveryWindowInDays", "SecretId"]),
    row("DescribeSecret", &["SecretId"]),
    row(
        "GetRandomPassword",
        &[
            "ExcludeCharacters",
            "ExcludeLowercase",
            "ExcludeNumbers",
            "ExcludePunctuation",
            "ExcludeUppercase",
            "IncludeSpace",
            "PasswordLength",
            "RequireEachIncludedType",
        ],
    ),
    // Terraform asks after each create; there is none, since none can be put.
    row("GetResourcePolicy", &["SecretId"]),
    row("GetSecretValue", &["SecretId", "VersionId", "VersionStage"]),
    row("ListSecretVersionIds", &["IncludeDeprecated", "MaxResults", "NextToken", "SecretId"]),
    row("ListSecrets", &["Filters.*", "IncludePlannedDeletion", "MaxResults", "NextToken", "SortOrder"]),
    row("PutSecretValue", &["ClientRequestToken", "SecretBinary", "SecretId", "SecretString", "VersionStages"]),
    row("RestoreSecret", &["SecretId"]),
    row("TagResource", &["SecretId", "Tags.*"]),
    row("UntagResource", &["SecretId", "TagKeys"]),
    row("UpdateSecret", &["ClientRequestToken", "Description", "SecretBinary", "SecretId", "SecretString"]),
    row("UpdateSecretVersionStage", &["MoveToVersionId", "RemoveFromVersionId", "SecretId", "VersionStage"]),
];

/// Answers one operation of Secrets Manager.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "BatchGetSecretValue" => answer(read::batch(ctx, caller, read(input)?)),
        "CreateSecret" => answer(write::create(ctx, caller, read(input)?).await),
        "DeleteSecret" => answer(write::delete(ctx, caller, read(input)?).await),
        "DescribeSecret" => answer(read::describe(ctx, caller, &read(input)?)),
        "GetRandomPassword" => answer(random::password(ctx, read(input)?)),
        "GetResourcePolicy" => answer(read::policy(ctx, caller, &read(input)?)),
        "GetSecretValue" => answer(read::value(ctx, caller, &read(input)?)),
        "ListSecretVersionIds" => answer(read::versions(ctx, caller, &read(input)?)),
        "ListSecrets" => answer(read::list(ctx, caller, read(input)?)),
        "PutSecretValue" => answer(write::put(ctx, caller, read(input)?).await),
        "RestoreSecret" => answer(write::restore(ctx, caller, read(input)?).await),
        "TagResource" => answer(write::tag(ctx, caller, read(input)?).await),
        "UntagResource" => answer(write::untag(ctx, caller, read(input)?).await),
        "UpdateSecret" => answer(write::update(ctx, caller, read(input)?).await),
        "UpdateSecretVersionStage" => answer(write::move_stage(ctx, caller, read(input)?).await),
        other => Err(no_arm(other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    SecretRefusal::Parameter(message.into()).into()
}

fn bad_tags(error: &InvalidTags) -> ApiError {
    invalid(error.to_string())
}

impl From<SecretRefusal> for ApiError {
    fn from(refusal: SecretRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
