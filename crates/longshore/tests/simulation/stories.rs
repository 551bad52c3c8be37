//! What a storm brings about too seldom, brought about on purpose.

use crate::world::World;
use model::{ServiceArn, ServiceName, ServiceStatus, Task};
use serde_json::json;
use state::ServiceRow;
use std::{sync::Arc, time::Duration};

/// The one that is told of. Its tasks are spread over the machines.
const NAME: &str = "gone";
const TASKS: usize = 4;
/// How far the server's clock is ahead: further than protection lasts.
const AHEAD_MILLIS: i64 = 10 * 60_000;
/// How long something may take that comes at once.
const AT_ONCE_MILLIS: usize = 60_000;

impl World {
    /// A service is deleted while nobody hears from its machines; it is over when they are given up. When they are back, its tasks
    /// tell of which images they are, and then stop.
    pub(crate) async fn tells_late(&mut self) -> Result<(), String> {
        self.begin().await;
        for agent in &self.agents {
            agent.machine.calm();
        }
        let input = json!({"serviceName": NAME, "taskDefinition": "small", "desiredCount": TASKS});
        self.call("CreateService", input).await.ok_or_else(|| self.story())?;
        let mut left = AT_ONCE_MILLIS;
        while !self.all_are_kept() {
            left = left.checked_sub(1).ok_or("its tasks do not come to their machines")?;
            self.effects.sleep(Duration::from_millis(1)).await;
        }
        self.agents.iter().for_each(|agent| agent.road.stall(true));
        self.call("DeleteService", json!({"service": NAME, "force": true})).await.ok_or_else(|| self.story())?;
        self.until("the service's end", |world| match world.told()?.service.status {
            ServiceStatus::Inactive => Ok(()),
            status @ (ServiceStatus::Active | ServiceStatus::Draining) => Err(format!("it is {status:?}")),
        })
        .await;
        self.agents.iter().for_each(|agent| agent.road.stall(false));
        let ended = self.told()?.service.clone();
        let (mut late, mut left) = (false, AT_ONCE_MILLIS);
        while self.told()?.live() > 0 && self.wrong.is_empty() {
            left = left.checked_sub(1).ok_or("its tasks do not stop")?;
            late |= self.told().is_ok_and(|row| knows_more(&row));
            self.left_alone(&ended.arn)?;
            self.effects.sleep(Duration::from_millis(1)).await;
        }
        if !late {
            return Err(format!("no task has told anything late:\n{}", self.story()));
        }
        if self.told()?.service != ended {
            return Err(format!("{ended:?} has become {:?}", self.told()?.service));
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("\n")) }
    }

    /// Tasks are protected by a clock that is ahead, and is set back before they are to be moved: they stay until the time that was
    /// told, and are moved then, though nothing else happens.
    pub(crate) async fn balances_late(&mut self) -> Result<(), String> {
        self.begin().await;
        for agent in &self.agents {
            agent.machine.calm();
        }
        self.drained(true).await?;
        let input = json!({"serviceName": NAME, "taskDefinition": "pair", "desiredCount": TASKS,
            "availabilityZoneRebalancing": "ENABLED"});
        self.call("CreateService", input).await.ok_or_else(|| self.story())?;
        self.until("the service's steady state", |world| match world.told()?.service.steady {
            true => Ok(()),
            false => Err("it is not steady".into()),
        })
        .await;
        self.set_clock(None, AHEAD_MILLIS);
        let tasks: Vec<String> = self.told()?.tasks().map(|task| task.arn.to_string()).collect();
        let input = json!({"cluster": "default", "tasks": tasks, "protectionEnabled": true, "expiresInMinutes": 2});
        self.call("UpdateTaskProtection", input).await.ok_or_else(|| self.story())?;
        self.kill_server();
        self.set_clock(None, 0);
        self.start_server();
        self.until("every session", Self::connected).await;
        self.drained(false).await?;
        let until = self.told()?.tasks().filter_map(|task| task.protected_until).max().ok_or("nothing is protected")?;
        let now = self.server().ok_or("the server is down")?.effects.now();
        if until.millis_since(now) < AHEAD_MILLIS / 2 {
            return Err(format!("the protection ends at {until:?}, and it is {now:?}"));
        }
        let is_balanced = |world: &Self| {
            let row = world.told()?;
            let told = row.events().find(|event| event.message.contains("to AZ Rebalance"));
            told.map(|event| event.at).ok_or_else(|| "it is not balanced".to_owned())
        };
        self.until("the balance", |world| is_balanced(world).map(|_| ())).await;
        let late = is_balanced(self)?.millis_since(until);
        if !(0..1_000).contains(&late) {
            return Err(format!("tasks were moved {late} ms after their protection:\n{}", self.story()));
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("\n")) }
    }

    /// Whether the only machine of its zone takes tasks.
    async fn drained(&mut self, drained: bool) -> Result<(), String> {
        let instance = self.agents[1].instance().to_string();
        let status = if drained { "DRAINING" } else { "ACTIVE" };
        let input = json!({"containerInstances": [instance], "status": status});
        self.call("UpdateContainerInstancesState", input).await.map(|_| ()).ok_or_else(|| self.story())
    }

    fn told(&self) -> Result<Arc<ServiceRow>, String> {
        let arn = ServiceArn { cluster: self.cluster(), name: ServiceName::parse(NAME).unwrap() };
        self.rows().into_iter().find(|row| row.service.arn == arn).ok_or_else(|| "the service is not there".into())
    }

    /// All its tasks are known to their machines.
    fn all_are_kept(&self) -> bool {
        let Ok(row) = self.told() else { return false };
        let kept = |task: &&Arc<Task>| self.agents.iter().any(|agent| agent.keeps(&task.arn));
        row.tasks().filter(kept).count() == TASKS
    }

    fn left_alone(&self, arn: &ServiceArn) -> Result<(), String> {
        let (Some(ctx), Some(began)) = (self.server(), self.trusted_clock()) else { return Ok(()) };
        match server::restless(ctx, ctx.effects.now(), began).contains(arn) {
            true => Err("a look at it would do something, and nobody looks at it".into()),
            false => Ok(()),
        }
    }
}

/// Whether its tasks have told of which images they are, and its revision does not know it.
fn knows_more(row: &ServiceRow) -> bool {
    let told = row.tasks().any(|task| task.containers.iter().any(|container| container.image_digest.is_some()));
    let revisions = row.service.deployments.iter().filter_map(|deployment| row.revision(deployment.id));
    told && revisions.flat_map(|revision| &revision.images).any(|image| image.digest.is_none())
}
