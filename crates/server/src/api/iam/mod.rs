//! IAM: users with their access keys, roles, policies and instance profiles of an account. Laws are the model's (`model::iam`);
//! what policies allow is enforced in `crate::access`.
//!
//! One directory per account, whatever region a request is signed for. Deliberately absent, and refused by name: groups,
//! permissions boundaries, passwords, second factors, certificates and identity providers; what clients ask of these before
//! they delete a user is answered with nothing.

mod absent;
mod holders;
mod keys;
pub(crate) mod linked;
mod page;
mod policies;
mod profiles;
mod roles;
mod simulate;
mod tags;
mod users;
mod versions;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm, read,
};
use crate::context::{Caller, Context};
use model::iam::{Directory, Edit, Refusal};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use state::{Command, CommitError, IamChange, Rejected};
use std::sync::Arc;

pub(crate) const HONOURED: &[Row] = &[
    row("AddRoleToInstanceProfile", &["InstanceProfileName", "RoleName"]),
    row("AttachRolePolicy", &["PolicyArn", "RoleName"]),
    row("AttachUserPolicy", &["PolicyArn", "UserName"]),
    row("CreateAccessKey", &["UserName"]),
    row("CreateInstanceProfile", &["InstanceProfileName", "Path", "Tags.*"]),
    row("CreatePolicy", &["Description", "Path", "PolicyDocument", "PolicyName", "Tags.*"]),
    row("CreatePolicyVersion", &["PolicyArn", "PolicyDocument", "SetAsDefault"]),
    row("CreateRole", &["AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName", "Tags.*"]),
    row("CreateServiceLinkedRole", &["AWSServiceName", "CustomSuffix", "Description"]),
    row("CreateUser", &["Path", "Tags.*", "UserName"]),
    row("DeleteAccessKey", &["AccessKeyId", "UserName"]),
    row("DeleteInstanceProfile", &["InstanceProfileName"]),
    row("DeleteLoginProfile", &["UserName"]),
    row("DeletePolicy", &["PolicyArn"]),
    row("DeletePolicyVersion", &["PolicyArn", "VersionId"]),
    row("DeleteRole", &["RoleName"]),
    row("DeleteRolePolicy", &["PolicyName", "RoleName"]),
    row("DeleteServiceLinkedRole", &["RoleName"]),
    row("DeleteUser", &["UserName"]),
    row("DeleteUserPolicy", &["PolicyName", "UserName"]),
    row("DetachRolePolicy", &["PolicyArn", "RoleName"]),
    row("DetachUserPolicy", &["PolicyArn", "UserName"]),
    row("GetAccessKeyLastUsed", &["AccessKeyId"]),
    row("GetInstanceProfile", &["InstanceProfileName"]),
    row("GetLoginProfile", &["UserName"]),
    row("GetPolicy", &["PolicyArn"]),
    row("GetPolicyVersion", &["PolicyArn", "VersionId"]),
    row("GetRole", &["RoleName"]),
    row("GetRolePolicy", &["PolicyName", "RoleName"]),
    row("GetServiceLinkedRoleDeletionStatus", &["DeletionTaskId"]),
    row("GetUser", &["UserName"]),
    row("GetUserPolicy", &["PolicyName", "UserName"]),
    row("ListAccessKeys", &["Marker", "MaxItems", "UserName"]),
    row("ListAccountAliases", &["Marker", "MaxItems"]),
    row("ListAttachedRolePolicies", &["Marker", "MaxItems", "PathPrefix", "RoleName"]),
    row("ListAttachedUserPolicies", &["Marker", "MaxItems", "PathPrefix", "UserName"]),
    row("ListEntitiesForPolicy", &["EntityFilter", "Marker", "MaxItems", "PathPrefix", "PolicyArn"]),
    row("ListGroupsForUser", &["Marker", "MaxItems", "UserName"]),
    row("ListInstanceProfileTags", &["InstanceProfileName", "Marker", "MaxItems"]),
    row("ListInstanceProfiles", &["Marker", "MaxItems", "PathPrefix"]),
    row("ListInstanceProfilesForRole", &["Marker", "MaxItems", "RoleName"]),
    row("ListMFADevices", &["Marker", "MaxItems", "UserName"]),
    row("ListPolicies", &["Marker", "MaxItems", "OnlyAttached", "PathPrefix", "Scope"]),
    row("ListPolicyTags", &["Marker", "MaxItems", "PolicyArn"]),
    row("ListPolicyVersions", &["Marker", "MaxItems", "PolicyArn"]),
    row("ListRolePolicies", &["Marker", "MaxItems", "RoleName"]),
    row("ListRoleTags", &["Marker", "MaxItems", "RoleName"]),
    row("ListRoles", &["Marker", "MaxItems", "PathPrefix"]),
    row("ListSSHPublicKeys", &["Marker", "MaxItems", "UserName"]),
    row("ListServiceSpecificCredentials", &["AllUsers", "Marker", "MaxItems", "ServiceName", "UserName"]),
    row("ListSigningCertificates", &["Marker", "MaxItems", "UserName"]),
    row("ListUserPolicies", &["Marker", "MaxItems", "UserName"]),
    row("ListUserTags", &["Marker", "MaxItems", "UserName"]),
    row("ListUsers", &["Marker", "MaxItems", "PathPrefix"]),
    row("ListVirtualMFADevices", &["AssignmentStatus", "Marker", "MaxItems"]),
    row("PutRolePolicy", &["PolicyDocument", "PolicyName", "RoleName"]),
    row("PutUserPolicy", &["PolicyDocument", "PolicyName", "UserName"]),
    row("RemoveRoleFromInstanceProfile", &["InstanceProfileName", "RoleName"]),
    row("SetDefaultPolicyVersion", &["PolicyArn", "VersionId"]),
    row(
        "SimulatePrincipalPolicy",
        &[
            "ActionNames",
            "ContextEntries.*",
            "Marker",
            "MaxItems",
            "PolicyInputList",
            "PolicySourceArn",
            "ResourceArns",
        ],
    ),
    row("TagInstanceProfile", &["InstanceProfileName", "Tags.*"]),
    row("TagPolicy", &["PolicyArn", "Tags.*"]),
    row("TagRole", &["RoleName", "Tags.*"]),
    row("TagUser", &["Tags.*", "UserName"]),
    row("UntagInstanceProfile", &["InstanceProfileName", "TagKeys"]),
    row("UntagPolicy", &["PolicyArn", "TagKeys"]),
    row("UntagRole", &["RoleName", "TagKeys"]),
    row("UntagUser", &["TagKeys", "UserName"]),
    row("UpdateAccessKey", &["AccessKeyId", "Status", "UserName"]),
    row("UpdateAssumeRolePolicy", &["PolicyDocument", "RoleName"]),
    row("UpdateRole", &["Description", "MaxSessionDuration", "RoleName"]),
    row("UpdateRoleDescription", &["Description", "RoleName"]),
    row("UpdateUser", &["NewPath", "NewUserName", "UserName"]),
];

