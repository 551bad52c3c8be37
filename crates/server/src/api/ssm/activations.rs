//! Activations: the join tokens of `longshore agent`.
//!
//! The name and shape are those of ECS Anywhere. The cluster a token is for is told by the tag `longshore:cluster`; a
//! token without it joins whatever cluster its agent names. `<ActivationId>:<ActivationCode>:<CA's SHA-256>` is what an
//! agent is given; the CA's certificate is at `/.longshore/ca.pem`.

use crate::api::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm,
    paging::Pages,
    read,
};
use crate::context::{Caller, Context};
use model::{Activation, ClusterName, Tags};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shapes::ssm as aws;
use state::{Command, CommitError, Rejected};

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateActivation",
        &[
            "DefaultInstanceName",
            "Description",
            "ExpirationDate",
            // Taken as information: the model demands it, and attached machines get no role's credentials.
            "IamRole",
            "RegistrationLimit",
            "Tags.*",
        ],
    ),
    row("DeleteActivation", &["ActivationId"]),
    row("DescribeActivations", &["Filters.*", "MaxResults", "NextToken"]),
];

/// The tag that says which cluster may be joined.
pub(crate) const CLUSTER_TAG: &str = "longshore:cluster";
/// How long a token works when nothing is said, and the longest it may. Source: the model's documentation.
const DEFAULT_LIFE_MILLIS: i64 = 24 * 3_600_000;
const MAX_LIFE_MILLIS: i64 = 30 * 24 * 3_600_000;
/// Activations of one page. Source: the model's documentation.
const MAX_PAGE: usize = 50;

/// Answers one operation on activations.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateActivation" => answer(create(ctx, caller, read(input)?).await),
        "DeleteActivation" => answer(delete(ctx, caller, read(input)?).await),
        "DescribeActivations" => answer(describe(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateActivationRequest,
) -> Result<aws::CreateActivationResult, ApiError> {
    let pairs = request.tags.unwrap_or_default().into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = Tags::parse(pairs).map_err(|error| invalid(error.to_string()))?;
    let cluster = tags.0.get(CLUSTER_TAG).map(|name| ClusterName::parse(name.as_str())).transpose();
    let cluster = cluster.map_err(|error| invalid(error.to_string()))?;
    let now = ctx.effects.now();
    let expires_at = match request.expiration_date {
        None => now.plus_millis(DEFAULT_LIFE_MILLIS),
        Some(at) => model::Timestamp(at.as_millis()),
    };
    if !(1..=MAX_LIFE_MILLIS).contains(&expires_at.millis_since(now)) {
        let text = "The expiration date must be in the future and at most 30 days away.";
        return Err(ApiError::new("InvalidParameters", text));
    }
    let (id, code) = (ctx.effects.uuid(), hex::encode(ctx.effects.bytes::<10>()));
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let activation = Activation {
        scope: caller.scope.clone(),
        id: id.clone(),
        code_sha256: hex::encode(Sha256::digest(code.as_bytes())),
        cluster,
        ec2_instance_id: None,
        description: set(request.description).or(set(request.default_instance_name)),
        registration_limit: request.registration_limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(1).max(1),
        registrations: Vec::new(),
        created_at: now,
        expires_at,
        tags,
    };
    ctx.store.commit(Command::CreateActivation(activation)).await?;
    Ok(aws::CreateActivationResult { activation_id: Some(id), activation_code: Some(code) })
}

async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteActivationRequest,
) -> Result<aws::DeleteActivationResult, ApiError> {
    let id = request.activation_id.unwrap_or_default();
    match ctx.store.commit(Command::DeleteActivation { scope: caller.scope.clone(), id: id.clone() }).await {
        Ok(_) => Ok(aws::DeleteActivationResult {}),
        Err(CommitError::Rejected(Rejected::ActivationNotFound(_))) => {
            Err(ApiError::new("InvalidActivation", format!("Activation {id} does not exist.")))
        }
        Err(error) => Err(error.into()),
    }
}

fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeActivationsRequest,
) -> Result<aws::DescribeActivationsResult, ApiError> {
    let filters = request.filters.as_deref().unwrap_or_default();
    let unknown = filters.iter().filter_map(|f| f.filter_key.as_deref()).find(|key| *key != "ActivationIds");
    if let Some(key) = unknown {
        return Err(ApiError::new("InvalidFilter", format!("Longshore does not honour the filter {key} yet.")));
    }
    let limit = match request.max_results {
        None | Some(0) => MAX_PAGE,
        Some(asked) => usize::try_from(asked)
            .ok()
            .filter(|n| *n <= MAX_PAGE)
            .ok_or_else(|| invalid("MaxResults must be at most 50."))?,
    };
    let pages = Pages::of("DescribeActivations", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref());
    let after = after.map_err(|error| ApiError::new("InvalidNextToken", error.message))?;
    let snapshot = ctx.store.snapshot();
    // The tokens of local instances are nobody's to hand out.
    let all = snapshot.activations(&caller.scope, after.as_deref()).filter(|a| a.ec2_instance_id.is_none());
    let named = |id: &String| filters.iter().all(|f| f.filter_values.iter().flatten().any(|value| value == id));
    let (shown, next_token) = pages.cut(all.filter(|a| named(&a.id)), limit, |a| a.id.clone());
    let now = ctx.effects.now();
    let time = |at: model::Timestamp| Some(::wire::Timestamp::from_millis(at.0));
    let activations = shown.into_iter().map(|activation| aws::Activation {
        activation_id: Some(activation.id.clone()),
        description: activation.description.clone(),
        registration_limit: i32::try_from(activation.registration_limit).ok(),
        registrations_count: i32::try_from(activation.registrations.len()).ok(),
        created_date: time(activation.created_at),
        expiration_date: time(activation.expires_at),
        expired: Some(activation.expires_at <= now),
        tags: Some(tags(&activation.tags)),
        ..aws::Activation::default()
    });
    Ok(aws::DescribeActivationsResult { activation_list: Some(activations.collect()), next_token })
}

fn tags(tags: &Tags) -> Vec<aws::Tag> {
    tags.0.iter().map(|(key, value)| aws::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}
