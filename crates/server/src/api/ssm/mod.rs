//! Systems Manager, as far as ECS stacks meet it: activations, with which machines join, and Parameter Store.
//!
//! Values of all parameters are sealed (`crate::vault`), those of type String too; laws are the model's (`model::vault`).
//! Deliberately absent, and refused by name: the advanced tier, policies of parameters, keys of KMS, other data types than text.

pub(super) mod activations;
mod describe;
mod get;
mod put;
mod tags;

pub(crate) use activations::CLUSTER_TAG;
pub(crate) use get::reveal_named;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    read,
};
use crate::context::{Caller, Context};
use model::vault::{Parameter, ParameterRefusal, Selector, Vault, names_in, selected};
use serde_json::Value;
use shapes::ssm as aws;
use std::sync::Arc;

pub(crate) const HONOURED: &[Row] = &[
    row("AddTagsToResource", &["ResourceId", "ResourceType", "Tags.*"]),
    row("DeleteParameter", &["Name"]),
    row("DeleteParameters", &["Names"]),
    row("DescribeParameters", &["MaxResults", "NextToken", "ParameterFilters.*"]),
    row("GetParameter", &["Name", "WithDecryption"]),
    row("GetParameterHistory", &["MaxResults", "Name", "NextToken", "WithDecryption"]),
    row("GetParameters", &["Names", "WithDecryption"]),
    row("GetParametersByPath", &["MaxResults", "NextToken", "Path", "Recursive", "WithDecryption"]),
    row("LabelParameterVersion", &["Labels", "Name", "ParameterVersion"]),
    row("ListTagsForResource", &["ResourceId", "ResourceType"]),
    row(
        "PutParameter",
        &["AllowedPattern", "DataType", "Description", "Name", "Overwrite", "Tags.*", "Tier", "Type", "Value"],
    ),
    row("RemoveTagsFromResource", &["ResourceId", "ResourceType", "TagKeys"]),
    row("UnlabelParameterVersion", &["Labels", "Name", "ParameterVersion"]),
];

/// Answers one operation of Systems Manager.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "AddTagsToResource" => answer(tags::add(ctx, caller, read(input)?).await),
        "DeleteParameter" => answer(put::delete(ctx, caller, read(input)?).await),
        "DeleteParameters" => answer(put::delete_all(ctx, caller, read(input)?).await),
        "DescribeParameters" => answer(describe::parameters(ctx, caller, read(input)?)),
        "GetParameter" => answer(get::one(ctx, caller, &read(input)?)),
        "GetParameterHistory" => answer(get::history(ctx, caller, &read(input)?)),
        "GetParameters" => answer(get::named(ctx, caller, read(input)?)),
        "GetParametersByPath" => answer(get::by_path(ctx, caller, &read(input)?)),
        "LabelParameterVersion" => answer(put::label(ctx, caller, read(input)?).await),
        "ListTagsForResource" => answer(tags::list(ctx, caller, &read(input)?)),
        "PutParameter" => answer(put::parameter(ctx, caller, read(input)?).await),
        "RemoveTagsFromResource" => answer(tags::remove(ctx, caller, read(input)?).await),
        "UnlabelParameterVersion" => answer(put::unlabel(ctx, caller, read(input)?).await),
        other => activations::dispatch(ctx, caller, other, input).await,
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ParameterRefusal::Invalid(message.into()).into()
}

impl From<ParameterRefusal> for ApiError {
    fn from(refusal: ParameterRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

/// The parameter that a name or an ARN means, with or without a version behind it.
fn find<'a>(
    vault: &'a Vault,
    scope: &model::Scope,
    text: &str,
) -> Result<(&'a Arc<Parameter>, Option<Selector>), ParameterRefusal> {
    let (name, selector) = selected(text);
    let found = names_in(scope, name).iter().find_map(|name| vault.parameter(name));
    found.map(|parameter| (parameter, selector)).ok_or_else(|| ParameterRefusal::NotFound(name.to_owned()))
}

/// AWS: the tier and the data type of everything that is here.
const TIER: &str = "Standard";
const DATA_TYPE: &str = "text";

fn refuse_value(operation: &str, what: &str) -> ApiError {
    super::honoured::not_honoured(&aws::SERVICE, operation, what)
}