/// Answers one operation of IAM.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateUser" => answer(users::create(ctx, caller, read(input)?).await),
        "GetUser" => answer(users::get(ctx, caller, &read(input)?)),
        "ListUsers" => answer(users::list(ctx, caller, &read(input)?)),
        "UpdateUser" => answer(users::update(ctx, caller, &read(input)?).await),
        "DeleteUser" => answer(users::delete(ctx, caller, &read(input)?).await),
        "CreateAccessKey" => answer(keys::create(ctx, caller, read(input)?).await),
        "ListAccessKeys" => answer(keys::list(ctx, caller, &read(input)?)),
        "UpdateAccessKey" => answer(keys::update(ctx, caller, read(input)?).await),
        "DeleteAccessKey" => answer(keys::delete(ctx, caller, read(input)?).await),
        "GetAccessKeyLastUsed" => answer(keys::last_used(ctx, caller, &read(input)?)),
        "CreateRole" => answer(roles::create(ctx, caller, read(input)?).await),
        "GetRole" => answer(roles::get(ctx, caller, &read(input)?)),
        "ListRoles" => answer(roles::list(ctx, caller, &read(input)?)),
        "UpdateRole" => answer(roles::update(ctx, caller, &read(input)?).await),
        "UpdateRoleDescription" => answer(roles::describe(ctx, caller, &read(input)?).await),
        "UpdateAssumeRolePolicy" => answer(roles::trust(ctx, caller, &read(input)?).await),
        "DeleteRole" => answer(roles::delete(ctx, caller, &read(input)?).await),
        "CreateServiceLinkedRole" => answer(linked::create(ctx, caller, read(input)?).await),
        "DeleteServiceLinkedRole" => answer(linked::delete(ctx, caller, &read(input)?).await),
        "GetServiceLinkedRoleDeletionStatus" => answer(linked::status(&read(input)?)),
        "SimulatePrincipalPolicy" => answer(simulate::principal(ctx, caller, read(input)?)),
        other => about_policies(ctx, caller, other, input).await,
    }
}

