//! Asks the server, over the public wire, for what `service status` shows.

use super::{
    facts::{Breaker, Event, Failure, Status},
    judge::{self, Seen},
    stage,
};
use crate::{
    advice::{Advice, in_region},
    cli::{
        client::Client,
        config::Settings,
        logs, ps,
        status::judge::{id, millis, rfc3339},
    },
};
use anyhow::{Result, anyhow};
use jiff::Timestamp;
use shapes::{ecs, logs as cw};

/// Tasks of one list that are looked at: what holds a service up shows in far fewer.
const TASKS_LOOKED_AT: usize = 500;
/// Things of one describe. Source: service model.
const BATCH: usize = 100;
/// The last lines of a container that failed.
const LOG_LINES: i32 = 5;
/// Services that are named when one is not there.
const NAMED: usize = 10;

/// The service of that name.
pub(in crate::cli) async fn described(settings: &Settings, name: &str) -> Result<ecs::Service> {
    let request = ecs::DescribeServicesRequest {
        cluster: Some(settings.cluster.clone()),
        services: Some(vec![name.to_owned()]),
        ..Default::default()
    };
    match settings.client.call(&request).await?.services.into_iter().flatten().next() {
        Some(found) => Ok(found),
        None => Err(missing(settings, name).await),
    }
}

/// The story of the deployment that the service is in, or was in last.
pub(in crate::cli) async fn story(
    settings: &Settings,
    service: &ecs::Service,
) -> Result<Option<ecs::ServiceDeployment>> {
    let Some(arn) = &service.current_service_deployment else { return Ok(None) };
    let request = ecs::DescribeServiceDeploymentsRequest { service_deployment_arns: Some(vec![arn.clone()]) };
    Ok(settings.client.call(&request).await?.service_deployments.into_iter().flatten().next())
}

/// The error that a service is not there, with those that are.
async fn missing(settings: &Settings, name: &str) -> anyhow::Error {
    let cluster = &settings.cluster;
    let error = anyhow!("There is no service {name} in cluster {cluster}");
    let request = ecs::ListServicesRequest { cluster: Some(cluster.clone()), ..Default::default() };
    let Ok(answer) = settings.client.call(&request).await else { return error };
    let arns = answer.service_arns.unwrap_or_default();
    let names: Vec<_> = arns.iter().map(|arn| id(Some(arn))).take(NAMED).collect();
    let more = if arns.len() > NAMED || answer.next_token.is_some() { " and more" } else { "" };
    error.context(Advice::new(if names.is_empty() {
        "The cluster has no services; is it the right one (--cluster)? `longshore compose service up` makes one of a compose \
         file"
            .to_owned()
    } else {
        format!("There are: {}{more}", names.join(", "))
    }))
}

/// One look.
pub(super) async fn look(settings: &Settings, name: &str, now: Timestamp) -> Result<Status> {
    let service = described(settings, name).await?;
    // It may have been called by its ARN.
    let name = service.service_name.as_deref().unwrap_or(name);
    let running = tasks(settings, name, "RUNNING").await?;
    let stopped = tasks(settings, name, "STOPPED").await?;
    let definition = match &service.task_definition {
        Some(arn) => definition(&settings.client, arn).await,
        None => None,
    };
    let containers = definition.as_ref().and_then(|d| d.container_definitions.as_deref()).unwrap_or_default();
    let checked = containers.iter().any(|c| c.essential != Some(false) && c.health_check.is_some());
    // That its story cannot be told is no reason not to show the rest.
    let story = story(settings, &service).await.unwrap_or_default();
    let seen = Seen {
        cluster: &settings.cluster,
        service: &service,
        running: &running,
        stopped: &stopped,
        story: story.as_ref(),
        checked,
        now,
    };
    let mut failures = seen.failures();
    let mut holds = seen.holds();
    for hold in &mut holds {
        hold.next = hold.next.take().map(|next| in_region(&next, settings.region_to_say.as_deref()));
    }
    add_logs(settings, &stopped, &mut failures).await;
    Ok(status(settings, &service, story.as_ref(), now, holds, failures))
}

