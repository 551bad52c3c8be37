//! Task definitions: register, deregister, describe, list, delete.

use super::resolve::{self, DefinitionName};
use super::task_definition_convert::{parse, render};
use super::{include, tags};
use crate::api::ApiError;
use crate::api::honoured::{Row, row};
use crate::api::paging::{Pages, invalid_token, limit};
use crate::context::{Caller, Context};
use crate::roles;
use model::{AccountId, Family, Region, Scope, Tags, TaskDefinition, TaskDefinitionArn, TaskDefinitionStatus};
use serde_json::Value;
use shapes::ecs as aws;
use state::{Command, CommitError, Committed, Order, Outcome, Rejected};
use std::sync::Arc;

pub(crate) const HONOURED: &[Row] = &[
    row(
        "RegisterTaskDefinition",
        &[
            "containerDefinitions.command",
            "containerDefinitions.cpu",
            "containerDefinitions.dependsOn.*",
            "containerDefinitions.disableNetworking",
            "containerDefinitions.dnsSearchDomains",
            "containerDefinitions.dnsServers",
            "containerDefinitions.dockerLabels.*",
            "containerDefinitions.dockerSecurityOptions",
            "containerDefinitions.entryPoint",
            "containerDefinitions.environment.*",
            "containerDefinitions.environmentFiles.*",
            "containerDefinitions.essential",
            "containerDefinitions.extraHosts.*",
            "containerDefinitions.firelensConfiguration.*",
            "containerDefinitions.healthCheck.*",
            "containerDefinitions.hostname",
            "containerDefinitions.image",
            "containerDefinitions.interactive",
            "containerDefinitions.links",
            "containerDefinitions.linuxParameters.capabilities.*",
            "containerDefinitions.linuxParameters.devices.*",
            "containerDefinitions.linuxParameters.initProcessEnabled",
            "containerDefinitions.linuxParameters.maxSwap",
            "containerDefinitions.linuxParameters.sharedMemorySize",
            "containerDefinitions.linuxParameters.swappiness",
            "containerDefinitions.linuxParameters.tmpfs.*",
            "containerDefinitions.logConfiguration.logDriver",
            "containerDefinitions.logConfiguration.options.*",
            "containerDefinitions.logConfiguration.secretOptions.*",
            "containerDefinitions.memory",
            "containerDefinitions.memoryReservation",
            "containerDefinitions.mountPoints.*",
            "containerDefinitions.name",
            "containerDefinitions.portMappings.*",
            "containerDefinitions.privileged",
            "containerDefinitions.pseudoTerminal",
            "containerDefinitions.readonlyRootFilesystem",
            "containerDefinitions.repositoryCredentials.*",
            "containerDefinitions.resourceRequirements.type",
            "containerDefinitions.resourceRequirements.value",
            "containerDefinitions.secrets.*",
            "containerDefinitions.restartPolicy.*",
            "containerDefinitions.startTimeout",
            "containerDefinitions.stopTimeout",
            "containerDefinitions.systemControls.*",
            "containerDefinitions.ulimits.*",
            "containerDefinitions.user",
            "containerDefinitions.versionConsistency",
            "containerDefinitions.volumesFrom.*",
            "containerDefinitions.workingDirectory",
            "cpu",
            "ephemeralStorage.sizeInGiB",
            "executionRoleArn",
            "family",
            "ipcMode",
            "memory",
            "networkMode",
            "pidMode",
            "placementConstraints.*",
            "requiresCompatibilities",
            "runtimePlatform.*",
            "tags.*",
            "taskRoleArn",
            "volumes.configuredAtLaunch",
            "volumes.dockerVolumeConfiguration.*",
            "volumes.efsVolumeConfiguration.*",
            "volumes.host.*",
            "volumes.name",
        ],
    ),
    row("DeregisterTaskDefinition", &["taskDefinition"]),
    row("DescribeTaskDefinition", &["include", "taskDefinition"]),
    row("ListTaskDefinitions", &["familyPrefix", "maxResults", "nextToken", "sort", "status"]),
    row("ListTaskDefinitionFamilies", &["familyPrefix", "maxResults", "nextToken", "status"]),
    row("DeleteTaskDefinitions", &["taskDefinitions"]),
];

/// Items of one page of either list.
const MAX_LISTED: usize = 100;
/// Revisions of one DeleteTaskDefinitions. Source: the model's documentation.
const MAX_DELETED: usize = 10;

const UNKNOWN: &str =
    "The specified task definition does not exist. Specify a valid account, family, revision and try again.";
const MALFORMED: &str =
    "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.";
const STILL_ACTIVE: &str =
    "The specified task definition is still in ACTIVE status. Please deregister the target and try again.";