async fn about_policies(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "PutRolePolicy" => answer(holders::put_role(ctx, caller, &read(input)?).await),
        "PutUserPolicy" => answer(holders::put_user(ctx, caller, &read(input)?).await),
        "GetRolePolicy" => answer(holders::get_role(ctx, caller, &read(input)?)),
        "GetUserPolicy" => answer(holders::get_user(ctx, caller, &read(input)?)),
        "DeleteRolePolicy" => answer(holders::delete_role(ctx, caller, &read(input)?).await),
        "DeleteUserPolicy" => answer(holders::delete_user(ctx, caller, &read(input)?).await),
        "ListRolePolicies" => answer(holders::list_role(ctx, caller, &read(input)?)),
        "ListUserPolicies" => answer(holders::list_user(ctx, caller, &read(input)?)),
        "AttachRolePolicy" => answer(holders::attach_role(ctx, caller, &read(input)?).await),
        "AttachUserPolicy" => answer(holders::attach_user(ctx, caller, &read(input)?).await),
        "DetachRolePolicy" => answer(holders::detach_role(ctx, caller, &read(input)?).await),
        "DetachUserPolicy" => answer(holders::detach_user(ctx, caller, &read(input)?).await),
        "ListAttachedRolePolicies" => answer(holders::attached_role(ctx, caller, &read(input)?)),
        "ListAttachedUserPolicies" => answer(holders::attached_user(ctx, caller, &read(input)?)),
        "CreatePolicy" => answer(policies::create(ctx, caller, read(input)?).await),
        "GetPolicy" => answer(policies::get(ctx, caller, &read(input)?)),
        "ListPolicies" => answer(policies::list(ctx, caller, &read(input)?)),
        "DeletePolicy" => answer(policies::delete(ctx, caller, &read(input)?).await),
        "ListEntitiesForPolicy" => answer(policies::entities(ctx, caller, &read(input)?)),
        "CreatePolicyVersion" => answer(versions::create(ctx, caller, &read(input)?).await),
        "GetPolicyVersion" => answer(versions::get(ctx, caller, &read(input)?)),
        "ListPolicyVersions" => answer(versions::list(ctx, caller, &read(input)?)),
        "DeletePolicyVersion" => answer(versions::delete(ctx, caller, &read(input)?).await),
        "SetDefaultPolicyVersion" => answer(versions::set_default(ctx, caller, &read(input)?).await),
        other => about_profiles(ctx, caller, other, input).await,
    }
}

