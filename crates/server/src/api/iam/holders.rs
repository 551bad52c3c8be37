//! What users and roles may do: their own policies, and those that are attached. The same for both but for the names.

use super::{change, encoded, is_below, page, seen, text};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::iam::{Holder, managed};
use shapes::iam as aws;
use wire::NoOutput;

/// What one asks of a list.
type Asked<'a> = (Option<&'a String>, Option<i32>);

async fn put(
    ctx: &Context,
    caller: &Caller,
    holder: Holder<'_>,
    name: Option<&String>,
    document: Option<&String>,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.put_inline(holder, text(name), text(document))).await?;
    Ok(NoOutput {})
}

async fn delete(
    ctx: &Context,
    caller: &Caller,
    holder: Holder<'_>,
    name: Option<&String>,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.delete_inline(holder, text(name))).await?;
    Ok(NoOutput {})
}

async fn attach(
    ctx: &Context,
    caller: &Caller,
    holder: Holder<'_>,
    arn: Option<&String>,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.attach(holder, text(arn))).await?;
    Ok(NoOutput {})
}

async fn detach(
    ctx: &Context,
    caller: &Caller,
    holder: Holder<'_>,
    arn: Option<&String>,
) -> Result<NoOutput, ApiError> {
    change(ctx, caller, |edit| edit.detach(holder, text(arn))).await?;
    Ok(NoOutput {})
}

fn document(ctx: &Context, caller: &Caller, holder: Holder<'_>, name: &str) -> Result<Option<String>, ApiError> {
    let directory = seen(ctx, caller);
    Ok(encoded(directory.permissions(holder)?.inline_policy(holder, name)?))
}

fn names(
    ctx: &Context,
    caller: &Caller,
    (list, holder): (&'static str, Holder<'_>),
    asked: Asked<'_>,
) -> Result<page::Page<String>, ApiError> {
    let directory = seen(ctx, caller);
    let names = directory.permissions(holder)?.inline.keys().cloned();
    page::cut(caller, (list, holder.name()), names, asked, Clone::clone)
}

fn attached(
    ctx: &Context,
    caller: &Caller,
    (list, holder): (&'static str, Holder<'_>),
    prefix: Option<&String>,
    asked: Asked<'_>,
) -> Result<page::Page<aws::AttachedPolicy>, ApiError> {
    let directory = seen(ctx, caller);
    let below = |arn: &&String| {
        let path = managed::find(arn).map(|policy| policy.path.to_owned());
        let path = path.or_else(|| Some(directory.policy_by_arn(arn)?.path.clone()));
        path.is_some_and(|path| is_below(&path, prefix.map(String::as_str)))
    };
    let policies = directory.permissions(holder)?.attached.iter().filter(below);
    let page = page::cut(caller, (list, holder.name()), policies, asked, |arn| (*arn).clone())?;
    let shown = page.items.into_iter().map(|arn| aws::AttachedPolicy {
        policy_name: arn.rsplit('/').next().map(str::to_owned),
        policy_arn: Some(arn.clone()),
    });
    Ok(page::Page { items: shown.collect(), is_truncated: page.is_truncated, marker: page.marker })
}

macro_rules! of_holder {
    ($holder:ident, $name:ident, {
        $put:ident($put_request:ident), $get:ident($get_request:ident, $get_response:ident),
        $delete:ident($delete_request:ident), $list:ident($list_request:ident, $list_response:ident, $list_name:literal),
        $attach:ident($attach_request:ident), $detach:ident($detach_request:ident),
        $attached:ident($attached_request:ident, $attached_response:ident, $attached_name:literal),
    }) => {
        pub(super) async fn $put(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$put_request,
        ) -> Result<NoOutput, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            put(ctx, caller, holder, request.policy_name.as_ref(), request.policy_document.as_ref()).await
        }

        pub(super) fn $get(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$get_request,
        ) -> Result<aws::$get_response, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            Ok(aws::$get_response {
                policy_document: document(ctx, caller, holder, text(request.policy_name.as_ref()))?,
                policy_name: request.policy_name.clone(),
                $name: request.$name.clone(),
            })
        }

        pub(super) async fn $delete(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$delete_request,
        ) -> Result<NoOutput, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            delete(ctx, caller, holder, request.policy_name.as_ref()).await
        }

        pub(super) fn $list(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$list_request,
        ) -> Result<aws::$list_response, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            let page = names(ctx, caller, ($list_name, holder), (request.marker.as_ref(), request.max_items))?;
            let (is_truncated, marker) = (page.is_truncated, page.marker);
            Ok(aws::$list_response { policy_names: Some(page.items), is_truncated, marker })
        }

        pub(super) async fn $attach(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$attach_request,
        ) -> Result<NoOutput, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            attach(ctx, caller, holder, request.policy_arn.as_ref()).await
        }

        pub(super) async fn $detach(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$detach_request,
        ) -> Result<NoOutput, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            detach(ctx, caller, holder, request.policy_arn.as_ref()).await
        }

        pub(super) fn $attached(
            ctx: &Context,
            caller: &Caller,
            request: &aws::$attached_request,
        ) -> Result<aws::$attached_response, ApiError> {
            let holder = Holder::$holder(text(request.$name.as_ref()));
            let asked = (request.marker.as_ref(), request.max_items);
            let page = attached(ctx, caller, ($attached_name, holder), request.path_prefix.as_ref(), asked)?;
            let (is_truncated, marker) = (page.is_truncated, page.marker);
            Ok(aws::$attached_response { attached_policies: Some(page.items), is_truncated, marker })
        }
    };
}

of_holder!(Role, role_name, {
    put_role(PutRolePolicyRequest), get_role(GetRolePolicyRequest, GetRolePolicyResponse),
    delete_role(DeleteRolePolicyRequest), list_role(ListRolePoliciesRequest, ListRolePoliciesResponse, "ListRolePolicies"),
    attach_role(AttachRolePolicyRequest), detach_role(DetachRolePolicyRequest),
    attached_role(ListAttachedRolePoliciesRequest, ListAttachedRolePoliciesResponse, "ListAttachedRolePolicies"),
});
of_holder!(User, user_name, {
    put_user(PutUserPolicyRequest), get_user(GetUserPolicyRequest, GetUserPolicyResponse),
    delete_user(DeleteUserPolicyRequest), list_user(ListUserPoliciesRequest, ListUserPoliciesResponse, "ListUserPolicies"),
    attach_user(AttachUserPolicyRequest), detach_user(DetachUserPolicyRequest),
    attached_user(ListAttachedUserPoliciesRequest, ListAttachedUserPoliciesResponse, "ListAttachedUserPolicies"),
});
