//! From what a client calls a thing (a name, an id, an ARN) to the thing's ARN.

use crate::{api::ApiError, context::Caller};
use model::{
    ClusterArn, ClusterName, ContainerInstanceArn, ContainerInstanceId, Family, Pool, Scope, ServiceArn, ServiceName,
    TaskArn, TaskDefinition, TaskDefinitionArn, TaskId,
    discovery::{Discovery, Namespace, NamespaceId},
};
use state::{ClusterRow, Snapshot};
use std::sync::Arc;

/// The cluster of a request that names none.
pub(crate) const DEFAULT_CLUSTER: &str = "default";

/// Whether a cluster is none of the clients': the Fargate pool's.
pub(crate) fn is_reserved(arn: &ClusterArn) -> bool {
    match Pool::of(arn) {
        Pool::Fargate => true,
        Pool::Cluster => false,
    }
}

/// The cluster meant by a name, an ARN or nothing; it need not exist. The pool's does not, for clients.
pub(crate) fn cluster_arn(scope: &Scope, given: Option<&str>) -> Result<ClusterArn, ApiError> {
    let arn = any_cluster_arn(scope, given)?;
    if is_reserved(&arn) { Err(ApiError::cluster_not_found()) } else { Ok(arn) }
}

/// As [`cluster_arn`], of operations by which the account's root looks after instances: it is shown the pool's too.
pub(crate) fn shown_cluster_arn(caller: &Caller, given: Option<&str>) -> Result<ClusterArn, ApiError> {
    if caller.identity.is_root() { any_cluster_arn(&caller.scope, given) } else { cluster_arn(&caller.scope, given) }
}

/// As [`active_cluster`], of the same operations.
pub(crate) fn shown_cluster(snapshot: &Snapshot, caller: &Caller, given: Option<&str>) -> Result<ClusterArn, ApiError> {
    let arn = shown_cluster_arn(caller, given)?;
    active_row(snapshot, &arn)?;
    Ok(arn)
}

fn any_cluster_arn(scope: &Scope, given: Option<&str>) -> Result<ClusterArn, ApiError> {
    let given = given.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_CLUSTER);
    if given.starts_with("arn:") {
        let kind = given.splitn(6, ':').nth(5).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if kind != "cluster" {
            return Err(ApiError::invalid(format!("Unsupported resource type: {kind}")));
        }
        let arn: ClusterArn = given.parse().map_err(|_| ApiError::invalid(format!("Invalid identifier: {given}")))?;
        // AWS: a cluster of another region or account is not told apart from one that does not exist.
        return if arn.scope == *scope { Ok(arn) } else { Err(ApiError::cluster_not_found()) };
    }
    if given.contains('/') {
        return Err(ApiError::invalid("Invalid identifier: Unexpected number of separators"));
    }
    let name = ClusterName::parse(given).map_err(|error| ApiError::invalid(format!("Invalid identifier: {error}")))?;
    Ok(ClusterArn { scope: scope.clone(), name })
}

/// The cluster meant, which must exist and be ACTIVE.
pub(crate) fn active_cluster(snapshot: &Snapshot, scope: &Scope, given: Option<&str>) -> Result<ClusterArn, ApiError> {
    let arn = cluster_arn(scope, given)?;
    active_row(snapshot, &arn)?;
    Ok(arn)
}

/// The row of a cluster that must exist and be ACTIVE.
pub(crate) fn active_row<'a>(snapshot: &'a Snapshot, arn: &ClusterArn) -> Result<&'a ClusterRow, ApiError> {
    let row = snapshot.cluster(arn).ok_or_else(ApiError::cluster_not_found)?;
    match row.cluster.status {
        model::ClusterStatus::Active => Ok(row),
        model::ClusterStatus::Inactive => Err(ApiError::cluster_inactive()),
    }
}

/// The namespace of Cloud Map meant by a name or an ARN.
pub(crate) fn namespace<'a>(all: &'a Discovery, scope: &Scope, given: &str) -> Option<&'a Arc<Namespace>> {
    let prefix = format!("arn:aws:servicediscovery:{}:{}:namespace/", scope.region, scope.account);
    match given.strip_prefix(&prefix) {
        Some(id) => all.namespace(&NamespaceId::parse(id).ok()?),
        None => all.namespace_named(given),
    }
}

