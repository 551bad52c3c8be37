//! Roles that tasks and machines take on: whether they may, and the credentials that come of it (docs/decisions/0031).
//!
//! The trust of a role is asked each time, so that one whose trust was taken back gives no more credentials.

use crate::{
    access::{self, read_policies},
    api::ApiError,
    context::Context,
    identity::{Acting, Identity},
    tokens::{Of, RoleSession},
};
use link::{Answer, RoleCredentials};
use model::{
    AccountId, LaunchType, LogDriver, Scope, Tags, Task, TaskDefinitionSpec, TaskOverrides, Timestamp,
    iam::{Directory, Role},
    policy::{Denial, Document, Keys, Kind, Presenter},
};
use state::Snapshot;
use std::sync::Arc;

/// Whom the roles of tasks trust, task roles and execution roles alike.
pub(crate) const TASKS: &str = "ecs-tasks.amazonaws.com";
/// Whom the roles in instance profiles trust.
pub(crate) const INSTANCES: &str = "ec2.amazonaws.com";

/// The role that somebody names, by its name or its ARN.
pub(crate) fn find<'a>(directory: &'a Directory, named: &str) -> Option<&'a Arc<Role>> {
    if named.starts_with("arn:") { directory.role_by_arn(named) } else { directory.role(named) }
}

/// Whether a text can name a role of the account: by its ARN or by its name.
pub(crate) fn is_valid(account: &AccountId, named: &str) -> bool {
    let is_name = |name: &str| {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
        letters && (1..=64).contains(&name.len())
    };
    match named.strip_prefix("arn:aws:iam::").map(|rest| rest.split_once(":role/")) {
        None => is_name(named),
        Some(Some((of, path))) => of == account.as_str() && path.rsplit('/').next().is_some_and(is_name),
        Some(None) => false,
    }
}

/// The ARN of a role as it was named, whether there is one or not.
pub(crate) fn arn(account: &AccountId, named: &str) -> String {
    if named.starts_with("arn:") { named.to_owned() } else { format!("arn:aws:iam::{account}:role/{named}") }
}

/// Whether a service may take a role on.
fn trusts(role: &Role, scope: &Scope, service: &str) -> bool {
    let mut keys = Keys::new();
    keys.set("aws:SourceAccount", scope.account.to_string());
    if service == TASKS {
        // AWS: against a confused deputy; narrower than this it is not said. EC2 says none for its instances.
        keys.set("aws:SourceArn", format!("arn:aws:ecs:{}:{}:*", scope.region, scope.account));
    }
    let trust = Document::parse(&role.trust, Kind::Trust);
    trust.is_ok_and(|trust| trust.trusts(Presenter::Service(service), "sts:AssumeRole", &keys).is_ok())
}

/// A role that tasks may take on.
///
/// # Errors
/// ECS's, if there is none of that name or it does not trust tasks; at its end it says which of both.
pub(crate) fn of_tasks<'a>(snapshot: &'a Snapshot, scope: &Scope, named: &str) -> Result<&'a Arc<Role>, ApiError> {
    let role = snapshot.directory(&scope.account).and_then(|directory| find(directory, named));
    let why = match role {
        Some(role) if trusts(role, scope, TASKS) => return Ok(role),
        Some(_) => format!("Its trust policy does not let {TASKS} assume it: see `aws iam update-assume-role-policy`"),
        None => format!("Account {} has no such role: see `aws iam create-role`", scope.account),
    };
    // AWS: all but the last sentence. Source: RunTask's users.
    Err(ApiError::client(format!(
        "ECS was unable to assume the role '{}' that was provided for this task. Please verify that the role being passed has \
         the proper trust relationship and permissions and that your IAM user has permissions to pass this role. {why}, and \
         docs/roles.md.",
        arn(&scope.account, named)
    )))
}

/// Whether tasks of that definition, as its overrides leave it, need their execution role: for what they are given, and on
/// Fargate for their logs. AWS: on instances, pulls and logs are the instance's own business.
pub(crate) fn needs_execution_role(spec: &TaskDefinitionSpec, launch: LaunchType) -> bool {
    let logs = spec.containers.iter().filter_map(|container| container.log_configuration.as_ref());
    let ships = logs.into_iter().any(|log| log.driver == LogDriver::Awslogs);
    spec.containers.iter().any(model::ContainerDefinition::needs_provision) || launch == LaunchType::Fargate && ships
}

/// The roles of a task, as they were named.
#[derive(Clone, Copy)]
pub(crate) struct TaskRoles<'a> {
    /// Whose credentials its containers have.
    pub(crate) task: Option<&'a str>,
    /// By which it is given what it needs to start.
    pub(crate) execution: Option<&'a str>,
}

impl<'a> TaskRoles<'a> {
    /// Those of a definition, unless who started it has named others.
    pub(crate) fn of(spec: &'a TaskDefinitionSpec, overrides: &'a TaskOverrides) -> Self {
        let one = |over: &'a Option<String>, own: &'a Option<String>| over.as_deref().or(own.as_deref());
        Self {
            task: one(&overrides.task_role_arn, &spec.task_role_arn),
            execution: one(&overrides.execution_role_arn, &spec.execution_role_arn),
        }
    }
}

