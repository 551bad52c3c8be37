//! Managed policies, the account's own and AWS's.

use super::{change, is_below, page, path, seen, tags, text, time};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::make_id,
};
use model::{
    Timestamp,
    iam::{Directory, Holder, Policy, PolicyVersion, Refusal, managed, managed::AwsPolicy, parse_tags},
};
use shapes::iam as aws;
use std::collections::BTreeMap;
use wire::NoOutput;

/// When AWS made its policies: long before this server. Nobody reads the date of each.
pub(super) const MADE: Timestamp = Timestamp(1_423_248_058_000);

/// A policy of either kind.
enum Any<'a> {
    Own(&'a Policy),
    Aws(&'static AwsPolicy),
}

impl Any<'_> {
    fn arn(&self) -> String {
        match self {
            Self::Own(policy) => policy.arn(),
            Self::Aws(policy) => policy.arn(),
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Own(policy) => &policy.path,
            Self::Aws(policy) => policy.path,
        }
    }

    fn shown(&self, attached: usize, whole: bool) -> aws::Policy {
        let common = aws::Policy {
            arn: Some(self.arn()),
            path: Some(self.path().to_owned()),
            attachment_count: i32::try_from(attached).ok(),
            permissions_boundary_usage_count: Some(0),
            is_attachable: Some(true),
            ..aws::Policy::default()
        };
        // AWS: lists tell neither descriptions nor tags.
        match self {
            Self::Own(policy) => aws::Policy {
                policy_name: Some(policy.name.clone()),
                policy_id: Some(policy.id.clone()),
                default_version_id: Some(format!("v{}", policy.default_version)),
                description: policy.description.clone().filter(|_| whole),
                create_date: time(policy.created_at),
                update_date: time(policy.updated_at),
                tags: tags::shown(&policy.tags).filter(|_| whole),
                ..common
            },
            Self::Aws(policy) => aws::Policy {
                policy_name: Some(policy.name.to_owned()),
                policy_id: Some(policy.id()),
                default_version_id: Some(format!("v{}", policy.version)),
                description: whole.then(|| policy.description.to_owned()),
                create_date: time(MADE),
                update_date: time(MADE),
                ..common
            },
        }
    }
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreatePolicyRequest,
) -> Result<aws::CreatePolicyResponse, ApiError> {
    let now = ctx.effects.now();
    let document = request.policy_document.unwrap_or_default();
    let policy = Policy {
        account: caller.account().clone(),
        name: request.policy_name.unwrap_or_default(),
        path: path(request.path),
        id: make_id::<17>("ANPA", &ctx.effects),
        description: request.description.filter(|text| !text.is_empty()),
        created_at: now,
        updated_at: now,
        tags: parse_tags(tags::pairs(request.tags))?,
        default_version: 1,
        last_version: 1,
        versions: vec![PolicyVersion { number: 1, document, created_at: now }],
    };
    change(ctx, caller, |edit| edit.create_policy(policy.clone())).await?;
    Ok(aws::CreatePolicyResponse { policy: Some(Any::Own(&policy).shown(0, true)) })
}

pub(super) fn get(
    ctx: &Context,
    caller: &Caller,
    request: &aws::GetPolicyRequest,
) -> Result<aws::GetPolicyResponse, ApiError> {
    let (directory, arn) = (seen(ctx, caller), text(request.policy_arn.as_ref()));
    let policy = match managed::find(arn) {
        Some(policy) => Any::Aws(policy),
        None => Any::Own(directory.the_policy(arn)?),
    };
    Ok(aws::GetPolicyResponse { policy: Some(policy.shown(directory.holders_of(arn).count(), true)) })
}

/// How many have each policy.
fn attachments(directory: &Directory) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    let users = directory.users().map(|user| &user.permissions);
    for permissions in users.chain(directory.roles().map(|role| &role.permissions)) {
        for arn in &permissions.attached {
            *counts.entry(arn.as_str()).or_insert(0) += 1;
        }
    }
    counts
}

