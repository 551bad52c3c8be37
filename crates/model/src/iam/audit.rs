//! What must hold of any directory, looked for anew.

use super::{Directory, Permissions};
use std::collections::BTreeMap;

/// What is wrong, in words for an operator; empty if nothing is. No secret is looked into.
pub fn audit(directory: &Directory) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in directory.access_keys().filter(|key| directory.user(&key.user).is_none()) {
        wrong.push(format!("access key {} is of user {}, who does not exist", key.id, key.user));
    }
    for policy in directory.policies() {
        if !policy.versions.is_sorted_by(|a, b| a.number < b.number) {
            wrong.push(format!("policy {}: its versions are not in order", policy.name));
        }
        if policy.version(policy.default_version).is_none() {
            wrong.push(format!("policy {}: its default version is missing", policy.name));
        }
        if policy.versions.iter().any(|version| version.number > policy.last_version) {
            wrong.push(format!("policy {}: a version is above its count", policy.name));
        }
    }
    for profile in directory.profiles() {
        if profile.role.is_some() && directory.role_of_profile(profile).is_none() {
            wrong.push(format!("instance profile {}: its role does not exist", profile.name));
        }
    }
    let users = directory.users().map(|user| ("user", &user.name, &user.permissions));
    let roles = directory.roles().map(|role| ("role", &role.name, &role.permissions));
    for (kind, name, permissions) in users.chain(roles) {
        wrong.extend(
            unknown_policies(directory, permissions)
                .map(|arn| format!("{kind} {name}: the attached policy {arn} does not exist")),
        );
    }
    wrong.extend(same_names("user", directory.users().map(|user| &*user.name)));
    wrong.extend(same_names("role", directory.roles().map(|role| &*role.name)));
    wrong.extend(same_names("policy", directory.policies().map(|policy| &*policy.name)));
    wrong.extend(same_names("instance profile", directory.profiles().map(|profile| &*profile.name)));
    wrong
}

/// Attached policies of the account that are not there. Those of AWS's are not the account's.
fn unknown_policies<'a>(
    directory: &'a Directory,
    permissions: &'a Permissions,
) -> impl Iterator<Item = &'a String> + 'a {
    let own = permissions.attached.iter().filter(|arn| !arn.starts_with("arn:aws:iam::aws:"));
    own.filter(|arn| directory.policy_by_arn(arn).is_none())
}

/// Names of one kind that differ by the case of their letters only.
fn same_names<'a>(kind: &'a str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let twice = names.filter_map(|name| {
        let other = seen.insert(name.to_ascii_lowercase(), name)?;
        Some(format!("{kind} {name} has the name of {other}"))
    });
    twice.collect()
}