/// The answer where that is none.
pub(crate) fn namespace_missing(given: &str) -> ApiError {
    ApiError::new("NamespaceNotFoundException", format!("The namespace {given} does not exist."))
}

/// The instance meant by an id or an ARN; `None` if it cannot be one of that cluster.
pub(crate) fn container_instance_arn(cluster: &ClusterArn, given: &str) -> Option<ContainerInstanceArn> {
    if given.starts_with("arn:") {
        return given.parse().ok().filter(|arn: &ContainerInstanceArn| arn.cluster == *cluster);
    }
    let id = given.rsplit_once('/').filter(|(c, _)| *c == cluster.name.as_str()).map_or(given, |(_, id)| id);
    Some(ContainerInstanceArn { cluster: cluster.clone(), id: ContainerInstanceId::parse(id).ok()? })
}

/// The task meant by an id or an ARN; `None` if it cannot be one of that cluster.
pub(crate) fn task_arn(cluster: &ClusterArn, given: &str) -> Option<TaskArn> {
    if given.starts_with("arn:") {
        return given.parse().ok().filter(|arn: &TaskArn| arn.cluster == *cluster);
    }
    Some(TaskArn { cluster: cluster.clone(), id: TaskId::parse(given).ok()? })
}

/// The service meant by a name or an ARN; it need not exist. `None` if it is one of another region or account, where the
/// caller has none. AWS: unlike a task, one of another cluster is told apart from one that does not exist.
pub(crate) fn service_arn(cluster: &ClusterArn, given: &str) -> Result<Option<ServiceArn>, ApiError> {
    if given.is_empty() {
        return Err(ApiError::invalid("Service can not be blank."));
    }
    let invalid = |why: &dyn std::fmt::Display| ApiError::invalid(format!("Invalid identifier: {why}"));
    let Some(rest) = given.strip_prefix("arn:").and_then(|_| given.splitn(6, ':').nth(5)) else {
        let name = ServiceName::parse(given).map_err(|error| invalid(&error))?;
        return Ok(Some(ServiceArn { cluster: cluster.clone(), name }));
    };
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    if kind != "service" {
        return Err(ApiError::invalid(format!("Unsupported resource type: {kind}")));
    }
    // The short form of old accounts names no cluster.
    let long = if name.contains('/') {
        given.to_owned()
    } else {
        format!("{}service/{}/{name}", given.strip_suffix(rest).unwrap_or(given), cluster.name)
    };
    let arn: ServiceArn = long.parse().map_err(|_| invalid(&given))?;
    if arn.cluster.scope != cluster.scope {
        return Ok(None);
    }
    if arn.cluster != *cluster {
        let (theirs, yours) = (&arn.cluster.name, &cluster.name);
        return Err(invalid(&format!("Identifier is for cluster {theirs}. Your cluster is {yours}")));
    }
    Ok(Some(arn))
}

/// How clients name revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefinitionName {
    /// `family`: its latest ACTIVE revision.
    Latest(Family),
    /// `family:revision` or an ARN.
    Revision(TaskDefinitionArn),
    /// The part behind the colon is no revision number.
    BadRevision(String),
    /// Nothing that could name a revision.
    Malformed,
}

/// Takes a name of a task definition apart.
pub(crate) fn definition_name(scope: &Scope, given: &str) -> DefinitionName {
    let (scope, rest) = match given.strip_prefix("arn:") {
        None => (scope.clone(), given),
        Some(_) => match given.split_once(":task-definition/") {
            Some((head, rest)) if format!("{head}:task-definition/x:1").parse::<TaskDefinitionArn>().is_ok() => {
                let arn: Result<TaskDefinitionArn, _> = format!("{head}:task-definition/x:1").parse();
                (arn.map_or_else(|_| scope.clone(), |arn| arn.scope), rest)
            }
            Some(_) | None => return DefinitionName::Malformed,
        },
    };
    let (family, revision) = rest.split_once(':').map_or((rest, None), |(family, revision)| (family, Some(revision)));
    let Ok(family) = Family::parse(family) else { return DefinitionName::Malformed };
    match revision.map(|text| (text, text.parse::<u32>())) {
        None => DefinitionName::Latest(family),
        Some((_, Ok(revision))) if revision > 0 => {
            DefinitionName::Revision(TaskDefinitionArn { scope, family, revision })
        }
        Some((text, _)) => DefinitionName::BadRevision(text.to_owned()),
    }
}

