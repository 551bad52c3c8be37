//! Custom attributes of container instances.

use super::resolve;
use crate::api::ApiError;
use crate::api::honoured::{Row, row};
use crate::api::paging::{Pages, invalid_token, limit};
use crate::context::{Caller, Context};
use model::{Attribute, ClusterArn, ContainerInstanceArn, ContainerInstanceId};
use shapes::ecs as aws;
use state::{Command, Snapshot};

pub(crate) const HONOURED: &[Row] = &[
    row("PutAttributes", &["attributes.*", "cluster"]),
    row("DeleteAttributes", &["attributes.*", "cluster"]),
    row("ListAttributes", &["attributeName", "attributeValue", "cluster", "maxResults", "nextToken", "targetType"]),
];

/// Attributes of one page of ListAttributes.
const MAX_LISTED: usize = 100;
/// Attributes of one PutAttributes. Source: the model's documentation.
const MAX_PUT: usize = 10;

type Targeted = (ContainerInstanceArn, Attribute);

pub(crate) async fn put(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutAttributesRequest,
) -> Result<aws::PutAttributesResponse, ApiError> {
    let attributes = parse(&ctx.store.snapshot(), caller, request.cluster.as_deref(), request.attributes)?;
    for (_, attribute) in &attributes {
        attribute.check().map_err(ApiError::invalid)?;
    }
    let shown = attributes.iter().map(render).collect();
    ctx.store.commit(Command::PutAttributes { attributes }).await?;
    Ok(aws::PutAttributesResponse { attributes: Some(shown) })
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteAttributesRequest,
) -> Result<aws::DeleteAttributesResponse, ApiError> {
    let attributes = parse(&ctx.store.snapshot(), caller, request.cluster.as_deref(), request.attributes)?;
    let shown = attributes.iter().map(render).collect();
    ctx.store.commit(Command::DeleteAttributes { attributes }).await?;
    Ok(aws::DeleteAttributesResponse { attributes: Some(shown) })
}

fn parse(
    snapshot: &Snapshot,
    caller: &Caller,
    cluster: Option<&str>,
    given: Option<Vec<aws::Attribute>>,
) -> Result<Vec<Targeted>, ApiError> {
    let cluster = resolve::active_cluster(snapshot, &caller.scope, cluster)?;
    let given = given.unwrap_or_default();
    if given.is_empty() || given.len() > MAX_PUT {
        return Err(ApiError::invalid("Between 1 and 10 attributes must be specified."));
    }
    given.into_iter().map(|attribute| target(snapshot, &cluster, attribute)).collect()
}

fn target(snapshot: &Snapshot, cluster: &ClusterArn, given: aws::Attribute) -> Result<Targeted, ApiError> {
    let id = given.target_id.unwrap_or_default();
    let arn = resolve::container_instance_arn(cluster, &id);
    let known = arn.filter(|arn| snapshot.instance(arn).is_some_and(|row| row.is_registered()));
    let arn = known.ok_or_else(|| ApiError::new("TargetNotFoundException", format!("Could not find {id}")))?;
    let value = given.value.filter(|value| !value.is_empty());
    Ok((arn, Attribute { name: given.name.unwrap_or_default(), value }))
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: aws::ListAttributesRequest,
) -> Result<aws::ListAttributesResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (name, value) = (set(request.attribute_name), set(request.attribute_value));
    if value.is_some() && name.is_none() {
        return Err(ApiError::invalid("attributeName must be specified when attributeValue is."));
    }
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let pages = Pages::of("ListAttributes", &caller.scope).within(&cluster);
    let after = pages.cursor(request.next_token.as_deref())?.map(|cursor| position(&cursor)).transpose()?;
    let wanted = |attribute: &Attribute| {
        name.as_ref().is_none_or(|name| attribute.name == *name)
            && value.as_ref().is_none_or(|value| attribute.value.as_ref() == Some(value))
    };
    // The page before may have ended amid an instance's attributes, so that one is looked at again.
    let behind =
        |(arn, attribute): &Targeted| after.as_ref().is_none_or(|(id, name)| (&arn.id, &attribute.name) > (id, name));
    let rows = snapshot.instances(&cluster, None);
    let rows =
        rows.filter(|row| row.is_registered() && after.as_ref().is_none_or(|(id, _)| row.instance.arn.id >= *id));
    let all = rows.flat_map(|row| {
        let arn = &row.instance.arn;
        let attributes = row.instance.attributes.iter();
        attributes.map(|(name, value)| (arn.clone(), Attribute { name: name.clone(), value: value.clone() }))
    });
    let all = all.filter(|(_, attribute)| wanted(attribute)).filter(behind);
    let (page, next_token) = pages.cut(all, limit, |(arn, attribute)| format!("{}/{}", arn.id, attribute.name));
    let attributes = page.iter().map(render).collect();
    Ok(aws::ListAttributesResponse { attributes: Some(attributes), next_token })
}

fn position(cursor: &str) -> Result<(ContainerInstanceId, String), ApiError> {
    let (id, name) = cursor.split_once('/').ok_or_else(invalid_token)?;
    Ok((ContainerInstanceId::parse(id).map_err(|_| invalid_token())?, name.to_owned()))
}

fn render((arn, attribute): &Targeted) -> aws::Attribute {
    aws::Attribute {
        name: Some(attribute.name.clone()),
        value: attribute.value.clone(),
        target_id: Some(arn.to_string()),
        target_type: None,
    }
}
