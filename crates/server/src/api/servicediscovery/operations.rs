//! Operations: that what was asked for has been done. There are no others, since a request that cannot be done is refused.

use super::{
    change::{page, seen},
    check_owner,
    filter::{Filter, select},
    time,
};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::discovery::{Operation, OperationId, Refusal};
use shapes::servicediscovery as aws;
use std::collections::BTreeMap;

const SUCCESS: &str = "SUCCESS";

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: aws::GetOperationRequest,
) -> Result<aws::GetOperationResponse, ApiError> {
    check_owner(caller, request.owner_account.as_deref())?;
    let named = request.operation_id.unwrap_or_default();
    let all = seen(&ctx.store.snapshot(), caller);
    let found = OperationId::parse(named.as_str()).ok().and_then(|id| all.operation(&id));
    let operation = found.ok_or(Refusal::OperationNotFound(named))?;
    Ok(aws::GetOperationResponse {
        operation: Some(aws::Operation {
            create_date: time(operation.at),
            error_code: None,
            error_message: None,
            id: Some(operation.id.to_string()),
            owner_account: Some(caller.account().to_string()),
            status: Some(SUCCESS.to_owned()),
            targets: Some(targets(operation)),
            r#type: Some(operation.kind.as_str().to_owned()),
            update_date: time(operation.at),
        }),
    })
}

fn targets(operation: &Operation) -> BTreeMap<String, String> {
    let namespace = operation.namespace.as_ref().map(|id| ("NAMESPACE".to_owned(), id.to_string()));
    let service = operation.service.as_ref().map(|id| ("SERVICE".to_owned(), id.to_string()));
    let instance = operation.instance.as_ref().map(|id| ("INSTANCE".to_owned(), id.to_string()));
    [namespace, service, instance].into_iter().flatten().collect()
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListOperationsRequest,
) -> Result<aws::ListOperationsResponse, ApiError> {
    let all = seen(&ctx.store.snapshot(), caller);
    let filters = request.filters.as_deref().unwrap_or_default().iter();
    let filters: Vec<_> =
        filters.map(|f| Filter::new(f.name.as_deref(), f.condition.as_deref(), f.values.as_deref())).collect();
    let kept = select(all.operations(), &filters, |operation, filter| match filter.name {
        "NAMESPACE_ID" => filter.lets(operation.namespace.as_ref().map_or("", |id| id.as_str())),
        "SERVICE_ID" => filter.lets(operation.service.as_ref().map_or("", |id| id.as_str())),
        "STATUS" => filter.lets(SUCCESS),
        "TYPE" => filter.lets(operation.kind.as_str()),
        _ => filter.lets_time(operation.at.0),
    })?;
    let asked = (request.max_results, request.next_token.as_deref());
    let (shown, next_token) = page("ListOperations", caller, "", asked, kept.into_iter(), |one| one.id.to_string())?;
    let shown = shown.into_iter().map(|operation| aws::OperationSummary {
        id: Some(operation.id.to_string()),
        status: Some(SUCCESS.to_owned()),
    });
    Ok(aws::ListOperationsResponse { operations: Some(shown.collect()), next_token })
}