/// Whether tasks can have the roles that they need.
///
/// # Errors
/// ECS's.
pub(crate) fn check(
    snapshot: &Snapshot,
    scope: &Scope,
    named: TaskRoles<'_>,
    spec: &TaskDefinitionSpec,
    launch: LaunchType,
) -> Result<(), ApiError> {
    let execution = named.execution.filter(|_| needs_execution_role(spec, launch));
    for named in named.task.into_iter().chain(execution) {
        of_tasks(snapshot, scope, named)?;
    }
    Ok(())
}

/// The credentials of a task's role.
pub(crate) fn of_task(ctx: &Context, snapshot: &Snapshot, task: &Task) -> Answer {
    let definition = snapshot.task_definition(&task.definition);
    let named = definition.and_then(|definition| TaskRoles::of(&definition.spec, &task.overrides).task);
    let Some(named) = named else { return refused("The task has no role.") };
    if !task.holds_resources() {
        return refused("The task has stopped.");
    }
    match of_tasks(snapshot, &task.arn.cluster.scope, named) {
        Ok(role) => credentials(ctx, role, task.arn.id.as_str()),
        Err(error) => refused(&error.message),
    }
}

/// The credentials of the role in an instance's profile, as that profile is now. Which machine asks is what its certificate says:
/// what a container instance is said to be is an agent's word.
pub(crate) fn of_instance(ctx: &Context, snapshot: &Snapshot, asks: &link::Identity) -> Answer {
    let scope = &asks.container_instance.cluster.scope;
    let id = asks.ec2_instance_id.as_deref();
    let profile = id.and_then(|id| snapshot.machine(scope, id)?.instance_profile.as_ref());
    let (Some(id), Some(profile)) = (id, profile) else { return refused("The instance has no profile.") };
    let Some(directory) = snapshot.directory(&scope.account) else { return refused("The account has no profiles.") };
    // One that was made anew is another one.
    let known = directory.profile_by_arn(&profile.arn).filter(|known| known.id == profile.id);
    match known.and_then(|known| directory.role_of_profile(known)) {
        Some(role) if trusts(role, scope, INSTANCES) => credentials(ctx, role, id),
        Some(role) => refused(&format!("The role {} does not trust {INSTANCES}.", role.arn())),
        None => refused(&format!("The instance profile {} has no role.", profile.arn)),
    }
}

fn credentials(ctx: &Context, role: &Role, session: &str) -> Answer {
    let of = Of::Role(session_of(role, session));
    let (issued, session) = ctx.tokens.issue(&role.account, of, ctx.config.role_credentials, &ctx.effects);
    Answer::Credentials(RoleCredentials {
        role: role.arn(),
        access_key: issued.access_key,
        secret: issued.secret,
        token: issued.token,
        issued: session.issued,
        expires: issued.expires,
    })
}

fn session_of(role: &Role, session: &str) -> RoleSession {
    RoleSession {
        role: role.name.clone(),
        id: role.id.clone(),
        name: session.to_owned(),
        policy: None,
        policy_arns: Vec::new(),
        source_identity: None,
    }
}

fn refused(why: &str) -> Answer {
    Answer::Refused { status: 400, code: "ClientException".to_owned(), message: why.to_owned() }
}

/// Somebody who acts as a role for a moment: what the role may do, and how a refusal names him.
pub(crate) struct Actor<'a> {
    role: &'a Role,
    directory: &'a Directory,
    arn: String,
    known: Keys,
}

impl<'a> Actor<'a> {
    /// One session of a role, at a place, that begins now.
    pub(crate) fn new(
        role: &'a Arc<Role>,
        directory: &'a Directory,
        scope: &Scope,
        session: &str,
        now: Timestamp,
    ) -> Self {
        let session = Arc::new(session_of(role, session));
        let arn = session.arn(&role.account);
        let identity = Identity::Role(Acting { role: role.clone(), session, since: now });
        let mut known = access::known_of_anybody(scope, &identity, now);
        // It goes over no wire.
        known.set("aws:SecureTransport", "true");
        Self { role, directory, arn, known }
    }

    /// Whether the role may do something to a resource, by all of its ARNs, the one to be told first, that has those tags.
    ///
    /// # Errors
    /// It may not; AWS's words for that.
    pub(crate) fn may(&self, action: &str, arns: &[&str], tags: Option<&Tags>) -> Result<(), String> {
        // A policy that was put and can no longer be read may have been one that denies.
        let documents = read_policies(self.role.permissions.documents(self.directory).collect());
        let judged = |documents: Vec<Document>| access::judge_one(&documents, (action, arns, tags), &self.known);
        let verdict = documents.map_or(Err(Denial::Explicit), judged);
        verdict.map_err(|denial| {
            let why = match denial {
                Denial::Explicit => "with an explicit deny in an identity-based policy".to_owned(),
                Denial::NotAllowed => format!("because no identity-based policy allows the {action} action"),
            };
            let resource = arns.first().copied().unwrap_or("*");
            format!("User: {} is not authorized to perform: {action} on resource: {resource} {why}", self.arn)
        })
    }
}
