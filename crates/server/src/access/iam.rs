//! What operations of IAM are about: users, roles, policies and instance profiles, by ARNs that hold their paths.

use super::{Ask, input::text};
use crate::{api::iam::linked, context::Caller, identity::Identity};
use model::{
    Tags,
    iam::{Directory, managed},
};
use serde_json::Value;
use state::Snapshot;

/// What is asked about, with its tags where it is known.
type Found<'a> = (String, Option<&'a Tags>);

pub(super) fn asks(snapshot: &Snapshot, caller: &Caller, action: &str, operation: &str, input: &Value) -> Vec<Ask> {
    let empty = Directory::default();
    let directory = snapshot.directory(caller.account()).map_or(&empty, |known| known);
    let arn = |rest: &str| format!("arn:aws:iam::{}:{rest}", caller.account());
    let path = |member: &str| text(input, member).unwrap_or("/").to_owned();
    let found: Option<Found<'_>> = match operation {
        "CreateUser" | "CreateRole" | "CreatePolicy" | "CreateInstanceProfile" => {
            let (kind, member) = made(operation);
            text(input, member).map(|name| (arn(&format!("{kind}{}{name}", path("Path"))), None))
        }
        "CreateServiceLinkedRole" => {
            let service = text(input, "AWSServiceName").unwrap_or_default();
            let suffix = text(input, "CustomSuffix").map(|suffix| format!("_{suffix}")).unwrap_or_default();
            let name = linked::role_name(service).unwrap_or_default();
            Some((arn(&format!("role/aws-service-role/{service}/{name}{suffix}")), None))
        }
        "GetServiceLinkedRoleDeletionStatus" => {
            let role = text(input, "DeletionTaskId").and_then(|id| id.strip_prefix("task/")?.rsplit_once('/'));
            role.map(|(role, _)| (arn(&format!("role/{role}")), None))
        }
        "ListUsers" => Some((arn(&format!("user{}", path("PathPrefix"))), None)),
        "ListRoles" => Some((arn(&format!("role{}", path("PathPrefix"))), None)),
        "ListInstanceProfiles" => Some((arn(&format!("instance-profile{}", path("PathPrefix"))), None)),
        "ListPolicies" => Some((arn(&format!("policy{}", path("PathPrefix"))), None)),
        "SimulatePrincipalPolicy" => text(input, "PolicySourceArn").map(|arn| (arn.to_owned(), None)),
        "GetAccessKeyLastUsed" => {
            let key = text(input, "AccessKeyId").and_then(|id| directory.access_key(id));
            key.map(|key| user(directory, &key.user, &arn))
        }
        _ => named(directory, caller, operation, input, &arn),
    };
    let Some((about, tags)) = found else { return Vec::new() };
    let mut ask = Ask::of(action, about).tagged(tags);
    if operation.starts_with("Attach") || operation.starts_with("Detach") {
        ask = ask.with("iam:PolicyARN", text(input, "PolicyArn").unwrap_or_default());
    }
    if let Some(service) = text(input, "AWSServiceName") {
        ask = ask.with("iam:AWSServiceName", service);
    }
    // Who gives a user another name or path needs the right to both of what he was and what he is then.
    let renamed = (operation == "UpdateUser").then(|| {
        let known = text(input, "UserName").and_then(|name| directory.user(name));
        let name = text(input, "NewUserName").or_else(|| text(input, "UserName")).unwrap_or_default();
        let path = text(input, "NewPath").or_else(|| known.map(|user| user.path.as_str())).unwrap_or("/");
        Ask::of(action, arn(&format!("user{path}{name}"))).tagged(known.map(|user| &user.tags))
    });
    std::iter::once(ask).chain(renamed).collect()
}

/// The kind of what an operation makes, and the member that names it.
fn made(operation: &str) -> (&'static str, &'static str) {
    match operation {
        "CreateUser" => ("user", "UserName"),
        "CreateRole" => ("role", "RoleName"),
        "CreatePolicy" => ("policy", "PolicyName"),
        _ => ("instance-profile", "InstanceProfileName"),
    }
}

fn user<'a>(directory: &'a Directory, name: &str, arn: &dyn Fn(&str) -> String) -> Found<'a> {
    match directory.user(name) {
        Some(user) => (user.arn(), Some(&user.tags)),
        None => (arn(&format!("user/{name}")), None),
    }
}

/// What a request names: an instance profile before the role that comes into it, a role or a user before the policy that is
/// attached to it.
fn named<'a>(
    directory: &'a Directory,
    caller: &Caller,
    operation: &str,
    input: &Value,
    arn: &dyn Fn(&str) -> String,
) -> Option<Found<'a>> {
    if let Some(name) = text(input, "InstanceProfileName") {
        return Some(match directory.profile(name) {
            Some(profile) => (profile.arn(), Some(&profile.tags)),
            None => (arn(&format!("instance-profile/{name}")), None),
        });
    }
    if let Some(name) = text(input, "RoleName") {
        return Some(match directory.role(name) {
            Some(role) => (role.arn(), Some(&role.tags)),
            None => (arn(&format!("role/{name}")), None),
        });
    }
    if let Some(name) = text(input, "UserName") {
        return Some(user(directory, name, arn));
    }
    if let Some(policy) = text(input, "PolicyArn") {
        let own = directory.policy_by_arn(policy).filter(|_| managed::find(policy).is_none());
        return Some((policy.to_owned(), own.map(|policy| &policy.tags)));
    }
    // AWS: what names no user is about the caller himself.
    let of_users = ["User", "AccessKey", "LoginProfile", "Devices", "SSHPublicKeys", "Certificates", "Credentials"];
    match &caller.identity {
        Identity::User(own) if of_users.iter().any(|kind| operation.contains(kind)) => {
            Some(user(directory, &own.name, arn))
        }
        Identity::User(_) | Identity::Root | Identity::Role(_) => None,
    }
}