/// The revision meant, of any status; `None` if there is none in the caller's scope.
pub(crate) fn task_definition<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    given: &str,
) -> Option<&'a Arc<TaskDefinition>> {
    match definition_name(scope, given) {
        DefinitionName::Latest(family) => snapshot.latest_active(scope, &family),
        DefinitionName::Revision(arn) if arn.scope == *scope => snapshot.task_definition(&arn),
        DefinitionName::Revision(_) | DefinitionName::BadRevision(_) | DefinitionName::Malformed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("us-east-1").unwrap() }
    }

    #[test]
    fn clusters_are_meant_by_name_arn_or_nothing() {
        for (given, want) in [
            (None, Ok("default")),
            (Some(""), Ok("default")),
            (Some("demo"), Ok("demo")),
            (Some("arn:aws:ecs:us-east-1:123456789012:cluster/demo"), Ok("demo")),
            (Some("arn:aws:ecs:eu-west-1:123456789012:cluster/demo"), Err("ClusterNotFoundException")),
            (Some("arn:aws:ecs:us-east-1:123456789012:task/demo/x"), Err("InvalidParameterException")),
            (Some("a/b"), Err("InvalidParameterException")),
            (Some("sp ace"), Err("InvalidParameterException")),
        ] {
            let got = cluster_arn(&scope(), given);
            let got = got.as_ref().map(|arn| arn.name.as_str()).map_err(|error| error.code);
            assert_eq!(got, want, "{given:?}");
        }
    }

    #[test]
    fn services_are_meant_by_name_or_arn_of_their_cluster() {
        let cluster = cluster_arn(&scope(), Some("demo")).unwrap();
        for (given, want) in [
            ("web", Ok(Some("web"))),
            ("arn:aws:ecs:us-east-1:123456789012:service/demo/web", Ok(Some("web"))),
            ("arn:aws:ecs:us-east-1:123456789012:service/web", Ok(Some("web"))),
            ("arn:aws:ecs:eu-west-1:123456789012:service/demo/web", Ok(None)),
            ("arn:aws:ecs:us-east-1:210987654321:service/other/web", Ok(None)),
            ("arn:aws:ecs:eu-west-1:123456789012:service/web", Ok(None)),
            (
                "arn:aws:ecs:us-east-1:123456789012:service/other/web",
                Err("Invalid identifier: Identifier is for cluster other. Your cluster is demo"),
            ),
            ("arn:aws:ecs:us-east-1:123456789012:task/demo/web", Err("Unsupported resource type: task")),
            ("", Err("Service can not be blank.")),
        ] {
            let got = service_arn(&cluster, given);
            let name = |arn: &Option<ServiceArn>| arn.as_ref().map(|arn| arn.name.to_string());
            let got = got.as_ref().map(name).map_err(|error| &*error.message);
            let want = want.map(|name| name.map(str::to_owned));
            assert_eq!(got, want, "{given:?}");
        }
        for given in ["a b", "demo/web", "arn:x", "arn:aws:ecs:us-east-1:1:service/demo/web"] {
            let error = service_arn(&cluster, given).unwrap_err();
            assert_eq!(error.code, "InvalidParameterException", "{given}");
        }
    }

    #[test]
    fn definitions_are_meant_by_family_revision_or_arn() {
        let revision = |n| {
            DefinitionName::Revision(TaskDefinitionArn {
                scope: scope(),
                family: Family::parse("web").unwrap(),
                revision: n,
            })
        };
        for (given, want) in [
            ("web", DefinitionName::Latest(Family::parse("web").unwrap())),
            ("web:3", revision(3)),
            ("arn:aws:ecs:us-east-1:123456789012:task-definition/web:3", revision(3)),
            (
                "arn:aws:ecs:us-east-1:123456789012:task-definition/web",
                DefinitionName::Latest(Family::parse("web").unwrap()),
            ),
            ("web:x", DefinitionName::BadRevision("x".to_owned())),
            ("web:0", DefinitionName::BadRevision("0".to_owned())),
            ("a b", DefinitionName::Malformed),
            ("arn:aws:ecs:us-east-1:123456789012:cluster/web", DefinitionName::Malformed),
        ] {
            assert_eq!(definition_name(&scope(), given), want, "{given}");
        }
    }
}
