//! Giving a role away: whoever has a task or an instance act as a role needs the right to pass it there. Source: the IAM user
//! guide, "Grant a user permissions to pass a role to an AWS service".
//!
//! And giving a cluster away: a machine that joins one is told the secrets and the roles' credentials of the tasks that are placed on
//! it, so whoever lets a machine in needs the right to register one. AWS asks that of the machine's own role, which machines
//! here do not need to join.

use super::{About, Ask, input::text};
use crate::{
    api::{ec2, ecs::resolve, ssm::CLUSTER_TAG},
    context::Caller,
    roles::{self, INSTANCES, TASKS},
};
use model::{ClusterName, iam::Directory};
use serde_json::Value;
use state::Snapshot;

/// Whom the roles of lifecycle hooks are passed to. Source: "Permissions required for Lambda functions in Amazon ECS blue/green
/// deployments" in the developer guide.
const HOOKS: &str = "ecs.amazonaws.com";
/// Whom the roles of attached machines are passed to.
const ATTACHED: &str = "ssm.amazonaws.com";

/// What roles are looked up with.
struct Passing<'a> {
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    directory: &'a Directory,
    input: &'a Value,
}

pub(super) fn asks(
    snapshot: &Snapshot,
    caller: &Caller,
    (service, operation): (&str, &str),
    input: &Value,
) -> Vec<Ask> {
    let empty = Directory::default();
    let directory = snapshot.directory(caller.account()).map_or(&empty, |known| known);
    let passing = Passing { snapshot, caller, directory, input };
    let role = |member: &str, to: &str| text(input, member).map(|named| passing.role(named, to));
    match (service, operation) {
        ("ecs", "RegisterTaskDefinition") => {
            ["taskRoleArn", "executionRoleArn"].iter().filter_map(|member| role(member, TASKS)).collect()
        }
        // A service that is changed and keeps its definition is given nothing.
        ("ecs", "RunTask" | "StartTask" | "CreateTaskSet") => passing.to_tasks(),
        ("ecs", "CreateService" | "UpdateService") => {
            passing.to_tasks().into_iter().chain(passing.to_hooks()).collect()
        }
        ("iam", "AddRoleToInstanceProfile") => role("RoleName", INSTANCES).into_iter().collect(),
        ("ec2", "RunInstances") => passing.to_instances(input, true),
        ("ec2", "CreateLaunchTemplate" | "CreateLaunchTemplateVersion") => {
            // A version that is made of another says no cluster where that one does.
            let whole = text(input, "SourceVersion").is_none();
            input.get("LaunchTemplateData").map(|data| passing.to_instances(data, whole)).unwrap_or_default()
        }
        ("ssm", "CreateActivation") => {
            let joins = passing.to_attached();
            std::iter::once(joins).chain(role("IamRole", ATTACHED)).collect()
        }
        _ => Vec::new(),
    }
}

impl Passing<'_> {
    fn role(&self, named: &str, to: &str) -> Ask {
        let known = roles::find(self.directory, named);
        let arn = known.map_or_else(|| roles::arn(self.caller.account(), named), |role| role.arn());
        pass(arn, to).tagged(known.map(|role| &role.tags))
    }

    /// The roles that lifecycle hooks are given: each its own, and those of the task that it is.
    fn to_hooks(&self) -> Vec<Ask> {
        let hooks = self.input.get("deploymentConfiguration").and_then(|how| how.get("lifecycleHooks"));
        let hooks = hooks.and_then(Value::as_array).into_iter().flatten();
        let asks = hooks.flat_map(|hook| {
            let own = text(hook, "roleArn").map(|named| self.role(named, HOOKS));
            let target = text(hook, "hookTargetArn").and_then(|arn| arn.parse().ok());
            let definition = target.and_then(|arn| self.snapshot.task_definition(&arn)).map(|found| &found.spec);
            let roles = definition.map(|spec| [spec.task_role_arn.as_deref(), spec.execution_role_arn.as_deref()]);
            let of_task = roles.into_iter().flatten().flatten().map(|named| self.role(named, TASKS));
            own.into_iter().chain(of_task).collect::<Vec<_>>()
        });
        asks.collect()
    }

    /// The roles of a definition that is named, unless the request names others.
    fn to_tasks(&self) -> Vec<Ask> {
        let definition = text(self.input, "taskDefinition");
        let definition = definition.and_then(|name| resolve::task_definition(self.snapshot, &self.caller.scope, name));
        let own = definition.map(|definition| &definition.spec);
        let over = |member: &str| self.input.get("overrides").and_then(|overrides| text(overrides, member));
        let task = over("taskRoleArn").or_else(|| own?.task_role_arn.as_deref());
        let execution = over("executionRoleArn").or_else(|| own?.execution_role_arn.as_deref());
        task.into_iter().chain(execution).map(|named| self.role(named, TASKS)).collect()
    }

    /// What an instance is given: the role of its profile, and the tasks of the cluster that its user data names; `whole` if it
    /// joins `default` where they name none.
    fn to_instances(&self, data: &Value, whole: bool) -> Vec<Ask> {
        let given = data.get("IamInstanceProfile").map(|given| (text(given, "Name"), text(given, "Arn")));
        let profile = match given {
            None | Some((None, None)) => None,
            Some((name, arn)) => {
                let known = name.and_then(|name| self.directory.profile(name));
                let known = known.or_else(|| self.directory.profile_by_arn(arn?));
                let role = known.and_then(|profile| self.directory.role_of_profile(profile));
                // A profile that is empty now may hold any role later, and so may one that is not there.
                let any = || pass(roles::arn(self.caller.account(), "*"), INSTANCES);
                Some(role.map_or_else(any, |role| pass(role.arn(), INSTANCES).tagged(Some(&role.tags))))
            }
        };
        let user_data = text(data, "UserData");
        // What cannot be read is refused later.
        let cluster = ec2::cluster_of(user_data).filter(|_| whole || user_data.is_some());
        profile.into_iter().chain(cluster.map(|name| self.joins(&name))).collect()
    }

    /// The cluster whose tasks an attached machine may have: all of them, if the activation names none.
    fn to_attached(&self) -> Ask {
        let tags = super::keys::request_tags(self.input);
        let named = tags.iter().rfind(|(key, _)| key == CLUSTER_TAG);
        let named = named.and_then(|(_, name)| ClusterName::parse(name.as_str()).ok());
        named.map_or_else(|| Ask::new(REGISTER, About::Something("ecs")), |name| self.joins(&name))
    }

    fn joins(&self, cluster: &ClusterName) -> Ask {
        let scope = &self.caller.scope;
        let arn = model::ClusterArn { scope: scope.clone(), name: cluster.clone() };
        let known = self.snapshot.cluster(&arn).map(|row| &row.cluster.tags);
        Ask::of(REGISTER, arn.to_string()).tagged(known)
    }
}

/// The right to let machines into a cluster.
const REGISTER: &str = "ecs:RegisterContainerInstance";

fn pass(arn: String, to: &str) -> Ask {
    Ask::of("iam:PassRole", arn).with("iam:PassedToService", to)
}
