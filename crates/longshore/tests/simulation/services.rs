//! The one who keeps services: creates, changes, deploys, deletes, drains instances under them, and protects their tasks.

use crate::world::World;
use model::{ClusterArn, DeploymentId, Rollout, Service, ServiceArn, ServiceStatus, Task, TaskArn};
use serde_json::json;
use state::{Desire, ServiceRow, TaskFilter};
use std::sync::Arc;

/// Its services. Together they want less than the machines have, also while a deployment has twice as many tasks as before.
const SERVICES: [&str; 3] = ["front", "back", "each"];
/// What they run: nothing that needs a port of its own, since two tasks of a deployment may meet on a machine.
const FAMILIES: [&str; 2] = ["small", "pair"];
/// The one that is a DAEMON.
const DAEMON: &str = "each";

impl World {
    pub(crate) async fn keep_services(&mut self) {
        let name = SERVICES[self.chance(SERVICES.len())];
        match self.chance(12) {
            0..3 => self.create_service(name).await,
            3..6 => self.update_service(name).await,
            6..8 => self.scale_service(name).await,
            8 => self.delete_service(name).await,
            9 => self.protect_some().await,
            _ => self.drain(self.chance(3) > 0).await,
        }
    }

    async fn create_service(&mut self, name: &str) {
        let rules = [
            json!({}),
            json!({"minimumHealthyPercent": 50}),
            json!({"minimumHealthyPercent": 0, "maximumPercent": 100}),
        ];
        let mut input = json!({
            "serviceName": name,
            "taskDefinition": FAMILIES[self.chance(FAMILIES.len())],
        });
        if name == DAEMON {
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
        }
        if self.call("CreateService", input).await.is_some() {
            self.tell(format!("service {name} is there"));
            self.summary.services += 1;
        }
    }

    async fn update_service(&mut self, name: &str) {
        let family = FAMILIES[self.chance(FAMILIES.len())];
        let input = json!({"service": name, "taskDefinition": family, "forceNewDeployment": self.chance(3) == 0});
        if self.call("UpdateService", input).await.is_some() {
            self.tell(format!("service {name} goes to {family}"));
            self.summary.updates += 1;
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
            self.call("UpdateTaskProtection", input).await;
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

    fn rows(&self) -> Vec<Arc<ServiceRow>> {
        let Some(ctx) = self.server() else { return Vec::new() };
        let snapshot = ctx.store.snapshot();
        let cluster = self.cluster();
        let rows = snapshot.services(&cluster, None);
        rows.cloned().collect()
    }

    fn cluster(&self) -> ClusterArn {
        self.agents[0].instance().cluster.clone()
    }

    /// The tasks of services that have not stopped.
    pub(crate) fn service_tasks(&self) -> Vec<Arc<Task>> {
        self.rows().iter().flat_map(|row| row.tasks().cloned().collect::<Vec<_>>()).collect()
    }

    /// All tasks of services that there are records of.
    pub(crate) fn tasks_of_services(&self) -> Vec<TaskArn> {
        let Some(ctx) = self.server() else { return Vec::new() };
        let filter = TaskFilter { desired: Desire::Any, ..TaskFilter::default() };
        let snapshot = ctx.store.snapshot();
        let tasks = snapshot.tasks(&self.agents[0].instance().cluster, &filter);
        tasks.filter(|task| self.is_of_a_service(task)).map(|task| task.arn.clone()).collect()
    }

    pub(crate) fn is_of_a_service(&self, task: &Task) -> bool {
        ServiceArn::of_group(&self.cluster(), &task.group).is_some()
    }

    /// Each service is as it was asked to be, and says so.
    pub(crate) fn steady(&self) -> Result<(), String> {
        for row in self.rows().iter().filter(|row| row.service.status != ServiceStatus::Inactive) {
            let service = &row.service;
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

    /// A deployment that the storm broke, and that nothing brings back by itself, is made anew, as an operator would.
    pub(crate) async fn mend(&mut self) {
        let broken: Vec<String> = self
            .rows()
            .iter()
            .filter(|row| row.service.is_active() && failed(&row.service))
            .map(|row| row.service.arn.name.to_string())
            .collect();
        for name in broken {
            self.tell(format!("service {name} had failed, and is deployed anew"));
            self.call("UpdateService", json!({"service": name, "forceNewDeployment": true})).await;
        }
    }

    /// What DescribeServices says of services, for the story.
    pub(crate) async fn describe_services(&mut self) {
        let answer = self.call("DescribeServices", json!({"services": SERVICES})).await;
        let services = answer.as_ref().and_then(|answer| answer["services"].as_array()).cloned().unwrap_or_default();
        for service in services.iter().filter(|service| service["status"] != "INACTIVE") {
            let deployments = service["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
            let primaries = deployments.iter().filter(|d| d["status"] == "PRIMARY").count();
            if primaries != 1 {
                self.wrong.push(format!("{primaries} primary deployments: {service:#}"));
            }
            let total = |name: &str| deployments.iter().map(|d| d[name].as_i64().unwrap_or(0)).sum::<i64>();
            if service["status"] == "ACTIVE" && service["runningCount"] != total("runningCount") {
                self.wrong.push(format!("its deployments' tasks are not its tasks: {service:#}"));
            }
        }
    }
}

fn failed(service: &Service) -> bool {
    service.primary().is_some_and(|primary| primary.rollout == Rollout::Failed)
}
