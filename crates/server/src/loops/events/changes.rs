//! What has changed between two snapshots, or since a revision. Pure, and costs what has changed.
//!
//! A snapshot says how things are, so what changes twice between two looks is told once, as it is in the end; the version in
//! the event shows the gap.

use crate::api::ecs::state_change::{Change, Step, is_of_deployment};
use model::{Deployment, Rollout, ServiceArn, ServiceDeployment, ServiceDeploymentArn, ServiceDeploymentStatus};
use scheduler::service::events::reason;
use state::{ChangedRecord, ClusterRow, Kind, News, ServiceRow, Snapshot};
use std::{ptr, sync::Arc};

/// What is to be told of the way from one snapshot to the other.
pub(super) fn between(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    let mut told = Vec::new();
    for scope in after.scopes() {
        for cluster in after.clusters(scope, None) {
            match before.cluster(&cluster.cluster.arn) {
                Some(before) if ptr::eq(before, cluster) => {}
                Some(before) => of_cluster(before, cluster, &mut told),
                None => of_cluster(&cluster.before_all(), cluster, &mut told),
            }
        }
    }
    told
}

fn of_cluster(before: &ClusterRow, after: &ClusterRow, told: &mut Vec<Change>) {
    let changes = after.changes_since(before);
    for (was, is) in changes.instances() {
        // What its tasks leave of it is told by them.
        if was.is_none_or(|was| was.instance.version != is.instance.version) {
            told.push(Change::Instance(is.clone()));
        }
    }
    for row in changes.services() {
        // One that was made anew under an old name has nothing in common with that.
        let was = before.service(&row.service.arn.name);
        let was = was.filter(|was| was.service.created_at == row.service.created_at);
        of_service(was, row, told);
    }
    for (was, is) in changes.tasks() {
        if was.is_none_or(|was| was.version != is.version) {
            told.push(Change::Task(is.clone()));
        }
    }
}

fn of_service(before: Option<&Arc<ServiceRow>>, after: &Arc<ServiceRow>, told: &mut Vec<Change>) {
    let service = &after.service.arn;
    let (events, stories) = after.news_since(before.map(|row| &**row));
    let known = |story: &News<'_>| story.before.is_some_and(|before| failure(before).is_some());
    let failed = stories.iter().filter(|story| !known(story)).filter_map(|story| failure(story.after));
    told.extend(failed.map(|step| Change::Deployment { service: service.clone(), step }));
    for deployment in &after.service.deployments {
        let was = before.and_then(|row| row.service.deployment(deployment.id));
        let same = |was: &Deployment| {
            (was.rollout, &was.service_deployment) == (deployment.rollout, &deployment.service_deployment)
        };
        if !was.is_some_and(same) {
            told.extend(step(after, deployment).map(|step| Change::Deployment { service: service.clone(), step }));
        }
    }
    let actions = events.into_iter().filter(|event| !is_of_deployment(event.name));
    told.extend(actions.map(|event| Change::Action { service: service.clone(), event: event.clone() }));
}

/// Where a deployment stands, unless its story tells that.
fn step(row: &ServiceRow, deployment: &Deployment) -> Option<Step> {
    let told_by_story = || {
        let story = row.deployment(&deployment.service_deployment).and_then(|story| failure(story));
        story.is_some_and(|step| step.id == deployment.id)
    };
    match deployment.rollout {
        Rollout::Failed if told_by_story() => return None,
        Rollout::Failed | Rollout::InProgress | Rollout::Completed => {}
    }
    Some(Step {
        id: deployment.id,
        story: deployment.service_deployment.clone(),
        rollout: deployment.rollout,
        at: deployment.updated_at,
        reason: deployment.reason.clone(),
    })
}