async fn about_profiles(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateInstanceProfile" => answer(profiles::create(ctx, caller, read(input)?).await),
        "GetInstanceProfile" => answer(profiles::get(ctx, caller, &read(input)?)),
        "ListInstanceProfiles" => answer(profiles::list(ctx, caller, &read(input)?)),
        "ListInstanceProfilesForRole" => answer(profiles::of_role(ctx, caller, &read(input)?)),
        "DeleteInstanceProfile" => answer(profiles::delete(ctx, caller, &read(input)?).await),
        "AddRoleToInstanceProfile" => answer(profiles::add_role(ctx, caller, &read(input)?).await),
        "RemoveRoleFromInstanceProfile" => answer(profiles::remove_role(ctx, caller, &read(input)?).await),
        "TagRole" => answer(tags::tag_role(ctx, caller, read(input)?).await),
        "TagUser" => answer(tags::tag_user(ctx, caller, read(input)?).await),
        "TagPolicy" => answer(tags::tag_policy(ctx, caller, read(input)?).await),
        "TagInstanceProfile" => answer(tags::tag_profile(ctx, caller, read(input)?).await),
        "UntagRole" => answer(tags::untag_role(ctx, caller, read(input)?).await),
        "UntagUser" => answer(tags::untag_user(ctx, caller, read(input)?).await),
        "UntagPolicy" => answer(tags::untag_policy(ctx, caller, read(input)?).await),
        "UntagInstanceProfile" => answer(tags::untag_profile(ctx, caller, read(input)?).await),
        "ListRoleTags" => answer(tags::of_role(ctx, caller, &read(input)?)),
        "ListUserTags" => answer(tags::of_user(ctx, caller, &read(input)?)),
        "ListPolicyTags" => answer(tags::of_policy(ctx, caller, &read(input)?)),
        "ListInstanceProfileTags" => answer(tags::of_profile(ctx, caller, &read(input)?)),
        "ListGroupsForUser" => answer(absent::groups(ctx, caller, &read(input)?)),
        "ListMFADevices" => answer(absent::devices(ctx, caller, &read(input)?)),
        "ListSSHPublicKeys" => answer(absent::ssh_keys(ctx, caller, &read(input)?)),
        "ListServiceSpecificCredentials" => answer(absent::credentials(ctx, caller, &read(input)?)),
        "ListSigningCertificates" => answer(absent::certificates(ctx, caller, &read(input)?)),
        "ListVirtualMFADevices" => answer(Ok(absent::virtual_devices())),
        "ListAccountAliases" => answer(Ok(absent::aliases())),
        "GetLoginProfile" => answer(absent::get_login(ctx, caller, &read(input)?)),
        "DeleteLoginProfile" => answer(absent::delete_login(ctx, caller, &read(input)?)),
        other => Err(no_arm(other)),
    }
}

/// How often a change is decided anew when the directory moved under it. Each round one change has gone through.
const TRIES: usize = 64;

/// The caller's directory; an empty one where nobody has made anything.
pub(crate) fn seen(ctx: &Context, caller: &Caller) -> Arc<Directory> {
    ctx.store.snapshot().directory(caller.account()).cloned().unwrap_or_default()
}

/// Changes the caller's directory, and answers what the decision did.
async fn change<T>(
    ctx: &Context,
    caller: &Caller,
    decide: impl Fn(&mut Edit) -> Result<T, Refusal>,
) -> Result<T, ApiError> {
    for _ in 0..TRIES {
        let directory = Directory::clone(&seen(ctx, caller));
        let on = directory.version;
        let mut edit = Edit::new(directory);
        let answer = decide(&mut edit)?;
        let Some((put, remove)) = edit.finish() else { return Ok(answer) };
        let change = IamChange { account: caller.account().clone(), on, put, remove };
        match ctx.store.commit(Command::ChangeIam(Box::new(change))).await {
            Ok(_) => return Ok(answer),
            Err(CommitError::Rejected(Rejected::IamChanged(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // AWS: its own words where two change the same at once.
    let text = "Request was rejected because the directory is being changed by others; try again.";
    Err(ApiError::new("ConcurrentModification", text).with_status(409))
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string()).with_status(refusal.status())
    }
}

/// AWS: documents come back as RFC 3986 would write them in an address.
fn encoded(document: &str) -> Option<String> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    Some(utf8_percent_encode(document, RESERVED).to_string())
}

/// A moment as answers tell it.
fn time(at: model::Timestamp) -> Option<::wire::Timestamp> {
    Some(::wire::Timestamp::from_millis(at.0))
}

/// A path of a request; the root's if it names none.
fn path(given: Option<String>) -> String {
    given.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned())
}

/// Whether something is below a path.
fn is_below(path: &str, prefix: Option<&str>) -> bool {
    path.starts_with(prefix.unwrap_or("/"))
}

fn text(given: Option<&String>) -> &str {
    given.map_or("", String::as_str)
}
