//! What the policies of a user or a role would say of a request, by the same judge as of real ones.

use super::{page, seen};
use crate::{
    access::read_policies,
    api::ApiError,
    context::{Caller, Context},
};
use model::{
    iam::{Directory, Holder, Refusal},
    policy::{Denial, Document, Keys, Kind, Request, decide},
};
use shapes::iam as aws;

pub(super) fn principal(
    ctx: &Context,
    caller: &Caller,
    request: aws::SimulatePrincipalPolicyRequest,
) -> Result<aws::SimulatePolicyResponse, ApiError> {
    let directory = seen(ctx, caller);
    let source = request.policy_source_arn.unwrap_or_default();
    let permissions = directory.permissions(holder(&directory, &source)?)?;
    let mut documents = read_policies(permissions.documents(&directory).collect()).ok_or_else(|| {
        ApiError::server("A policy of this principal cannot be read; `longshore state check` tells more.")
    })?;
    for text in request.policy_input_list.unwrap_or_default() {
        documents.push(Document::parse(&text, Kind::Inline).map_err(|e| ApiError::new("InvalidInput", e.to_string()))?);
    }
    let mut keys = Keys::new();
    for entry in request.context_entries.unwrap_or_default() {
        let (key, values) = (entry.context_key_name.unwrap_or_default(), entry.context_key_values.unwrap_or_default());
        let is_list = entry.context_key_type.as_deref().is_some_and(|kind| kind.ends_with("List"));
        match values.first().filter(|_| values.len() == 1 && !is_list).cloned() {
            Some(value) => keys.set(&key, value),
            None => keys.set_all(&key, values),
        }
    }
    let resources = request.resource_arns.filter(|arns| !arns.is_empty()).unwrap_or_else(|| vec!["*".to_owned()]);
    let asked = request.action_names.unwrap_or_default().into_iter().enumerate();
    let asked = asked.flat_map(|(at, action)| {
        let resources = resources.iter().enumerate();
        resources.map(move |(of, resource)| (format!("{at:08}/{of:08}"), action.clone(), resource.clone()))
    });
    let paging = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("SimulatePrincipalPolicy", &source), asked, paging, |(place, ..)| place.clone())?;
    let results = page.items.into_iter().map(|(_, action, resource)| {
        let verdict = decide(&documents, &Request { action: &action, resource: resource.as_str().into(), keys: &keys });
        let decision = match verdict {
            Ok(()) => "allowed",
            Err(Denial::Explicit) => "explicitDeny",
            Err(Denial::NotAllowed) => "implicitDeny",
        };
        aws::EvaluationResult {
            eval_action_name: Some(action),
            eval_resource_name: Some(resource),
            eval_decision: Some(decision.to_owned()),
            ..aws::EvaluationResult::default()
        }
    });
    Ok(aws::SimulatePolicyResponse {
        evaluation_results: Some(results.collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

fn holder<'a>(directory: &'a Directory, arn: &str) -> Result<Holder<'a>, ApiError> {
    if let Some(role) = directory.role_by_arn(arn) {
        return Ok(Holder::Role(&role.name));
    }
    let user = directory.users().find(|user| user.arn() == arn);
    let user = user.ok_or_else(|| Refusal::NoUser(arn.rsplit('/').next().unwrap_or_default().to_owned()))?;
    Ok(Holder::User(&user.name))
}