/// The failure of the deployment of which a story tells. The service's own record may not show it: a deployment that fails
/// when it has no task left is gone with the same commit.
fn failure(story: &ServiceDeployment) -> Option<Step> {
    let by_user = story.stopped_at.is_some();
    let stopped = match story.status {
        // A newer deployment, or the end of the service, ends a story without a failure.
        ServiceDeploymentStatus::Stopped => by_user || story.reason.as_deref().is_some_and(reason::is_failure),
        ServiceDeploymentStatus::Pending
        | ServiceDeploymentStatus::InProgress
        | ServiceDeploymentStatus::Successful
        | ServiceDeploymentStatus::StopRequested
        | ServiceDeploymentStatus::RollbackRequested
        | ServiceDeploymentStatus::RollbackInProgress
        | ServiceDeploymentStatus::RollbackSuccessful
        | ServiceDeploymentStatus::RollbackFailed => false,
    };
    let at = match &story.rollback {
        Some(rollback) => rollback.started_at,
        None if stopped => story.finished_at.unwrap_or(story.updated_at),
        None => return None,
    };
    Some(Step {
        id: story.target.id,
        story: story.arn.id.clone(),
        rollout: Rollout::Failed,
        at,
        reason: reason::of_deployment(story.rollback.as_ref().map(|back| &back.reason).or(story.reason.as_ref()))
            .into(),
    })
}

/// What is to be told of records that were written while nobody was told, as they are in the snapshot.
pub(super) fn of_records(snapshot: &Snapshot, records: &[ChangedRecord]) -> Vec<Change> {
    // One that was written since is told of when that is.
    let known = records.iter().filter(|record| record.revision <= snapshot.revision());
    known.flat_map(|record| of_record(snapshot, record)).collect()
}

