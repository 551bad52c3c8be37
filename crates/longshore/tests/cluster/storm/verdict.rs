//! What was answered, what was done to the cluster, what it tells, and what the containers wrote: do they agree?

use super::{
    Deaths, LOG_GROUP,
    client::{Asked, Kind},
    pages,
};
use crate::api::Api;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The reason of the stops after the storm.
pub(super) const LAST_STOP: &str = "after the storm";
/// 128 and SIGKILL.
const KILLED: u64 = 137;
/// What the polite ones exit with.
const POLITE: u64 = 33;

/// What is wrong; empty if nothing is.
pub(super) fn judge(api: &Api, asked: &[Asked], deaths: &Deaths) -> Vec<String> {
    let mut wrong = Vec::new();
    let told = describe(api, asked);
    let lines = lines(api);
    let mut failed = 0;
    for task in asked {
        let Some(shown) = told.get(&task.arn) else {
            wrong.push(format!("{} was answered and is not described", task.arn));
            continue;
        };
        failed += u32::from(shown["stopCode"] == "TaskFailedToStart");
        let wrote = lines.get(&task.token).map_or(&[][..], Vec::as_slice);
        let mut one = Judge { task, shown, wrote, shims: &deaths.shims, wrong: &mut wrong };
        one.times();
        one.cause();
        one.exit();
        one.life();
    }
    only_what_was_asked(api, asked, &mut wrong);
    eprintln!("{failed} of them failed to start");
    wrong
}

fn describe(api: &Api, asked: &[Asked]) -> BTreeMap<String, Value> {
    let arns: Vec<&str> = asked.iter().map(|a| a.arn.as_str()).collect();
    let answers = arns.chunks(100).map(|some| api.ecs("DescribeTasks", &json!({ "tasks": some })));
    let tasks = answers.flat_map(|answer| answer["tasks"].as_array().cloned().unwrap_or_default());
    tasks.map(|task| (task["taskArn"].as_str().unwrap().to_owned(), task)).collect()
}

/// What containers wrote at their beginning: token to the numbers of its processes, as often as they are in the logs.
fn lines(api: &Api) -> BTreeMap<String, Vec<String>> {
    let input = json!({"logGroupName": LOG_GROUP, "limit": 10000});
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in pages(|input| api.logs("FilterLogEvents", input), input, "events") {
        let words: Vec<&str> = event["message"].as_str().unwrap().split(' ').collect();
        let [_, token, process] = words[..] else { panic!("{event}") };
        lines.entry(token.to_owned()).or_default().push(process.to_owned());
    }
    lines
}

/// A RunTask that was asked again must not have run twice: there are no tasks but those that were answered.
fn only_what_was_asked(api: &Api, asked: &[Asked], wrong: &mut Vec<String>) {
    let mut listed = BTreeSet::new();
    for status in ["RUNNING", "STOPPED"] {
        let tasks = pages(|input| api.ecs("ListTasks", input), json!({"desiredStatus": status}), "taskArns");
        listed.extend(tasks.into_iter().map(|arn| arn.as_str().unwrap().to_owned()));
    }
    let known: BTreeSet<_> = asked.iter().map(|a| a.arn.clone()).collect();
    wrong.extend(listed.difference(&known).map(|arn| format!("{arn} was answered to nobody")));
    wrong.extend(known.difference(&listed).map(|arn| format!("{arn} is not listed")));
}

struct Judge<'a> {
    task: &'a Asked,
    shown: &'a Value,
    /// The processes that wrote its token.
    wrote: &'a [String],
    shims: &'a BTreeSet<String>,
    wrong: &'a mut Vec<String>,
}

impl Judge<'_> {
    fn that(&mut self, holds: bool, what: &str) {
        if !holds {
            self.wrong.push(format!("{what}: {:?} wrote {:?} and is shown as {:#}", self.task, self.wrote, self.shown));
        }
    }

    fn container(&self) -> &Value {
        &self.shown["containers"][0]
    }

    fn code(&self) -> Option<u64> {
        self.container()["exitCode"].as_u64()
    }

    fn lost_its_shim(&self) -> bool {
        self.container()["runtimeId"].as_str().is_some_and(|id| self.shims.contains(id))
    }

    fn times(&mut self) {
        let at = |name: &str| self.shown[name].as_f64();
        let order = ["createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "executionStoppedAt", "stoppedAt"];
        let order: Vec<f64> = order.iter().filter_map(|name| at(name)).collect();
        let stopping = at("stoppingAt");
        self.that(order.is_sorted() && stopping >= at("createdAt") && stopping <= at("stoppedAt"), "times go back");
        self.that(self.shown["stoppedAt"].is_f64(), "it has no end");
    }

    fn cause(&mut self) {
        let code = self.shown["stopCode"].as_str().unwrap_or_default().to_owned();
        let reason = self.shown["stoppedReason"].as_str().unwrap_or_default().to_owned();
        let true_cause = match code.as_str() {
            "UserInitiated" => self.task.stop && reason == "by the storm" || reason == LAST_STOP,
            "EssentialContainerExited" => self.task.ends_by_itself() || self.lost_its_shim(),
            // Why is said of the container that did not start.
            "TaskFailedToStart" => self.container()["reason"].as_str().is_some_and(|text| text.contains(": ")),
            _ => false,
        };
        self.that(true_cause, "its cause is not the true one");
    }

    fn exit(&mut self) {
        let by_itself = match self.task.kind {
            Kind::Exits => self.task.code,
            Kind::Polite | Kind::Published | Kind::Fixed => POLITE,
            Kind::Stubborn => KILLED,
        };
        let stopped = self.shown["stopCode"] == "UserInitiated";
        let fits = match self.code() {
            Some(code) if code == by_itself => true,
            // Killed after its stopTimeout, or along with its shim.
            Some(KILLED) => stopped || self.lost_its_shim(),
            Some(_) => false,
            None if self.shown["stopCode"] == "TaskFailedToStart" => true,
            // It never began; or what ended it took the code along, which is then said.
            None => self.shown["startedAt"].is_null() || self.container()["reason"].is_string(),
        };
        self.that(fits, "its exit code is not the true one");
    }

    /// It lived once, and its words are there once.
    fn life(&mut self) {
        self.that(self.wrote.len() <= 1, "it began more than once, or its output is there more than once");
        let spoke_surely = self.code().is_some_and(|code| code == self.task.code || code == POLITE);
        self.that(!spoke_surely || self.wrote.len() == 1, "its output is lost");
    }
}