pub(crate) async fn register(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::RegisterTaskDefinitionRequest,
) -> Result<aws::RegisterTaskDefinitionResponse, ApiError> {
    let tags = tags::parse(request.tags.take())?;
    let spec = parse(request)?;
    for named in spec.task_role_arn.iter().chain(&spec.execution_role_arn) {
        if !roles::is_valid(caller.account(), named) {
            // Source: RegisterTaskDefinition's users.
            return Err(ApiError::client("Role is not valid"));
        }
    }
    let command = Command::RegisterTaskDefinition {
        scope: caller.scope.clone(),
        spec: Arc::new(spec),
        tags,
        registered_by: caller.principal.clone(),
        at: ctx.effects.now(),
    };
    let committed = ctx.store.commit(command).await?;
    let definition = definition(&committed)?;
    let tags = tags::render(&definition.tags);
    Ok(aws::RegisterTaskDefinitionResponse {
        task_definition: Some(render(definition)),
        tags: (!tags.is_empty()).then_some(tags),
    })
}

/// How what `register` commits would be shown, but for its tags.
pub(crate) fn shown(mut request: aws::RegisterTaskDefinitionRequest) -> Result<Value, ApiError> {
    tags::parse(request.tags.take())?;
    let spec = parse(request)?;
    let scope = Scope {
        account: AccountId::parse("000000000000").expect("twelve digits"),
        region: Region::parse("us-east-1").expect("a region"),
    };
    let shown = render(&TaskDefinition {
        arn: TaskDefinitionArn { scope, family: spec.family.clone(), revision: 1 },
        spec: Arc::new(spec),
        status: TaskDefinitionStatus::Active,
        registered_at: model::Timestamp(0),
        registered_by: String::new(),
        deregistered_at: None,
        delete_requested_at: None,
        tags: Tags::default(),
    });
    Ok(wire::to_value(&shown))
}

fn definition(committed: &Committed) -> Result<&TaskDefinition, ApiError> {
    let Outcome::TaskDefinition(definition) = &committed.outcome else {
        return Err(ApiError::server("a task definition's command was answered with something else"));
    };
    Ok(definition)
}

pub(crate) async fn deregister(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeregisterTaskDefinitionRequest,
) -> Result<aws::DeregisterTaskDefinitionResponse, ApiError> {
    let arn = revision(caller, &request.task_definition.unwrap_or_default())?;
    match ctx.store.commit(Command::DeregisterTaskDefinition { arn, at: ctx.effects.now() }).await {
        Ok(committed) => {
            Ok(aws::DeregisterTaskDefinitionResponse { task_definition: Some(render(definition(&committed)?)) })
        }
        Err(CommitError::Rejected(Rejected::TaskDefinitionNotFound(_))) => {
            Err(ApiError::client("The specified task definition does not exist."))
        }
        Err(error) => Err(error.into()),
    }
}

/// A name that must say which revision it means.
fn revision(caller: &Caller, given: &str) -> Result<TaskDefinitionArn, ApiError> {
    match resolve::definition_name(&caller.scope, given) {
        DefinitionName::Revision(arn) if arn.scope == caller.scope => Ok(arn),
        DefinitionName::Revision(_) => Err(ApiError::client("The specified task definition does not exist.")),
        DefinitionName::Latest(_) => Err(ApiError::invalid("Invalid revision number. Number: ")),
        DefinitionName::BadRevision(number) => {
            Err(ApiError::invalid(format!("Invalid revision number. Number: {number}")))
        }
        DefinitionName::Malformed => Err(ApiError::invalid(MALFORMED)),
    }
}

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeTaskDefinitionRequest,
) -> Result<aws::DescribeTaskDefinitionResponse, ApiError> {
    let name = request.task_definition.unwrap_or_default();
    let snapshot = ctx.store.snapshot();
    let found = resolve::task_definition(&snapshot, &caller.scope, &name);
    let definition = found.ok_or_else(|| ApiError::client("Unable to describe task definition."))?;
    let shows_tags = include(request.include).iter().any(|what| what == "TAGS");
    Ok(aws::DescribeTaskDefinitionResponse {
        task_definition: Some(render(definition)),
        tags: Some(if shows_tags { tags::render(&definition.tags) } else { Vec::new() }),
    })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTaskDefinitionsRequest,
) -> Result<aws::ListTaskDefinitionsResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let status = match request.status.as_deref() {
        None | Some("" | "ACTIVE") => TaskDefinitionStatus::Active,
        Some("INACTIVE") => TaskDefinitionStatus::Inactive,
        Some("DELETE_IN_PROGRESS") => TaskDefinitionStatus::DeleteInProgress,
        Some(other) => return Err(ApiError::invalid(format!("Invalid status '{other}'."))),
    };
    let (order, list) = match request.sort.as_deref() {
        None | Some("" | "ASC") => (Order::Ascending, "ListTaskDefinitions ASC"),
        Some("DESC") => (Order::Descending, "ListTaskDefinitions DESC"),
        Some(other) => return Err(ApiError::invalid(format!("Invalid sort '{other}'."))),
    };
    let pages = Pages::of(list, &caller.scope);
    let after = pages.cursor(request.next_token.as_deref())?.map(|cursor| position(&cursor)).transpose()?;
    let none = aws::ListTaskDefinitionsResponse { task_definition_arns: Some(Vec::new()), next_token: None };
    // AWS: the "prefix" is the whole name of the family. A text that is no name has no revisions.
    let family = match request.family_prefix.as_deref().filter(|name| !name.is_empty()).map(Family::parse) {
        None => None,
        Some(Ok(family)) => Some(family),
        Some(Err(_)) => return Ok(none),
    };
    let snapshot = ctx.store.snapshot();
    let behind = after.as_ref().map(|(family, revision)| (family, *revision));
    let all = snapshot.task_definitions(&caller.scope, family.as_ref(), status, order, behind);
    let (page, next_token) = pages.cut(all, limit, |one| format!("{}:{}", one.arn.family, one.arn.revision));
    let arns = page.iter().map(|one| one.arn.to_string()).collect();
    Ok(aws::ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
}

