//! One who runs and stops tasks and writes down what was answered.

use super::{Chance, LOG_GROUP};
use crate::{
    api::{Api, Trouble},
    harness::{Cluster, PATIENCE},
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Tasks that one client has at a time.
const AT_ONCE: usize = 3;
/// Between two things a client does.
const PACE: Duration = Duration::from_millis(150);

/// Every container's first words: its task's token, and a number that no other process has. A line that comes twice with one
/// number was shipped twice; two numbers are two processes.
const BEGAN: &str = r#"echo "began $TOKEN $(cat /proc/sys/kernel/random/uuid)";"#;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ends by itself with a code of its own.
    Exits,
    /// Ends with 33 when it is asked to.
    Polite,
    /// Ends only when it is killed.
    Stubborn,
    /// Polite, on a free port of its instance.
    Published,
    /// Polite, on one port that each instance has once.
    Fixed,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Exits, Self::Polite, Self::Stubborn, Self::Published, Self::Fixed];

    fn family(self) -> &'static str {
        match self {
            Self::Exits => "exits",
            Self::Polite => "polite",
            Self::Stubborn => "stubborn",
            Self::Published => "published",
            Self::Fixed => "fixed",
        }
    }

    fn script(self) -> String {
        match self {
            Self::Exits => format!("{BEGAN} sleep $TIME; exit $CODE"),
            Self::Stubborn => format!("{BEGAN} exec sleep 10000"),
            // Who is told to end before it has said that it began would leave by the trap without a word.
            Self::Polite | Self::Published | Self::Fixed => {
                format!("{BEGAN} trap 'exit 33' TERM; while :; do sleep 0.2; done")
            }
        }
    }

    fn ports(self) -> Value {
        match self {
            Self::Exits | Self::Polite | Self::Stubborn => json!([]),
            Self::Published => json!([{"containerPort": 8000}]),
            Self::Fixed => json!([{"containerPort": 8000, "hostPort": 18080}]),
        }
    }
}

/// Registers the families.
pub(super) fn define(cluster: &Cluster) {
    for kind in Kind::ALL {
        let log = json!({"awslogs-group": LOG_GROUP, "awslogs-region": "us-east-1",
                         "awslogs-stream-prefix": "s", "awslogs-create-group": "true"});
        let container = json!({
            "name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 2,
            "command": ["sh", "-c", kind.script()], "portMappings": kind.ports(),
            "logConfiguration": {"logDriver": "awslogs", "options": log},
        });
        let input = json!({"family": kind.family(), "containerDefinitions": [container]});
        cluster.api().ecs("RegisterTaskDefinition", &input);
    }
}

/// A task that was answered to a client.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) arn: String,
    /// What its container writes.
    pub(crate) token: String,
    pub(crate) kind: Kind,
    /// What it exits with if it ends by itself.
    pub(crate) code: u64,
    /// Its stop was answered.
    pub(crate) stop: bool,
    /// How far it was seen.
    last: usize,
}

impl Asked {
    pub(crate) fn ends_by_itself(&self) -> bool {
        self.kind == Kind::Exits
    }
}

const STATUSES: [&str; 7] =
    ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "STOPPING", "DEPROVISIONING", "STOPPED"];
const STOPPED: usize = STATUSES.len() - 1;

pub(super) struct Client {
    api: Api,
    chance: Chance,
    tasks: Vec<Asked>,
}

impl Client {
    pub(super) fn new(api: Api, chance: Chance) -> Self {
        Self { api, chance, tasks: Vec::new() }
    }

    #[allow(clippy::disallowed_methods)] // The pace of its load.
    pub(super) fn run(mut self, over: &AtomicBool) -> Vec<Asked> {
        while !over.load(Ordering::Relaxed) {
            let living = self.tasks.iter().filter(|t| t.last < STOPPED).count();
            match self.chance.below(3) {
                0 | 1 if living < AT_ONCE => self.run_task(),
                2 if living > 0 => self.stop_task(),
                _ => {}
            }
            self.look();
            std::thread::sleep(PACE);
        }
        self.tasks
    }

    /// Asks with one client token until it is answered, as SDKs do: it must never run twice.
    fn run_task(&mut self) {
        let kind = Kind::ALL[self.chance.below(5) as usize];
        let (token, code) = (self.chance.word(), 1 + self.chance.below(120));
        let time = format!("{}.{}", self.chance.below(3), self.chance.below(10));
        let environment = [("TOKEN", token.clone()), ("CODE", code.to_string()), ("TIME", time)];
        let environment = environment.map(|(name, value)| json!({"name": name, "value": value}));
        let answer = self.api.ecs(
            "RunTask",
            &json!({
                "taskDefinition": kind.family(), "clientToken": token, "placementStrategy": [{"type": "random"}],
                "overrides": {"containerOverrides": [{"name": "main", "environment": environment}]},
            }),
        );
        // While agents are away there may be no place for it.
        for task in answer["tasks"].as_array().unwrap() {
            let arn = task["taskArn"].as_str().unwrap().to_owned();
            self.tasks.push(Asked { arn, token: token.clone(), kind, code, stop: false, last: 0 });
        }
    }

    fn stop_task(&mut self) {
        let mut choice: Vec<_> = self.tasks.iter_mut().filter(|t| t.last < STOPPED && !t.stop).collect();
        if choice.is_empty() {
            return;
        }
        let at = self.chance.below(choice.len() as u64) as usize;
        let task = &mut choice[at];
        // Most of those that end by themselves are left to it.
        if !task.ends_by_itself() || self.chance.below(4) == 0 {
            self.api.ecs("StopTask", &json!({"task": task.arn, "reason": "by the storm"}));
            task.stop = true;
        }
    }

    /// What was answered is described, and only ever moves on.
    fn look(&mut self) {
        let mut living: Vec<_> = self.tasks.iter_mut().filter(|t| t.last < STOPPED).collect();
        if living.is_empty() {
            return;
        }
        let arns: Vec<_> = living.iter().map(|t| t.arn.clone()).collect();
        let told = match self.api.try_ecs("DescribeTasks", &json!({ "tasks": arns })) {
            Ok(told) => told,
            Err(Trouble::NoAnswer(_)) => return,
            Err(Trouble::Refused(error)) => {
                assert!(error.status >= 500, "{error:?}");
                return;
            }
        };
        let all = told["tasks"].as_array().unwrap();
        assert_eq!(all.len(), arns.len(), "within {PATIENCE:?} of their answers tasks are lost: {told:#}");
        for task in all {
            let now = STATUSES.iter().position(|s| task["lastStatus"] == *s).unwrap();
            let known = living.iter_mut().find(|t| task["taskArn"] == t.arn).unwrap();
            assert!(now >= known.last, "{} went back from {}: {task:#}", known.arn, STATUSES[known.last]);
            known.last = now;
        }
    }
}