fn status(
    settings: &Settings,
    service: &ecs::Service,
    story: Option<&ecs::ServiceDeployment>,
    now: Timestamp,
    held_up_by: Vec<super::facts::Hold>,
    failures: Vec<Failure>,
) -> Status {
    let count = |number: Option<i32>| i64::from(number.unwrap_or_default());
    let rules = service.deployment_configuration.clone().unwrap_or_default();
    let breaker = rules.deployment_circuit_breaker.filter(|b| b.enable == Some(true));
    let event = |e: &ecs::ServiceEvent| Event {
        at: millis(e.created_at).map(rfc3339),
        message: e.message.clone().unwrap_or_default(),
    };
    Status {
        endpoint: settings.client.endpoint().to_owned(),
        region: settings.region.clone(),
        at: rfc3339(now),
        cluster: id(service.cluster_arn.as_deref().or(Some(&settings.cluster))).to_owned(),
        service: service.service_name.clone().unwrap_or_default(),
        arn: service.service_arn.clone().unwrap_or_default(),
        status: service.status.clone().unwrap_or_default(),
        scheduling_strategy: service.scheduling_strategy.clone().unwrap_or_else(|| "REPLICA".to_owned()),
        task_definition: id(service.task_definition.as_deref()).to_owned(),
        stable: judge::is_stable(service),
        desired: count(service.desired_count),
        running: count(service.running_count),
        pending: count(service.pending_count),
        minimum_healthy_percent: rules.minimum_healthy_percent,
        maximum_percent: rules.maximum_percent,
        circuit_breaker: match breaker.map(|b| b.rollback == Some(true)) {
            None => Breaker::Off,
            Some(false) => Breaker::Stops,
            Some(true) => Breaker::RollsBack,
        },
        deployments: judge::deployments(service),
        lifecycle: story.and_then(stage::lifecycle),
        held_up_by,
        failures,
        events: service.events.iter().flatten().map(event).collect(),
    }
}

async fn tasks(settings: &Settings, service: &str, desired: &str) -> Result<Vec<ecs::Task>> {
    let (mut arns, mut next_token) = (Vec::new(), None);
    while arns.len() < TASKS_LOOKED_AT {
        let request = ecs::ListTasksRequest {
            cluster: Some(settings.cluster.clone()),
            desired_status: Some(desired.to_owned()),
            service_name: Some(service.to_owned()),
            next_token,
            ..Default::default()
        };
        let page = settings.client.call(&request).await?;
        arns.extend(page.task_arns.unwrap_or_default());
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    let mut all = Vec::new();
    for batch in arns.chunks(BATCH) {
        all.extend(ps::describe(&settings.client, &settings.cluster, batch.to_vec()).await?);
    }
    Ok(all)
}

/// A definition, if it still is there: that it went is no reason not to show the rest.
async fn definition(client: &Client, name: &str) -> Option<ecs::TaskDefinition> {
    let request = ecs::DescribeTaskDefinitionRequest { task_definition: Some(name.to_owned()), ..Default::default() };
    client.call(&request).await.ok()?.task_definition
}

/// The last failures of a service with the last lines of their containers.
pub(in crate::cli) async fn last_failures(settings: &Settings, service: &ecs::Service) -> Result<Vec<Failure>> {
    let name = service.service_name.as_deref().unwrap_or_default();
    let stopped = tasks(settings, name, "STOPPED").await?;
    let now = Timestamp::now();
    let seen =
        Seen { cluster: &settings.cluster, service, running: &[], stopped: &stopped, story: None, checked: false, now };
    let mut failures = seen.failures();
    add_logs(settings, &stopped, &mut failures).await;
    Ok(failures)
}

/// The tasks of a service that are to run no more, as long as they are known.
pub(in crate::cli) async fn stopped(settings: &Settings, service: &str) -> Result<Vec<ecs::Task>> {
    tasks(settings, service, "STOPPED").await
}

/// What the containers of the failures wrote last, where it goes to a log stream that can be read.
async fn add_logs(settings: &Settings, stopped: &[ecs::Task], failures: &mut [Failure]) {
    for failure in failures {
        let task = stopped.iter().find(|task| id(task.task_arn.as_deref()) == failure.task);
        let Some(arn) = task.and_then(|task| task.task_definition_arn.as_deref()) else { continue };
        let Some(definition) = definition(&settings.client, arn).await else { continue };
        for described in definition.container_definitions.iter().flatten() {
            let name = described.name.as_deref().unwrap_or_default();
            let Some(place) = logs::place(described, &failure.task, &settings.region) else { continue };
            if let Some(container) = failure.containers.iter_mut().find(|c| c.name == name) {
                container.log = tail(&settings.client, place).await;
            }
        }
    }
}

async fn tail(client: &Client, place: logs::Place) -> Vec<String> {
    let request = cw::GetLogEventsRequest {
        log_group_name: Some(place.group),
        log_stream_name: Some(place.stream),
        limit: Some(LOG_LINES),
        start_from_head: Some(false),
        ..Default::default()
    };
    // A container that wrote nothing has no stream.
    let answer = client.in_region(&place.region).call(&request).await.ok();
    answer.and_then(|page| page.events).into_iter().flatten().filter_map(|event| event.message).collect()
}
