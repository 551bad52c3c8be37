//! The one who keeps services: creates, changes, deploys, deletes, drains instances under them, and protects their tasks.

use crate::{
    client::{BROKEN, HOOKS},
    world::World,
};
use model::{ClusterArn, DeploymentId, HookStatus, Rollout, Service, ServiceArn, ServiceName, ServiceStatus, Task};
use serde_json::json;
use state::ServiceRow;
use std::sync::Arc;

/// Its services. Together they want less than one machine has, also while a deployment has twice as many tasks as before.
const SERVICES: [&str; 4] = ["front", "back", "each", "sets"];
/// What they run: nothing that needs a port of its own, since two tasks of a deployment may meet on a machine.
const FAMILIES: [&str; 2] = ["small", "pair"];
/// The one that is a DAEMON.
const DAEMON: &str = "each";
/// The one whose tasks an external controller deploys, in task sets.
const EXTERNAL: &str = "sets";
/// Where a BLUE_GREEN deployment comes to a hook. In a storm few come further than the first.
const PAUSES: [&str; 4] = ["PRE_SCALE_UP", "PRE_SCALE_UP", "POST_SCALE_UP", "POST_PRODUCTION_TRAFFIC_SHIFT"];

impl World {
    pub(crate) async fn keep_services(&mut self) {
        // A hook waits for a minute only.
        self.decide().await;
        let name = SERVICES[self.chance(SERVICES.len())];
        match self.chance(16) {
            0..3 => self.create_service(name).await,
            3..6 => self.update_service(name).await,
            6..8 => self.scale_service(name).await,
            8 => self.delete_service(name).await,
            9 => self.protect_some().await,
            10 => self.stop_deployment(name).await,
            11..13 => self.at_once(name).await,
            _ => self.drain(self.chance(3) > 0).await,
        }
    }