fn of_record(snapshot: &Snapshot, record: &ChangedRecord) -> Vec<Change> {
    // A key that is none would be damage, which loading refuses.
    let key = &*record.key;
    match record.kind {
        Kind::Task => {
            let task = key.parse().ok().and_then(|arn| snapshot.task(&arn));
            task.map(|task| Change::Task(task.clone())).into_iter().collect()
        }
        Kind::ContainerInstance => {
            let row = key.parse().ok().and_then(|arn| snapshot.instance(&arn));
            row.map(|row| Change::Instance(row.clone())).into_iter().collect()
        }
        Kind::Service => {
            let row = key.parse::<ServiceArn>().ok().and_then(|arn| snapshot.service(&arn));
            let steps = row.into_iter().flat_map(|row| {
                let steps = row.service.deployments.iter().filter_map(|deployment| step(row, deployment));
                steps.map(|step| Change::Deployment { service: row.service.arn.clone(), step })
            });
            steps.collect()
        }
        Kind::ServiceDeployment => {
            let Ok(arn) = key.parse::<ServiceDeploymentArn>() else { return Vec::new() };
            let story = snapshot.service(&arn.service).and_then(|row| row.deployment(&arn.id));
            let step = story.and_then(|story| failure(story));
            step.map(|step| Change::Deployment { service: arn.service, step }).into_iter().collect()
        }
        Kind::ServiceEvent => {
            let Some((service, number)) = key.rsplit_once('/') else { return Vec::new() };
            let Ok(service) = service.parse::<ServiceArn>() else { return Vec::new() };
            let event = number.parse().ok().and_then(|number| snapshot.service(&service)?.event(number));
            let event = event.filter(|event| !is_of_deployment(event.name));
            event.map(|event| Change::Action { service, event: event.clone() }).into_iter().collect()
        }
        Kind::Cluster
        | Kind::Family
        | Kind::TaskDefinition
        | Kind::Token
        | Kind::Setting
        | Kind::Machine
        | Kind::Activation
        | Kind::LaunchTemplate
        | Kind::AutoScalingGroup
        | Kind::CapacityProvider
        | Kind::ServiceRevision
        | Kind::Network
        | Kind::Vpc
        | Kind::Subnet
        | Kind::RouteTable
        | Kind::InternetGateway
        | Kind::NatGateway
        | Kind::Address
        | Kind::SecurityGroup
        | Kind::NetworkInterface
        | Kind::Discovery
        | Kind::Namespace
        | Kind::DiscoveryService
        | Kind::DiscoveryInstance
        | Kind::DiscoveryOperation
        | Kind::Vault
        | Kind::Secret
        | Kind::Parameter
        | Kind::SealedValue
        | Kind::Iam
        | Kind::User
        | Kind::AccessKey
        | Kind::Role
        | Kind::Policy
        | Kind::InstanceProfile => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        BreakerState, BreakerStatus, CircuitBreaker, DeploymentId, DeploymentRules, RevisionShare, Rollback,
        ServiceDeploymentId, Timestamp,
    };

    /// A story of that reason, which went back for that one.
    fn story(status: ServiceDeploymentStatus, why: &str, by_user: bool, back: Option<&str>) -> ServiceDeployment {
        let share = |id| RevisionShare { id: DeploymentId::of(id), requested: 0, running: 0, pending: 0 };
        let rules = DeploymentRules {
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            breaker: CircuitBreaker::default(),
            early_success: None,
            strategy: model::DeploymentStrategy::Rolling,
        };
        let service = "arn:aws:ecs:us-east-1:000000000000:service/a/b".parse().unwrap();
        let rollback = |why: &str| Rollback { reason: why.into(), started_at: Timestamp(5), to: DeploymentId::of(2) };
        ServiceDeployment {
            arn: ServiceDeploymentArn { service, id: ServiceDeploymentId::parse("a".repeat(21)).unwrap() },
            target: share(1),
            sources: vec![share(2)],
            status,
            reason: Some(why.into()),
            rules,
            created_at: Timestamp(1),
            started_at: Some(Timestamp(1)),
            stopped_at: by_user.then_some(Timestamp(6)),
            finished_at: status.is_over().then_some(Timestamp(7)),
            updated_at: Timestamp(8),
            rollback: back.map(rollback),
            breaker: BreakerState { status: BreakerStatus::Monitoring, failure_count: 0, threshold: 3 },
            lifecycle: None,
        }
    }

    #[test]
    fn a_story_tells_of_a_failure_only_if_there_was_one() {
        use ServiceDeploymentStatus as Status;
        use reason::{
            BREAKER, HOOK, STAGE, STOPPED_BY_USER, STORY_BREAKER, STORY_BREAKER_ROLLBACK, STORY_HOOK,
            STORY_HOOK_ROLLBACK, STORY_ROLLBACK_FAILED, STORY_STAGE, STORY_STAGE_ROLLBACK, STORY_SUPERSEDED,
            STORY_USER_ROLLBACK,
        };
        for (status, why, by_user, back, want) in [
            (Status::InProgress, "", false, None, None),
            (Status::Successful, "ECS deployment completed.", false, None, None),
            (Status::Stopped, STORY_SUPERSEDED, false, None, None),
            (Status::Stopped, STORY_BREAKER, false, None, Some((7, BREAKER))),
            (Status::Stopped, STORY_HOOK, false, None, Some((7, HOOK))),
            (Status::Stopped, STORY_STAGE, false, None, Some((7, STAGE))),
            (Status::Stopped, STOPPED_BY_USER, true, None, Some((7, STOPPED_BY_USER))),
            (
                Status::RollbackInProgress,
                STORY_BREAKER_ROLLBACK,
                false,
                Some(STORY_BREAKER_ROLLBACK),
                Some((5, BREAKER)),
            ),
            (Status::RollbackSuccessful, STORY_HOOK_ROLLBACK, false, Some(STORY_HOOK_ROLLBACK), Some((5, HOOK))),
            (Status::RollbackFailed, STORY_ROLLBACK_FAILED, false, Some(STORY_STAGE_ROLLBACK), Some((5, STAGE))),
            (Status::RollbackInProgress, "", true, Some(STORY_USER_ROLLBACK), Some((5, STOPPED_BY_USER))),
        ] {
            let step = failure(&story(status, why, by_user, back));
            let got = step.as_ref().map(|step| (step.at.0, &*step.reason));
            assert_eq!(got, want, "{status:?} {why:?} {back:?}");
            assert!(step.is_none_or(|step| step.id == DeploymentId::of(1) && step.rollout == Rollout::Failed));
        }
    }
}
