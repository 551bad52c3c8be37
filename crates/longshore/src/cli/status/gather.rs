//! Asks the server, over the public wire, for what `status` shows.
//!
//! Healthy tasks are only counted, and the counts come with their cluster: ten thousand of them cost nothing. Tasks are
//! looked at one by one only where something may be wrong: those that are pending, those that stopped of late, those on an
//! instance that has nothing left.

use super::{
    facts::{Cluster, Counts, Instance, Status, Used},
    judge::{self, Looked, Machine},
    services,
};
use crate::{
    advice,
    cli::{
        client::{Client, code},
        config::Settings,
        ps,
    },
};
use anyhow::{Result, anyhow};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use model::fargate::POOL_CLUSTER;
use shapes::{ec2, ecs};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Tasks of one list that are looked at: a hundred pages, which take a second or two.
const TASKS_LOOKED_AT: usize = 10_000;
/// Things of one describe. Source: service model.
const BATCH: usize = 100;
/// Describes under way at once: enough to keep the server busy, and far from its bound.
const AT_ONCE: usize = 4;
/// Services of one describe. Source: `DescribeServices$services`.
const SERVICES_BATCH: usize = 10;
/// Services of a cluster that are looked at: as many as the original's quota has.
const SERVICES_LOOKED_AT: usize = 5_000;
/// Services that lack tasks whose tasks are looked at: more than a screen has room for.
const SHORT_LOOKED_AT: usize = 50;
/// Instances without anything left whose tasks are added up.
const FULL_LOOKED_AT: usize = 50;

