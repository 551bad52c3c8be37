//! The one who runs and stops tasks, over the API's own handlers.

use crate::{
    node,
    world::{Asked, Later, World},
};
use model::{Scope, TaskArn};
use serde_json::{Value, json};
use server::Caller;
use std::collections::BTreeSet;

/// The families it runs.
const FAMILIES: [&str; 5] = ["small", "big", "pair", "port", CONNECTED];
/// Those of which no task ever comes to anything: an image that is not there, a program that ends at once.
pub(crate) const BROKEN: [&str; 2] = [node::MISSING, node::LOOPING];
/// Those that lifecycle hooks run.
pub(crate) const HOOKS: [&str; 3] = [node::WELL, node::REFUSING, node::HANGING];
/// The one whose tasks have a network interface, in subnets that are smaller than what wants to be in them.
pub(crate) const CONNECTED: &str = "connected";

impl World {
    /// Calls; nothing if there is no server, or it refuses.
    pub(crate) async fn call(&mut self, operation: &str, input: Value) -> Option<Value> {
        self.call_of(&shapes::ecs::SERVICE, operation, input).await
    }

    /// Calls all of them at once; how many were not refused.
    pub(crate) async fn race(&mut self, calls: Vec<(&'static str, Value)>) -> usize {
        let Some(ctx) = self.server().cloned() else { return 0 };
        let scope = Scope { account: ctx.config.account.clone(), region: ctx.config.region.clone() };
        let caller = Caller::root(scope, "AKIASIMULATED0000000");
        let calls = calls.into_iter().map(|(operation, input)| {
            let known = shapes::ecs::SERVICE.operation(operation).expect("the service has it");
            let answer = server::api::dispatch(&ctx, &caller, &shapes::ecs::SERVICE, known, input);
            async move { (operation, Box::pin(answer).await) }
        });
        let answers = futures::future::join_all(calls).await;
        for (operation, answer) in &answers {
            self.tell(format!(
                "{operation}, with others: {}",
                answer.as_ref().err().map_or("yes".into(), |e| format!("{e:?}"))
            ));
        }
        answers.iter().filter(|(_, answer)| answer.is_ok()).count()
    }

    async fn call_of(
        &mut self,
        service: &'static wire::schema::Service,
        operation: &str,
        input: Value,
    ) -> Option<Value> {
        let ctx = self.server()?.clone();
        let scope = Scope { account: ctx.config.account.clone(), region: ctx.config.region.clone() };
        let caller = Caller::root(scope, "AKIASIMULATED0000000");
        let known = service.operation(operation).expect("the service has it");
        let answer = server::api::dispatch(&ctx, &caller, service, known, input);
        match Box::pin(answer).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.tell(format!("{operation} was refused: {error:?}"));
                None
            }
        }
    }

    /// What there has to be before the storm: the definitions, and every instance once.
    pub(crate) async fn prepare(&mut self) {
        let container = |name: &str, memory: u32, essential: bool| {
            json!({"name": name, "image": "busybox", "memory": memory, "cpu": 64, "essential": essential,
                   "stopTimeout": if memory > 100 { 30 } else { 5 }})
        };
        let mut port = container("web", 64, true);
        port["portMappings"] = json!([{"containerPort": 80, "hostPort": 8080}]);
        let mut checked = container("app", 100, true);
        checked["healthCheck"] = json!({"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 2});
        let containers = [
            vec![checked],
            vec![container("app", 3200, true)],
            vec![container("app", 80, true), container("side", 120, false)],
            vec![port],
            vec![container("app", 60, true)],
        ];
        for (family, containers) in FAMILIES.into_iter().zip(containers) {
            let mode = if family == CONNECTED { "awsvpc" } else { "bridge" };
            let input = json!({"family": family, "networkMode": mode, "containerDefinitions": containers});
            assert!(self.call("RegisterTaskDefinition", input).await.is_some(), "{}", self.story());
        }
        for family in BROKEN.into_iter().chain(HOOKS) {
            let mut only = container("app", 40, true);
            only["image"] = family.into();
            let input = json!({"family": family, "networkMode": "bridge", "containerDefinitions": [only]});
            assert!(self.call("RegisterTaskDefinition", input).await.is_some(), "{}", self.story());
        }
        let vpc = self.call_of(&shapes::ec2::SERVICE, "CreateVpc", json!({"CidrBlock": "10.0.0.0/16"})).await;
        let vpc = vpc.expect("it is the first")["Vpc"]["VpcId"].clone();
        for (number, zone) in ["us-east-1a", "us-east-1b"].into_iter().enumerate() {
            let cidr = format!("10.0.{number}.0/28");
            let input = json!({"VpcId": vpc, "CidrBlock": cidr, "AvailabilityZone": zone});
            let made = self.call_of(&shapes::ec2::SERVICE, "CreateSubnet", input).await;
            self.subnets.push(made.expect("they do not overlap")["Subnet"]["SubnetId"].as_str().unwrap().to_owned());
        }
        self.until("all instances", Self::connected).await;
        for _ in 0..4 {
            self.keep_services().await;
        }
    }

    /// Every instance has a session.
    pub(crate) fn connected(&self) -> Result<(), String> {
        let snapshot = self.server().ok_or("the server is down")?.store.snapshot();
        for agent in &self.agents {
            if !snapshot.instance(agent.instance()).is_some_and(|row| row.instance.agent_connected) {
                return Err(format!("{} is not connected", agent.instance()));
            }
        }
        Ok(())
    }

    pub(crate) async fn run_tasks(&mut self) {
        let token = self.dice.uuid();
        let strategy =
            [json!({"type": "random"}), json!({"type": "binpack", "field": "memory"})][self.chance(2)].clone();
        let family = FAMILIES[self.chance(FAMILIES.len())];
        let mut input = json!({
            "taskDefinition": family,
            "count": 1 + self.chance(if family == CONNECTED { 10 } else { 4 }),
            "clientToken": token,
            "placementStrategy": [strategy],
        });
        if family == CONNECTED {
            input["networkConfiguration"] = self.network();
        }
        let Some(tasks) = self.ask(&input).await else { return };
        self.tell(format!("{} tasks run", tasks.len()));
        if self.chance(4) == 0 {
            // The answer is lost; the client does what clients do.
            self.asked.insert(token.clone(), Asked { input, tasks });
            self.later(40_000, Later::Retry(token));
            if self.chance(4) == 0 {
                // It was lost because there was nobody left to give it.
                self.kill_server();
            }
        }
    }

    /// Asks for the same again: nothing may run twice.
    pub(crate) async fn retry(&mut self, token: String) {
        let Some(Asked { input, tasks }) = self.asked.remove(&token) else { return };
        if let Some(again) = self.ask(&input).await {
            self.summary.retries += 1;
            if again != tasks && !tasks.is_empty() {
                self.wrong.push(format!("the same request ran {tasks:?}, and then {again:?}"));
            }
        }
    }

    /// Where tasks with an interface are.
    pub(crate) fn network(&self) -> Value {
        json!({"awsvpcConfiguration": {"subnets": self.subnets}})
    }

    async fn ask(&mut self, input: &Value) -> Option<BTreeSet<TaskArn>> {
        let answer = self.call("RunTask", input.clone()).await?;
        let arns = answer["tasks"].as_array().into_iter().flatten();
        let tasks: BTreeSet<TaskArn> = arns.map(|task| task["taskArn"].as_str().unwrap().parse().unwrap()).collect();
        for task in &tasks {
            if self.laws.task(task).is_none() {
                self.wrong.push(format!("{task} was answered, and never committed"));
            }
            self.seen.insert(task.clone());
        }
        Some(tasks)
    }

    pub(crate) async fn stop_a_task(&mut self) {
        let living = self.laws.tasks().into_iter().filter(|task| task.stopped_at().is_none());
        let living: Vec<TaskArn> = living.map(|task| task.arn.clone()).collect();
        if !living.is_empty() {
            let task = living[self.chance(living.len())].clone();
            self.stop(task).await;
        }
    }

    pub(crate) async fn stop(&mut self, task: TaskArn) {
        let input = json!({"task": task.to_string(), "reason": "asked by the simulation"});
        if self.call("StopTask", input).await.is_some() {
            self.tell(format!("{} is to stop", task.id));
            self.to_stop.insert(task);
        }
    }

    /// Whatever was answered is described.
    pub(crate) async fn describe_some(&mut self) {
        let arns: Vec<String> = self.laws.tasks().iter().rev().take(100).map(|task| task.arn.to_string()).collect();
        if arns.is_empty() {
            return;
        }
        if let Some(answer) = self.call("DescribeTasks", json!({"tasks": arns})).await {
            let described = answer["tasks"].as_array().map_or(0, Vec::len);
            if described != arns.len() {
                self.wrong.push(format!("{described} of {} tasks are described", arns.len()));
            }
        }
    }
}
