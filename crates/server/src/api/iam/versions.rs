//! Versions of managed policies.

use super::{change, encoded, page, policies::MADE, seen, text, time};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::iam::{Policy, PolicyVersion, Refusal, managed};
use shapes::iam as aws;
use wire::NoOutput;

fn shown(policy: &Policy, version: &PolicyVersion, with_document: bool) -> aws::PolicyVersion {
    aws::PolicyVersion {
        document: encoded(&version.document).filter(|_| with_document),
        version_id: Some(format!("v{}", version.number)),
        is_default_version: Some(policy.default_version == version.number),
        create_date: time(version.created_at),
    }
}

fn of_aws(policy: &managed::AwsPolicy, with_document: bool) -> aws::PolicyVersion {
    aws::PolicyVersion {
        document: encoded(policy.document).filter(|_| with_document),
        version_id: Some(format!("v{}", policy.version)),
        is_default_version: Some(true),
        create_date: time(MADE),
    }
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: &aws::CreatePolicyVersionRequest,
) -> Result<aws::CreatePolicyVersionResponse, ApiError> {
    let (arn, document) = (text(request.policy_arn.as_ref()), text(request.policy_document.as_ref()));
    let as_default = request.set_as_default.unwrap_or(false);
    let now = ctx.effects.now();
    let made = change(ctx, caller, |edit| {
        let number = edit.add_policy_version(arn, document, as_default, now)?;
        let policy = edit.directory().the_policy(arn)?;
        // AWS: the answer does not tell the document.
        Ok(policy.version(number).map(|version| shown(policy, version, false)))
    });
    Ok(aws::CreatePolicyVersionResponse { policy_version: made.await? })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetPolicyVersionRequest,
) -> Result<aws::GetPolicyVersionResponse, ApiError> {
    let (arn, id) = (text(request.policy_arn.as_ref()), text(request.version_id.as_ref()));
    if let Some(policy) = managed::find(arn) {
        if id != format!("v{}", policy.version) {
            return Err(Refusal::NoVersion(arn.to_owned(), id.to_owned()).into());
        }
        return Ok(aws::GetPolicyVersionResponse { policy_version: Some(of_aws(policy, true)) });
    }
    let directory = seen(ctx, caller);
    let policy = directory.the_policy(arn)?;
    let version = policy.the_version(id)?;
    Ok(aws::GetPolicyVersionResponse { policy_version: Some(shown(policy, version, true)) })
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListPolicyVersionsRequest,
) -> Result<aws::ListPolicyVersionsResponse, ApiError> {
    let arn = text(request.policy_arn.as_ref());
    let directory = seen(ctx, caller);
    let versions = match managed::find(arn) {
        Some(policy) => vec![of_aws(policy, false)],
        None => {
            let policy = directory.the_policy(arn)?;
            // AWS: the newest first.
            policy.versions.iter().rev().map(|version| shown(policy, version, false)).collect()
        }
    };
    // There are five at most, so that a page always holds all of them unless somebody asks for fewer.
    let place = |version: &aws::PolicyVersion| {
        let number: u32 = version.version_id.as_deref().and_then(|id| id[1..].parse().ok()).unwrap_or(0);
        format!("{:010}", u32::MAX - number)
    };
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListPolicyVersions", arn), versions.into_iter(), asked, place)?;
    Ok(aws::ListPolicyVersionsResponse {
        versions: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeletePolicyVersionRequest,
) -> Result<NoOutput, ApiError> {
    let (arn, id) = (text(request.policy_arn.as_ref()), text(request.version_id.as_ref()));
    change(ctx, caller, |edit| edit.delete_policy_version(arn, id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn set_default(
    ctx: &Context,
    caller: &Caller,
    request: &aws::SetDefaultPolicyVersionRequest,
) -> Result<NoOutput, ApiError> {
    let (arn, id) = (text(request.policy_arn.as_ref()), text(request.version_id.as_ref()));
    let now = ctx.effects.now();
    change(ctx, caller, |edit| edit.set_default_version(arn, id, now)).await?;
    Ok(NoOutput {})
}