/// Looks again and again; what was found to be long over is not asked for twice.
pub(super) struct Gatherer<'a> {
    pub(super) client: &'a Client,
    pub(super) endpoint: String,
    pub(super) region: String,
    /// The region that commands to be copied must name.
    region_to_say: Option<String>,
    /// One cluster, or all.
    pub(super) only: Option<String>,
    /// How far back stopped tasks are told.
    pub(super) window: Duration,
    /// Tasks that stopped before the window.
    over: HashSet<String>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(settings: &'a Settings, only: Option<String>, window: Duration) -> Self {
        let (client, region_to_say) = (&settings.client, settings.region_to_say.clone());
        let (endpoint, region) = (client.endpoint().to_owned(), settings.region.clone());
        Self { client, endpoint, region, region_to_say, only, window, over: HashSet::new() }
    }

    /// One look.
    pub(super) async fn look(&mut self, now: Timestamp) -> Result<Status> {
        let (mut clusters, mut attention) = (Vec::new(), Vec::new());
        let mut machines = self.machines().await?;
        let pool = self.pool().await?;
        for described in self.clusters().await? {
            let instances = self.instances(described.cluster_name.as_deref().unwrap_or_default()).await?;
            let services = count(described.active_services_count);
            let mut cluster = cluster(described, instances.into_iter().map(|i| instance(i, &mut machines)).collect());
            let mut looked = self.tasks(&mut cluster, now).await?;
            let services = self.services(&cluster.name, services, &mut looked).await?;
            looked.fargate = !pool.is_empty() || is_on_fargate(&looked, &services);
            cluster.services = services::counts(&services);
            attention.extend(judge::cluster(&cluster, &looked, now));
            attention.extend(services::attention(&cluster, &services, self.window, now));
            clusters.push(cluster);
        }
        let mut fargate = Vec::new();
        if self.only.is_none() {
            fargate.extend(pool.into_iter().map(|i| instance(i, &mut machines)));
            attention.extend(judge::pool(&fargate, now));
            let rest: Vec<_> = machines.into_values().map(|(machine, _)| machine).collect();
            attention.extend(judge::machines(&rest, now));
        }
        for found in &mut attention {
            found.next = advice::in_region(&found.next, self.region_to_say.as_deref());
        }
        attention.sort_by(|a, b| (a.level, &a.cluster, a.kind).cmp(&(b.level, &b.cluster, b.kind)));
        Ok(Status {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            at: judge::rfc3339(now),
            healthy: attention.iter().all(|a| a.level == super::facts::Level::Notice),
            window_seconds: i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX),
            clusters,
            fargate,
            attention,
        })
    }

    async fn clusters(&self) -> Result<Vec<ecs::Cluster>> {
        let names = match &self.only {
            Some(name) => vec![name.clone()],
            None => {
                let (mut arns, mut next_token) = (Vec::new(), None);
                loop {
                    let page = self.client.call(&ecs::ListClustersRequest { next_token, ..Default::default() }).await?;
                    arns.extend(page.cluster_arns.unwrap_or_default());
                    next_token = page.next_token;
                    if next_token.is_none() {
                        break arns;
                    }
                }
            }
        };
        let mut all = Vec::new();
        for batch in names.chunks(BATCH) {
            let request = ecs::DescribeClustersRequest { clusters: Some(batch.to_vec()), ..Default::default() };
            let answer = self.client.call(&request).await?;
            if let (Some(name), Some(_)) = (&self.only, answer.failures.iter().flatten().next()) {
                let error = wire::WireError::new("ClusterNotFoundException", "Cluster not found.");
                return Err(self.client.advise_on_cluster(anyhow!(error), Some(name)).await);
            }
            all.extend(answer.clusters.unwrap_or_default());
        }
        Ok(all)
    }

    async fn instances(&self, cluster: &str) -> Result<Vec<ecs::ContainerInstance>> {
        let (mut all, mut next_token) = (Vec::new(), None);
        loop {
            let cluster = Some(cluster.to_owned());
            let list =
                ecs::ListContainerInstancesRequest { cluster: cluster.clone(), next_token, ..Default::default() };
            let page = self.client.call(&list).await?;
            let arns = page.container_instance_arns.unwrap_or_default();
            if !arns.is_empty() {
                let request = ecs::DescribeContainerInstancesRequest {
                    cluster,
                    container_instances: Some(arns),
                    include: Some(vec!["CONTAINER_INSTANCE_HEALTH".to_owned()]),
                };
                all.extend(self.client.call(&request).await?.container_instances.unwrap_or_default());
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Those given to Fargate; none where there are none, or who asks is not shown them.
    async fn pool(&self) -> Result<Vec<ecs::ContainerInstance>> {
        match self.instances(POOL_CLUSTER).await {
            Err(error) if code(&error) == Some("ClusterNotFoundException") => Ok(Vec::new()),
            told => told,
        }
    }

    /// Machines that are not terminated, with their addresses, by id.
    async fn machines(&self) -> Result<BTreeMap<String, (Machine, Option<String>)>> {
        let (mut all, mut next_token) = (BTreeMap::new(), None);
        loop {
            let page = self.client.call(&ec2::DescribeInstancesRequest { next_token, ..Default::default() }).await?;
            for found in page.reservations.into_iter().flatten().flat_map(|r| r.instances.unwrap_or_default()) {
                let (Some(id), Some(state)) = (found.instance_id, found.state.and_then(|s| s.name)) else { continue };
                if state == "terminated" {
                    continue;
                }
                let launched = found.launch_time.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok());
                let reason = found.state_reason.and_then(|r| r.message);
                let address = found.public_ip_address.or(found.private_ip_address);
                all.insert(id.clone(), (Machine { id, state, reason, launched }, address));
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Looks at the tasks that may tell of trouble and counts those that only a look tells.
    async fn tasks(&mut self, cluster: &mut Cluster, now: Timestamp) -> Result<Looked> {
        let mut looked = Looked::default();
        let mut partly = Vec::new();
        if cluster.tasks.pending > 0 {
            let (arns, all) = self.list(&cluster.name, "RUNNING", Default::default()).await?;
            if !all {
                partly.push("running");
            }
            looked.pending = self.describe(&cluster.name, arns).await?;
            looked
                .pending
                .retain(|t| matches!(t.last_status.as_deref(), Some("PROVISIONING" | "PENDING" | "ACTIVATING")));
        }
        let (mut arns, all) = self.list(&cluster.name, "STOPPED", Default::default()).await?;
        if !all {
            partly.push("stopped");
        }
        arns.retain(|arn| !self.over.contains(arn));
        let from = now.as_millisecond().saturating_sub(i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX));
        for task in self.describe(&cluster.name, arns).await? {
            let Some(at) = task.stopped_at else {
                cluster.tasks.stopping += 1;
                continue;
            };
            if at.as_millis() >= from {
                cluster.tasks.stopped += 1;
                cluster.tasks.failed += u64::from(judge::failure(&task).is_some());
                looked.stopped.push(task);
            } else if let Some(arn) = task.task_arn {
                self.over.insert(arn);
            }
        }
        let full = |i: &&Instance| i.cpu.used >= i.cpu.registered || i.memory.used >= i.memory.registered;
        for instance in cluster.instances.iter().filter(full).take(FULL_LOOKED_AT) {
            let of = ecs::ListTasksRequest { container_instance: Some(instance.id.clone()), ..Default::default() };
            let (arns, _) = self.list(&cluster.name, "RUNNING", of).await?;
            let tasks = self.describe(&cluster.name, arns).await?;
            looked.on_full.insert(instance.arn.clone(), tasks);
        }
        if !partly.is_empty() {
            let lists = partly.join(" and ");
            looked.partly = Some(format!("only {TASKS_LOOKED_AT} of the {lists} tasks were looked at"));
        }
        Ok(looked)
    }

    /// The services of a cluster that has so many. Those that lack tasks are looked at more closely.
    async fn services(&self, cluster: &str, number: u64, seen: &mut Looked) -> Result<Vec<services::Looked>> {
        let (mut arns, mut next_token) = (Vec::new(), None);
        while number > 0 && arns.len() < SERVICES_LOOKED_AT {
            let request = ecs::ListServicesRequest {
                cluster: Some(cluster.to_owned()),
                max_results: Some(100),
                next_token,
                ..Default::default()
            };
            let page = self.client.call(&request).await?;
            arns.extend(page.service_arns.unwrap_or_default());
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        if next_token.is_some() {
            let told = seen.partly.take().map(|told| format!("{told}; ")).unwrap_or_default();
            seen.partly = Some(format!("{told}only {SERVICES_LOOKED_AT} of the {number} services were looked at"));
        }
        let described = arns.chunks(SERVICES_BATCH).map(|batch| {
            let (cluster, services) = (Some(cluster.to_owned()), Some(batch.to_vec()));
            let request = ecs::DescribeServicesRequest { cluster, services, ..Default::default() };
            async move { self.client.call(&request).await }
        });
        let described: Vec<_> = described.collect();
        let answers: Vec<_> = stream::iter(described).buffered(AT_ONCE).try_collect().await?;
        let described = answers.into_iter().flat_map(|answer| answer.services.unwrap_or_default());
        let looked = described.map(|service| services::Looked { service, ..services::Looked::default() });
        let mut looked: Vec<_> = looked.collect();
        for one in looked.iter_mut().filter(|one| services::is_short(&one.service)).take(SHORT_LOOKED_AT) {
            let of = ecs::ListTasksRequest { service_name: one.service.service_name.clone(), ..Default::default() };
            for (desired, tasks) in [("RUNNING", &mut one.running), ("STOPPED", &mut one.stopped)] {
                let (arns, _) = self.list(cluster, desired, of.clone()).await?;
                *tasks = self.describe(cluster, arns).await?;
            }
        }
        Ok(looked)
    }

    /// ARNs of tasks, and whether they are all. What else they have in common is said in `of`.
    async fn list(&self, cluster: &str, desired: &str, of: ecs::ListTasksRequest) -> Result<(Vec<String>, bool)> {
        let (mut arns, mut next_token) = (Vec::new(), None);
        while arns.len() < TASKS_LOOKED_AT {
            let request = ecs::ListTasksRequest {
                cluster: Some(cluster.to_owned()),
                desired_status: Some(desired.to_owned()),
                next_token,
                ..of.clone()
            };
            let page = self.client.call(&request).await?;
            arns.extend(page.task_arns.unwrap_or_default());
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok((arns, true));
            }
        }
        Ok((arns, false))
    }

    async fn describe(&self, cluster: &str, arns: Vec<String>) -> Result<Vec<ecs::Task>> {
        let batches: Vec<Vec<String>> = arns.chunks(BATCH).map(<[String]>::to_vec).collect();
        let asked = batches.into_iter().map(|batch| ps::describe(self.client, cluster, batch));
        let answers: Vec<Vec<ecs::Task>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }
}

/// Whether any of what was looked at is of Fargate.
fn is_on_fargate(looked: &Looked, services: &[services::Looked]) -> bool {
    let is = |launch_type: &Option<String>| launch_type.as_deref() == Some("FARGATE");
    let of_provider = |strategy: &Option<Vec<ecs::CapacityProviderStrategyItem>>| {
        let mut names = strategy.iter().flatten().filter_map(|item| item.capacity_provider.as_deref());
        names.any(|name| name.starts_with("FARGATE"))
    };
    let mut tasks = looked.pending.iter().chain(&looked.stopped);
    let mut services = services.iter().map(|one| &one.service);
    tasks.any(|task| is(&task.launch_type))
        || services.any(|service| is(&service.launch_type) || of_provider(&service.capacity_provider_strategy))
}

fn count(number: Option<i32>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or_default()
}

fn cluster(described: ecs::Cluster, instances: Vec<Instance>) -> Cluster {
    Cluster {
        name: described.cluster_name.unwrap_or_default(),
        arn: described.cluster_arn.unwrap_or_default(),
        status: described.status.unwrap_or_default(),
        tasks: Counts {
            pending: count(described.pending_tasks_count),
            running: count(described.running_tasks_count),
            ..Counts::default()
        },
        capacity_providers: described.capacity_providers.unwrap_or_default(),
        instances,
        ..Cluster::default()
    }
}

/// A container instance, together with what EC2 says of its machine, which is then no longer among the others.
fn instance(described: ecs::ContainerInstance, machines: &mut BTreeMap<String, (Machine, Option<String>)>) -> Instance {
    let attribute = |name: &str| {
        let found = described.attributes.iter().flatten().find(|a| a.name.as_deref() == Some(name));
        found.and_then(|a| a.value.clone())
    };
    let number = |of: &Option<Vec<ecs::Resource>>, name: &str| {
        let found = of.iter().flatten().find(|r| r.name.as_deref() == Some(name));
        i64::from(found.and_then(|r| r.integer_value).unwrap_or_default())
    };
    let used = |name: &str| {
        let registered = number(&described.registered_resources, name);
        Used { used: registered - number(&described.remaining_resources, name), registered }
    };
    let machine = described.ec2_instance_id.as_ref().and_then(|id| machines.remove(id));
    let (machine, address) = machine.map_or((None, None), |(machine, address)| (Some(machine), address));
    let changed = described.health_status.as_ref().and_then(|h| h.details.as_ref()?.first()?.last_status_change);
    let arn = described.container_instance_arn.clone().unwrap_or_default();
    Instance {
        id: arn.rsplit('/').next().unwrap_or_default().to_owned(),
        availability_zone: attribute("ecs.availability-zone"),
        instance_type: attribute("ecs.instance-type"),
        runtime: attribute("longshore.runtime"),
        address,
        status: described.status.clone().unwrap_or_default(),
        agent_connected: described.agent_connected == Some(true),
        agent_since: changed.and_then(|at| Timestamp::from_millisecond(at.as_millis()).ok()).map(judge::rfc3339),
        cpu: used("CPU"),
        memory: used("MEMORY"),
        running_tasks: count(described.running_tasks_count),
        pending_tasks: count(described.pending_tasks_count),
        machine_state: machine.as_ref().map(|m| m.state.clone()),
        machine_reason: machine.and_then(|m| m.reason),
        ec2_instance_id: described.ec2_instance_id,
        arn,
    }
}
