//! Giving a role away: whoever has a task or an instance act as a role needs the right to pass it there. Source: the IAM user
//! guide, "Grant a user permissions to pass a role to an AWS service".

use super::{Ask, input::text};
use crate::{
    api::ecs::resolve,
    context::Caller,
    roles::{self, INSTANCES, TASKS},
};
use model::iam::Directory;
use serde_json::Value;
use state::Snapshot;

pub(super) fn asks(
    snapshot: &Snapshot,
    caller: &Caller,
    (service, operation): (&str, &str),
    input: &Value,
) -> Vec<Ask> {
    let empty = Directory::default();
    let directory = snapshot.directory(caller.account()).map_or(&empty, |known| known);
    let ask = |arn: String, service: &str| Ask::of("iam:PassRole", arn).with("iam:PassedToService", service);
    let role = |named: &str| {
        let known = roles::find(directory, named).map(|role| role.arn());
        ask(known.unwrap_or_else(|| roles::arn(caller.account(), named)), TASKS)
    };
    let profile = |input: Option<&Value>| {
        let given = input.and_then(|input| input.get("IamInstanceProfile"));
        let known = given.and_then(|given| match (text(given, "Name"), text(given, "Arn")) {
            (Some(name), _) => directory.profile(name),
            (None, arn) => directory.profile_by_arn(arn?),
        });
        let known = known.and_then(|profile| directory.role_of_profile(profile));
        known.map(|role| ask(role.arn(), INSTANCES)).into_iter().collect()
    };
    match (service, operation) {
        ("ecs", "RegisterTaskDefinition") => {
            ["taskRoleArn", "executionRoleArn"].iter().filter_map(|member| text(input, member)).map(role).collect()
        }
        ("ecs", "RunTask" | "StartTask") => {
            let definition = text(input, "taskDefinition");
            let definition = definition.and_then(|name| resolve::task_definition(snapshot, &caller.scope, name));
            let own = definition.map(|definition| &definition.spec);
            let over = |member: &str| input.get("overrides").and_then(|overrides| text(overrides, member));
            let task = over("taskRoleArn").or_else(|| own?.task_role_arn.as_deref());
            let execution = over("executionRoleArn").or_else(|| own?.execution_role_arn.as_deref());
            task.into_iter().chain(execution).map(role).collect()
        }
        ("ec2", "RunInstances") => profile(Some(input)),
        ("ec2", "CreateLaunchTemplate" | "CreateLaunchTemplateVersion") => profile(input.get("LaunchTemplateData")),
        _ => Vec::new(),
    }
}