    /// What a service is to run next; now and then it is broken.
    fn family(&self, name: &str) -> &'static str {
        match name != EXTERNAL && self.chance(5) == 0 {
            true => BROKEN[self.chance(BROKEN.len())],
            false => FAMILIES[self.chance(FAMILIES.len())],
        }
    }

    /// Several people want several things of a service at the same moment.
    async fn at_once(&mut self, name: &'static str) {
        let mut calls = Vec::new();
        for _ in 0..2 + self.chance(2) {
            calls.push(match self.chance(6) {
                0 => ("DeleteService", json!({"service": name, "force": true})),
                1 if name != DAEMON && name != EXTERNAL => {
                    ("CreateService", json!({"serviceName": name, "taskDefinition": FAMILIES[0], "desiredCount": 2}))
                }
                2 | 3 if name != DAEMON => {
                    ("UpdateService", json!({"service": name, "desiredCount": (self.chance(6))}))
                }
                _ if name == EXTERNAL => ("UpdateService", json!({"service": name, "desiredCount": 2})),
                _ => ("UpdateService", json!({"service": name, "taskDefinition": (self.family(name))})),
            });
        }
        if self.race(calls).await > 1 {
            self.summary.races += 1;
        }
    }

    /// Somebody ends a deployment where it is, or sends it back.
    async fn stop_deployment(&mut self, name: &str) {
        let arn = ServiceArn { cluster: self.cluster(), name: ServiceName::parse(name).unwrap() };
        let row = self.rows().into_iter().find(|row| row.service.arn == arn && row.service.is_active());
        let Some(story) = row.and_then(|row| Some(row.service.primary()?.service_deployment.clone())) else { return };
        let story = model::ServiceDeploymentArn { service: arn, id: story };
        let how = ["ROLLBACK", "ABORT"][self.chance(2)];
        let input = json!({"serviceDeploymentArn": story.to_string(), "stopType": how});
        if self.call("StopServiceDeployment", input).await.is_some() {
            self.tell(format!("{how} of {name}"));
            self.summary.deployments_stopped += 1;
        }
    }

    /// A hook that somebody has to answer, or that runs a task.
    fn hook(&self) -> serde_json::Value {
        let stage = PAUSES[self.chance(PAUSES.len())];
        let action = ["CONTINUE", "ROLLBACK"][self.chance(2)];
        let mut hook = json!({"lifecycleStages": [stage],
            "timeoutConfiguration": {"timeoutInMinutes": (1 + self.chance(2)), "action": action}});
        match self.chance(2) {
            0 => hook["targetType"] = "PAUSE".into(),
            _ => {
                let family = HOOKS[self.chance(HOOKS.len())];
                hook["hookTargetArn"] = format!("arn:aws:ecs:us-east-1:000000000000:task-definition/{family}:1").into();
            }
        }
        hook
    }

    async fn create_service(&mut self, name: &str) {
        let rules = [
            json!({}),
            json!({"minimumHealthyPercent": 50}),
            json!({"minimumHealthyPercent": 0, "maximumPercent": 100}),
        ];
        let mut input = json!({
            "serviceName": name,
            "taskDefinition": self.family(name),
        });
        if name == EXTERNAL {
            let controller = json!({"type": "EXTERNAL"});
            input =
                json!({"serviceName": name, "desiredCount": 1 + self.chance(4), "deploymentController": controller});
        } else if name == DAEMON {
            input["schedulingStrategy"] = "DAEMON".into();
        } else {
            input["desiredCount"] = (1 + self.chance(4)).into();
            input["deploymentConfiguration"] = rules[self.chance(rules.len())].clone();
            input["availabilityZoneRebalancing"] = ["ENABLED", "DISABLED"][self.chance(2)].into();
            input["deploymentConfiguration"]["deploymentCircuitBreaker"] =
                json!({"enable": self.chance(2) == 0, "rollback": self.chance(2) == 0});
            if input["deploymentConfiguration"]["maximumPercent"] == 100 {
                input["availabilityZoneRebalancing"] = "DISABLED".into();
            }
            if self.chance(3) > 0 {
                input["deploymentConfiguration"]["strategy"] = "BLUE_GREEN".into();
                input["deploymentConfiguration"]["bakeTimeInMinutes"] = self.chance(2).into();
                let hooks: Vec<_> = (0..1 + self.chance(2)).map(|_| self.hook()).collect();
                input["deploymentConfiguration"]["lifecycleHooks"] = hooks.into();
            }
        }
        if self.call("CreateService", input).await.is_some() {
            self.tell(format!("service {name} is there"));
            self.summary.services += 1;
        }
    }

    async fn update_service(&mut self, name: &str) {
        if name == EXTERNAL {
            return self.change_sets().await;
        }
        let family = self.family(name);
        let input = json!({"service": name, "taskDefinition": family, "forceNewDeployment": self.chance(3) == 0});
        if self.call("UpdateService", input).await.is_some() {
            self.tell(format!("service {name} goes to {family}"));
            self.summary.updates += 1;
        }
    }

    /// What a controller does: a set more, another share for one, another one that leads, one that goes.
    async fn change_sets(&mut self) {
        let arn = ServiceArn { cluster: self.cluster(), name: ServiceName::parse(EXTERNAL).unwrap() };
        let row = self.rows().into_iter().find(|row| row.service.arn == arn && row.service.is_active());
        let sets: Vec<String> = row
            .and_then(|row| {
                row.service
                    .external
                    .as_ref()
                    .map(|external| external.sets.iter().map(|set| set.id.to_string()).collect())
            })
            .unwrap_or_default();
        let scale = json!({"unit": "PERCENT", "value": ([0, 50, 100][self.chance(3)])});
        let chosen = (!sets.is_empty()).then(|| sets[self.chance(sets.len())].clone());
        let family = FAMILIES[self.chance(FAMILIES.len())];
        // Two sets of all tasks are as many as the machines have room for.
        let (operation, mut input) = match (self.chance(4), chosen) {
            (0, Some(set)) => ("UpdateTaskSet", json!({"taskSet": set, "scale": scale})),
            (1, Some(set)) => ("UpdateServicePrimaryTaskSet", json!({"primaryTaskSet": set})),
            (2, Some(set)) => ("DeleteTaskSet", json!({"taskSet": set, "force": true})),
            _ if sets.len() < 2 => ("CreateTaskSet", json!({"taskDefinition": family, "scale": scale})),
            _ => return,
        };
        input["cluster"] = "default".into();
        input["service"] = EXTERNAL.into();
        if self.call(operation, input).await.is_some() {
            self.tell(format!("{operation} of {EXTERNAL}"));
            self.summary.set_changes += 1;
        }
    }

    /// Somebody decides at each PAUSE hook that waits.
    async fn decide(&mut self) {
        let awaits = |row: &Arc<ServiceRow>| {
            let story = row.deployment(&row.service.primary()?.service_deployment)?;
            let runs = &story.lifecycle.as_ref()?.hooks;
            let run = runs.iter().find(|run| run.status == HookStatus::AwaitingAction)?;
            Some((story.arn.to_string(), run.id.to_string()))
        };
        let waiting: Vec<_> = self.rows().iter().filter_map(awaits).collect();
        for (deployment, hook) in waiting {
            let action = if self.chance(4) == 0 { "ROLLBACK" } else { "CONTINUE" };
            let input = json!({"serviceDeploymentArn": deployment, "hookId": hook, "action": action});
            if self.call("ContinueServiceDeployment", input).await.is_some() {
                self.tell(format!("{action} at {hook}"));
                self.summary.decisions += 1;
            }
        }
    }

    async fn scale_service(&mut self, name: &str) {
        if name != DAEMON {
            let count = self.chance(6);
            if self.call("UpdateService", json!({"service": name, "desiredCount": count})).await.is_some() {
                self.tell(format!("service {name} is to have {count}"));
            }
        }
    }

    async fn delete_service(&mut self, name: &str) {
        if self.call("DeleteService", json!({"service": name, "force": true})).await.is_some() {
            self.tell(format!("service {name} is deleted"));
        }
    }

    async fn protect_some(&mut self) {
        let tasks: Vec<String> = self.service_tasks().iter().take(3).map(|task| task.arn.to_string()).collect();
        if !tasks.is_empty() {
            let input = json!({"cluster": "default", "tasks": tasks, "protectionEnabled": true, "expiresInMinutes": 2});
            if self.call("UpdateTaskProtection", input).await.is_some() {
                self.tell(format!("{} tasks of services are protected", tasks.len()));
            }
        }
    }

    async fn drain(&mut self, active: bool) {
        let at = self.chance(self.agents.len());
        let instance = self.agents[at].instance().to_string();
        let status = if active { "ACTIVE" } else { "DRAINING" };
        self.tell(format!("machine {at} is {status}"));
        self.call("UpdateContainerInstancesState", json!({"containerInstances": [instance], "status": status})).await;
    }

    /// Every instance takes tasks again.
    pub(crate) async fn all_active(&mut self) {
        let instances: Vec<String> = self.agents.iter().map(|agent| agent.instance().to_string()).collect();
        let input = json!({"containerInstances": instances, "status": "ACTIVE"});
        assert!(self.call("UpdateContainerInstancesState", input).await.is_some(), "{}", self.story());
    }

    pub(crate) async fn delete_services(&mut self) {
        for name in SERVICES {
            self.delete_service(name).await;
        }
    }

    pub(crate) fn rows(&self) -> Vec<Arc<ServiceRow>> {
        let Some(ctx) = self.server() else { return Vec::new() };
        let snapshot = ctx.store.snapshot();
        let cluster = self.cluster();
        let rows = snapshot.services(&cluster, None);
        rows.cloned().collect()
    }

    pub(crate) fn cluster(&self) -> ClusterArn {
        self.agents[0].instance().cluster.clone()
    }

    /// The tasks of services that have not stopped.
    pub(crate) fn service_tasks(&self) -> Vec<Arc<Task>> {
        self.rows().iter().flat_map(|row| row.tasks().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn is_of_a_service(&self, task: &Task) -> bool {
        ServiceArn::of_group(&self.cluster(), &task.group).is_some()
    }

    /// Each service is as it was asked to be, and says so.
    pub(crate) fn steady(&self) -> Result<(), String> {
        for row in self.rows().iter().filter(|row| row.service.status != ServiceStatus::Inactive) {
            let service = &row.service;
            if service.external.is_some() {
                sets_steady(row)?;
                continue;
            }
            let of_primary = row.counts(service.primary().map_or(DeploymentId::of(0), |primary| primary.id));
            let as_asked = service.is_active()
                && (row.running, row.pending) == (service.desired_count, 0)
                && of_primary.running == service.desired_count
                && service.deployments.len() == 1
                && (failed(service) || service.steady);
            if !as_asked {
                let events: Vec<_> = row.events().take(8).map(|event| event.message.to_string()).collect();
                return Err(format!("{service:#?} has {} running, {} pending; {events:#?}", row.running, row.pending));
            }
            if service.scheduling == model::SchedulingStrategy::Daemon
                && service.desired_count as usize != self.agents.len()
            {
                return Err(format!("{} daemons", service.desired_count));
            }
        }
        Ok(())
    }

    /// Nothing is left that keeps a service from moving its tasks. Until when is written by the clock of that time, and who set it back
    /// waits for longer.
    pub(crate) fn free(&self) -> Result<(), String> {
        let now = self.server().ok_or("the server is down")?.effects.now();
        for task in self.service_tasks() {
            if task.protected_until.is_some_and(|until| until > now) {
                return Err(format!("{} is protected: {:?}", task.arn, task.protected_until));
            }
        }
        for row in self.rows().iter().filter(|row| row.service.is_active()) {
            let sets = row.service.external.iter().flat_map(|external| external.sets.iter().map(|set| set.failures));
            let mut failures = row.service.deployments.iter().map(|deployment| deployment.failures).chain(sets);
            if let Some(waits) = failures.find(|failures| failures.held(now).is_some()) {
                return Err(format!("{} waits: {waits:?}", row.service.arn));
            }
        }
        Ok(())
    }

    /// The last words of every service.
    pub(crate) fn service_events(&self) -> Vec<String> {
        let rows = self.rows();
        let events = rows.iter().flat_map(|row| row.events().take(12).map(|e| format!("{:?} {}", e.at, e.message)));
        events.collect()
    }

    /// Deleted services are INACTIVE, and nothing of them is left.
    pub(crate) fn all_inactive(&self) -> Result<(), String> {
        match self.rows().iter().find(|row| row.service.status != ServiceStatus::Inactive || row.live() > 0) {
            Some(row) => Err(format!("{:?} with {} tasks", row.service, row.live())),
            None => Ok(()),
        }
    }

    /// What can never work is replaced by what can.
    pub(crate) async fn cure(&mut self) {
        let broken = |row: &&Arc<ServiceRow>| {
            let mut specs = row.service.specs();
            row.service.is_active() && specs.any(|spec| BROKEN.contains(&spec.task_definition.family.as_str()))
        };
        let broken: Vec<_> = self.rows().iter().filter(broken).map(|row| row.service.arn.name.to_string()).collect();
        for name in broken {
            self.tell(format!("service {name} is cured"));
            let input = json!({"service": name, "taskDefinition": FAMILIES[0], "forceNewDeployment": true,
                "deploymentConfiguration": {"lifecycleHooks": []}});
            self.call("UpdateService", input).await;
        }
    }

    /// A deployment that the storm broke, and that nothing brings back by itself, is made anew, as an operator would.
    pub(crate) async fn mend(&mut self) {
        let broken: Vec<String> = self
            .rows()
            .iter()
            .filter(|row| row.service.is_active() && (failed(&row.service) || paused(row)))
            .map(|row| row.service.arn.name.to_string())
            .collect();
        for name in broken {
            self.tell(format!("service {name} had failed or is paused, and is deployed anew"));
            // Nobody is left to decide at a hook.
            let input =
                json!({"service": name, "forceNewDeployment": true, "deploymentConfiguration": {"lifecycleHooks": []}});
            self.call("UpdateService", input).await;
        }
    }

    /// What DescribeServices says of services, for the story.
    pub(crate) async fn describe_services(&mut self) {
        let answer = self.call("DescribeServices", json!({"services": SERVICES})).await;
        let services = answer.as_ref().and_then(|answer| answer["services"].as_array()).cloned().unwrap_or_default();
        for service in services.iter().filter(|service| service["status"] != "INACTIVE") {
            let deployments = service["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
            let primaries = deployments.iter().filter(|d| d["status"] == "PRIMARY").count();
            if primaries != usize::from(service["serviceName"] != EXTERNAL) {
                self.wrong.push(format!("{primaries} primary deployments: {service:#}"));
            }
            let total = |name: &str| deployments.iter().map(|d| d[name].as_i64().unwrap_or(0)).sum::<i64>();
            let deployed_by_us = service["serviceName"] != EXTERNAL;
            let all = service["runningCount"].as_i64() == Some(total("runningCount"));
            if deployed_by_us && service["status"] == "ACTIVE" && !all {
                self.wrong.push(format!("its deployments' tasks are not its tasks: {service:#}"));
            }
        }
    }
}

/// Each set has its tasks, and there are no others.
fn sets_steady(row: &ServiceRow) -> Result<(), String> {
    let sets = row.service.external.iter().flat_map(|external| &external.sets);
    let wanted: u32 = sets.clone().map(|set| set.computed_desired_count(row.service.desired_count)).sum();
    if row.service.is_active() && sets.clone().all(|set| set.steady) && (row.running, row.pending) == (wanted, 0) {
        return Ok(());
    }
    let events: Vec<_> = row.events().take(8).map(|event| event.message.to_string()).collect();
    Err(format!("{:#?} has {} running, {} pending; {events:#?}", row.service, row.running, row.pending))
}

/// Its deployment may come to a hook yet.
fn paused(row: &ServiceRow) -> bool {
    let story = row.service.primary().and_then(|primary| row.deployment(&primary.service_deployment));
    story.is_some_and(|story| !story.status.is_over() && !story.rules.strategy.hooks().is_empty())
}

fn failed(service: &Service) -> bool {
    service.primary().is_some_and(|primary| primary.rollout == Rollout::Failed)
}