pub(super) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListPoliciesRequest,
) -> Result<aws::ListPoliciesResponse, ApiError> {
    let directory = seen(ctx, caller);
    let counts = attachments(&directory);
    let scope = request.scope.as_deref().filter(|scope| !scope.is_empty()).unwrap_or("All");
    let own = directory.policies().filter(|_| scope != "AWS").map(|policy| Any::Own(policy));
    let known = managed::POLICIES.iter().filter(|_| scope != "Local").map(Any::Aws);
    let mut all: Vec<_> = own.chain(known).map(|policy| (policy.arn(), policy)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let count = |arn: &str| counts.get(arn).copied().unwrap_or(0);
    let only = request.only_attached.unwrap_or(false);
    let wanted = all
        .into_iter()
        .filter(|(arn, policy)| is_below(policy.path(), request.path_prefix.as_deref()) && (!only || count(arn) > 0));
    let owner = format!("{scope}/{only}/{}", text(request.path_prefix.as_ref()));
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListPolicies", &owner), wanted, asked, |(arn, _)| arn.clone())?;
    Ok(aws::ListPoliciesResponse {
        policies: Some(page.items.iter().map(|(arn, policy)| policy.shown(count(arn), false)).collect()),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeletePolicyRequest,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.delete_policy(text(request.policy_arn.as_ref()))).await?;
    Ok(NoOutput {})
}

pub(super) fn entities(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListEntitiesForPolicyRequest,
) -> Result<aws::ListEntitiesForPolicyResponse, ApiError> {
    let (directory, arn) = (seen(ctx, caller), text(request.policy_arn.as_ref()));
    if managed::find(arn).is_none() {
        directory.the_policy(arn).map_err(|_| Refusal::NoPolicy(arn.to_owned()))?;
    }
    let filter = request.entity_filter.as_deref().filter(|filter| !filter.is_empty());
    let kinds = match filter {
        None => (true, true),
        Some("User") => (true, false),
        Some("Role") => (false, true),
        Some("Group" | "LocalManagedPolicy" | "AWSManagedPolicy") => (false, false),
        Some(other) => {
            let text = format!("Longshore does not honour the EntityFilter {other}; see docs/iam.md.");
            return Err(ApiError::new("ValidationError", text));
        }
    };
    let path = |holder: &Holder<'_>| match holder {
        Holder::User(name) => directory.user(name).filter(|_| kinds.0).map(|user| &user.path),
        Holder::Role(name) => directory.role(name).filter(|_| kinds.1).map(|role| &role.path),
    };
    let prefix = request.path_prefix.as_deref();
    let holders = directory.holders_of(arn).filter(|holder| path(holder).is_some_and(|path| is_below(path, prefix)));
    let mut holders: Vec<_> = holders.collect();
    let place = |holder: &Holder<'_>| match holder {
        Holder::User(name) => format!("user/{name}"),
        Holder::Role(name) => format!("role/{name}"),
    };
    holders.sort_by_key(place);
    let owner = format!("{arn}/{}/{}", filter.unwrap_or_default(), prefix.unwrap_or_default());
    let asked = (request.marker.as_ref(), request.max_items);
    let page = page::cut(caller, ("ListEntitiesForPolicy", &owner), holders.into_iter(), asked, place)?;
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for holder in page.items {
        match holder {
            Holder::User(name) => users.push(aws::PolicyUser {
                user_name: Some(name.to_owned()),
                user_id: directory.user(name).map(|user| user.id.clone()),
            }),
            Holder::Role(name) => roles.push(aws::PolicyRole {
                role_name: Some(name.to_owned()),
                role_id: directory.role(name).map(|role| role.id.clone()),
            }),
        }
    }
    Ok(aws::ListEntitiesForPolicyResponse {
        policy_groups: Some(Vec::new()),
        policy_users: Some(users),
        policy_roles: Some(roles),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}
