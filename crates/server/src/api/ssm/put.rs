//! Putting, labelling and deleting parameters.

use super::{DATA_TYPE, TIER, find, invalid, refuse_value};
use crate::{
    api::{
        ApiError,
        vaults::{change, sealed, tags},
    },
    context::{Caller, Context},
    vault::Content,
};
use model::vault::{
    Key, Parameter, ParameterKind, ParameterRefusal, ParameterVersion, Plain, Selector, check_name, is_label,
};
use regex::Regex;
use shapes::ssm as aws;

/// Bytes of a value. Source: quotas of the standard tier.
const MAX_VALUE: usize = 4096;

/// A request to put a parameter, with what can be checked without looking.
struct Put {
    name: String,
    kind: Option<ParameterKind>,
    content: Content,
    description: Option<String>,
    allowed_pattern: Option<String>,
    overwrite: bool,
    tags: model::Tags,
}

impl Put {
    fn parse(request: aws::PutParameterRequest) -> Result<Self, ApiError> {
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (name, value) = (request.name.unwrap_or_default(), request.value.unwrap_or_default());
        check_name(&name)?;
        if let Some(tier) = set(request.tier).filter(|tier| tier != TIER) {
            return Err(refuse_value("PutParameter", &format!("Tier {tier}")));
        }
        if let Some(other) = set(request.data_type).filter(|data_type| data_type != DATA_TYPE) {
            return Err(refuse_value("PutParameter", &format!("DataType {other}")));
        }
        if value.is_empty() {
            return Err(invalid(
                "1 validation error detected: Value at 'value' failed to satisfy constraint: Member must have length \
                 greater than or equal to 1",
            ));
        }
        if value.len() > MAX_VALUE {
            return Err(invalid(format!(
                "Standard tier parameters support a maximum parameter value of {MAX_VALUE} characters. To create a larger \
                 parameter value, upgrade the parameter to use the advanced-parameter tier."
            )));
        }
        let allowed_pattern = set(request.allowed_pattern);
        if let Some(pattern) = &allowed_pattern {
            check_pattern(pattern, &value)?;
        }
        let given = request.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
        let tags = tags(given).map_err(|error| invalid(error.to_string()))?;
        let overwrite = request.overwrite.unwrap_or(false);
        if overwrite && !tags.0.is_empty() {
            return Err(invalid(
                "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove \
                 overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
                 RemoveTagsFromResource.",
            ));
        }
        Ok(Self {
            name,
            kind: set(request.r#type).as_deref().and_then(ParameterKind::parse),
            content: Content::Text(Plain::from(value)),
            description: set(request.description),
            allowed_pattern,
            overwrite,
            tags,
        })
    }
}

/// AWS: the whole value must match.
fn check_pattern(pattern: &str, value: &str) -> Result<(), ApiError> {
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
        ApiError::new(
            "InvalidAllowedPatternException",
            format!("The allowed pattern is not a regular expression: {pattern}"),
        )
    })?;
    if regex.is_match(value) {
        return Ok(());
    }
    let text = format!("Parameter value, cannot be validated against allowedPattern: {pattern}");
    Err(ApiError::new("ParameterPatternMismatchException", text))
}

