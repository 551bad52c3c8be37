//! What is told of parameters without their values.

use super::{
    DATA_TYPE, TIER,
    get::{cursor, lies_in},
    refuse_value,
};
use crate::{
    api::{
        ApiError,
        paging::Pages,
        vaults::{seen, time},
    },
    context::{Caller, Context},
};
use model::vault::Parameter;
use shapes::ssm as aws;

/// Entries of one page. Source: the model, `MaxResults`.
const MAX_PAGE: usize = 50;

pub(super) fn parameters(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeParametersRequest,
) -> Result<aws::DescribeParametersResult, ApiError> {
    let filters = request.parameter_filters.unwrap_or_default().into_iter();
    let filters = filters.map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
    let vault = seen(&ctx.store.snapshot(), &caller.scope);
    let pages = Pages::of("DescribeParameters", &caller.scope);
    let after = cursor(&pages, request.next_token.as_deref())?;
    let limit = request.max_results.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(MAX_PAGE);
    let all = vault.parameters(after.as_deref()).filter(|parameter| filters.iter().all(|f| f.lets(parameter)));
    let (page, next_token) = pages.cut(all, limit.clamp(1, MAX_PAGE), |parameter| parameter.name.clone());
    let parameters = page.into_iter().map(|parameter| {
        let version = parameter.latest();
        aws::ParameterMetadata {
            arn: Some(parameter.arn()),
            name: Some(parameter.name.clone()),
            r#type: Some(parameter.kind.as_str().to_owned()),
            last_modified_date: time(version.modified_at),
            last_modified_user: Some(version.modified_by.clone()),
            description: version.description.clone(),
            allowed_pattern: version.allowed_pattern.clone(),
            version: i64::try_from(version.number).ok(),
            tier: Some(TIER.to_owned()),
            data_type: Some(DATA_TYPE.to_owned()),
            policies: Some(Vec::new()),
            key_id: None,
        }
    });
    Ok(aws::DescribeParametersResult { parameters: Some(parameters.collect()), next_token })
}

/// One filter: any of its values.
struct Filter {
    by: By,
    values: Vec<String>,
}

enum By {
    NameIs,
    NameBegins,
    NameHolds,
    Kind,
    PathAtOnce,
    PathBelow,
    Tag(String),
    Tier,
    DataType,
    Label,
}

impl Filter {
    fn parse(given: aws::ParameterStringFilter) -> Result<Self, ApiError> {
        let (key, option) = (given.key.unwrap_or_default(), given.option);
        let by = match (key.as_str(), option.as_deref()) {
            ("Name", None | Some("Equals")) => By::NameIs,
            ("Name", Some("BeginsWith")) => By::NameBegins,
            ("Name", Some("Contains")) => By::NameHolds,
            ("Type", None | Some("Equals")) => By::Kind,
            ("Path", None | Some("OneLevel")) => By::PathAtOnce,
            ("Path", Some("Recursive")) => By::PathBelow,
            ("Tier", None | Some("Equals")) => By::Tier,
            ("DataType", None | Some("Equals")) => By::DataType,
            ("Label", None | Some("Equals")) => By::Label,
            ("KeyId", _) => return Err(refuse_value("DescribeParameters", "the filter KeyId")),
            (key, None | Some("Equals")) if key.starts_with("tag:") => By::Tag(key["tag:".len()..].to_owned()),
            (key, option) => {
                let text = format!("The filter option {} is not valid for {key}.", option.unwrap_or_default());
                return Err(ApiError::new("InvalidFilterOption", text));
            }
        };
        Ok(Self { by, values: given.values.unwrap_or_default() })
    }

    fn lets(&self, parameter: &Parameter) -> bool {
        let matches = |value: &String| match &self.by {
            By::NameIs => parameter.name == *value,
            By::NameBegins => parameter.name.starts_with(value.as_str()),
            By::NameHolds => parameter.name.contains(value.as_str()),
            By::Kind => parameter.kind.as_str() == value,
            By::PathAtOnce => lies_in(&parameter.name, value, false),
            By::PathBelow => lies_in(&parameter.name, value, true),
            By::Tag(key) => parameter.tags.0.get(key) == Some(value),
            By::Tier => value == TIER,
            By::DataType => value == DATA_TYPE,
            By::Label => parameter.versions.iter().any(|version| version.labels.contains(value)),
        };
        // AWS: a tag is also asked for without a value.
        let any_tag = matches!(&self.by, By::Tag(key) if self.values.is_empty() && parameter.tags.0.contains_key(key));
        any_tag || self.values.iter().any(matches)
    }
}