fn position(cursor: &str) -> Result<(Family, u32), ApiError> {
    let (family, revision) = cursor.split_once(':').ok_or_else(invalid_token)?;
    let family = Family::parse(family).map_err(|_| invalid_token())?;
    Ok((family, revision.parse().map_err(|_| invalid_token())?))
}

pub(crate) fn families(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTaskDefinitionFamiliesRequest,
) -> Result<aws::ListTaskDefinitionFamiliesResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    // Whether a family with and one without ACTIVE revisions is shown. AWS: both, by default.
    let (active, inactive) = match request.status.as_deref() {
        None | Some("" | "ALL") => (true, true),
        Some("ACTIVE") => (true, false),
        Some("INACTIVE") => (false, true),
        Some(other) => return Err(ApiError::invalid(format!("Invalid status '{other}'."))),
    };
    let prefix = request.family_prefix.as_deref().unwrap_or_default();
    let pages = Pages::of("ListTaskDefinitionFamilies", &caller.scope);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(Family::parse).transpose().map_err(|_| invalid_token())?;
    let snapshot = ctx.store.snapshot();
    let visible = |row: &state::FamilyRow| {
        let kept = row.revisions().any(|r| r.definition.status != TaskDefinitionStatus::DeleteInProgress);
        kept && if row.active > 0 { active } else { inactive }
    };
    let all = snapshot.families(&caller.scope, after.as_ref());
    let all = all.filter(|(name, row)| name.as_str().starts_with(prefix) && visible(row)).map(|(name, _)| name);
    let (page, next_token) = pages.cut(all, limit, |name| name.to_string());
    let families = page.into_iter().map(ToString::to_string).collect();
    Ok(aws::ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

pub(crate) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteTaskDefinitionsRequest,
) -> Result<aws::DeleteTaskDefinitionsResponse, ApiError> {
    let named = request.task_definitions.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("size of TaskDefinition references list must be greater than 0"));
    }
    if named.len() > MAX_DELETED {
        return Err(ApiError::invalid("Size of TaskDefinition references list cannot exceed 10"));
    }
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match delete_one(ctx, caller, &name).await? {
            Ok(definition) => deleted.push(definition),
            Err(reason) => {
                failures.push(aws::Failure { arn: Some(name), reason: Some(reason.to_owned()), detail: None })
            }
        }
    }
    Ok(aws::DeleteTaskDefinitionsResponse { task_definitions: Some(deleted), failures: Some(failures) })
}

/// Each is a decision of its own: the inner error is its reason in `failures[]`.
async fn delete_one(
    ctx: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Result<aws::TaskDefinition, &'static str>, ApiError> {
    let arn = match resolve::definition_name(&caller.scope, name) {
        DefinitionName::Revision(arn) if arn.scope == caller.scope => arn,
        DefinitionName::Revision(_) => return Ok(Err(UNKNOWN)),
        DefinitionName::Latest(_) | DefinitionName::BadRevision(_) | DefinitionName::Malformed => {
            return Ok(Err(MALFORMED));
        }
    };
    match ctx.store.commit(Command::DeleteTaskDefinition { arn, at: ctx.effects.now() }).await {
        Ok(committed) => Ok(Ok(render(definition(&committed)?))),
        Err(CommitError::Rejected(Rejected::TaskDefinitionNotFound(_))) => Ok(Err(UNKNOWN)),
        Err(CommitError::Rejected(Rejected::TaskDefinitionStillActive(_))) => Ok(Err(STILL_ACTIVE)),
        Err(error) => Err(error.into()),
    }
}