pub(super) async fn parameter(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutParameterRequest,
) -> Result<aws::PutParameterResult, ApiError> {
    let put = Put::parse(request)?;
    let version = change(ctx, &caller.scope, |edit, sealer| {
        let known = edit.vault().parameter(&put.name).map(|known| Parameter::clone(known));
        let mut parameter = match known {
            Some(_) if !put.overwrite => return Err(ParameterRefusal::Exists.into()),
            Some(known) if put.kind.is_some_and(|kind| kind != known.kind) => {
                return Err(ParameterRefusal::OtherKind.into());
            }
            Some(known) => known,
            None => {
                let missing = || invalid("A parameter type is required when you create a parameter.");
                Parameter {
                    scope: caller.scope.clone(),
                    name: put.name.clone(),
                    kind: put.kind.ok_or_else(missing)?,
                    tags: put.tags.clone(),
                    versions: Vec::new(),
                }
            }
        };
        let before = parameter.versions.last();
        let version = ParameterVersion {
            number: before.map_or(1, |before| before.number + 1),
            modified_at: ctx.effects.now(),
            modified_by: caller.principal.clone(),
            // AWS: what is not given again is as it was.
            description: put.description.clone().or_else(|| before.and_then(|before| before.description.clone())),
            allowed_pattern: put.allowed_pattern.clone(),
            labels: Vec::new(),
        };
        let number = version.number;
        if let Some(gone) = parameter.add(version)? {
            edit.remove(Key::Value(parameter.value_key(gone)));
        }
        edit.put(sealed(ctx, sealer, &caller.scope, parameter.value_key(number), &put.content));
        edit.put(parameter);
        Ok(number)
    });
    let version = i64::try_from(version.await?).ok();
    Ok(aws::PutParameterResult { version, tier: Some(TIER.to_owned()) })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteParameterRequest,
) -> Result<aws::DeleteParameterResult, ApiError> {
    let name = request.name.unwrap_or_default();
    let done = change(ctx, &caller.scope, |edit, _| {
        let parameter = Parameter::clone(find(edit.vault(), &caller.scope, &name)?.0);
        edit.remove_parameter(&parameter);
        Ok(())
    });
    done.await.map(|()| aws::DeleteParameterResult {})
}

pub(super) async fn delete_all(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteParametersRequest,
) -> Result<aws::DeleteParametersResult, ApiError> {
    let names = request.names.unwrap_or_default();
    let done = change(ctx, &caller.scope, |edit, _| {
        let (mut deleted, mut unknown) = (Vec::new(), Vec::new());
        for name in &names {
            match find(edit.vault(), &caller.scope, name).map(|(parameter, _)| Parameter::clone(parameter)) {
                Ok(parameter) => {
                    edit.remove_parameter(&parameter);
                    deleted.push(name.clone());
                }
                Err(_) => unknown.push(name.clone()),
            }
        }
        Ok((deleted, unknown))
    });
    let (deleted, unknown) = done.await?;
    Ok(aws::DeleteParametersResult { deleted_parameters: Some(deleted), invalid_parameters: Some(unknown) })
}

pub(super) async fn label(
    ctx: &Context,
    caller: &Caller,
    request: aws::LabelParameterVersionRequest,
) -> Result<aws::LabelParameterVersionResult, ApiError> {
    let (name, labels) = (request.name.unwrap_or_default(), request.labels.unwrap_or_default());
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut parameter = Parameter::clone(find(edit.vault(), &caller.scope, &name)?.0);
        let asked = request.parameter_version.and_then(|number| u64::try_from(number).ok());
        let number = asked.unwrap_or(parameter.latest().number);
        let invalid = parameter.label(number, &labels)?;
        if invalid.is_empty() {
            edit.put(parameter);
        }
        Ok((invalid, number))
    });
    let (invalid, number) = done.await?;
    let parameter_version = i64::try_from(number).ok();
    Ok(aws::LabelParameterVersionResult { invalid_labels: Some(invalid), parameter_version })
}

pub(super) async fn unlabel(
    ctx: &Context,
    caller: &Caller,
    request: aws::UnlabelParameterVersionRequest,
) -> Result<aws::UnlabelParameterVersionResult, ApiError> {
    let (name, labels) = (request.name.unwrap_or_default(), request.labels.unwrap_or_default());
    let number = request.parameter_version.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let done = change(ctx, &caller.scope, |edit, _| {
        let mut parameter = Parameter::clone(find(edit.vault(), &caller.scope, &name)?.0);
        let there = parameter.asked(Some(&Selector::Version(number)))?.labels.clone();
        let has = |label: &String| is_label(label) && there.contains(label);
        let (removed, unknown): (Vec<String>, Vec<String>) = labels.iter().cloned().partition(has);
        for version in parameter.versions.iter_mut().filter(|version| version.number == number) {
            version.labels.retain(|label| !removed.contains(label));
        }
        edit.put(parameter);
        Ok((removed, unknown))
    });
    let (removed, unknown) = done.await?;
    Ok(aws::UnlabelParameterVersionResult { removed_labels: Some(removed), invalid_labels: Some(unknown) })
}
