//! Tasks that find no place, and what makes one. Pure.

use super::{
    facts::{Hold, Kind},
    judge::{Seen, count, has_failed, is_of},
};
use crate::cli::status::{
    facts::Level,
    judge::{id, millis},
};
use jiff::Timestamp;
use shapes::ecs;

impl Seen<'_> {
    pub(in crate::cli) fn not_placed(&self) -> Option<Hold> {
        let primary = self.primary()?;
        let lacking = count(primary.desired_count) - count(primary.running_count) - count(primary.pending_count);
        // One that failed starts nothing, and what the rules forbid needs no place yet.
        if lacking <= 0 || has_failed(primary) || self.room_in_rules() <= 0 {
            return None;
        }
        let event = self.placement_failure(primary)?;
        let why = ["because ", "Reason: "].iter().find_map(|word| Some(event.split_once(word)?.1)).unwrap_or(event);
        let why = why.split(" For more information").next().unwrap_or(why);
        let definition = id(primary.task_definition.as_deref());
        let next = if why.contains("No Container Instances") {
            format!("longshore up --cluster {} --size 1", self.cluster)
        } else if why.contains("Capacity is unavailable") {
            "give Fargate a machine in the zone of its subnets, with a token of this region: `longshore agent --fargate` \
             there (docs/fargate.md)"
                .to_owned()
        } else if why.contains("No machine given to Fargate has") {
            "give Fargate a machine that has it; where it is wanting under gVisor, one that runs `longshore agent --fargate \
             --runtime runc` (docs/isolation.md)"
                .to_owned()
        } else if why.contains("port") {
            "one task of it fits an instance: add instances with `longshore scale --size N`, or give the container host port 0"
                .to_owned()
        } else if why.contains("insufficient") {
            format!(
                "make room: longshore scale --size N; `longshore status --cluster {}` tells what is taken",
                self.cluster
            )
        } else {
            format!(
                "longshore check-attributes --cluster {} --task-def {definition} --container-instances ID tells what an \
                 instance lacks",
                self.cluster
            )
        };
        let desired = count(primary.desired_count);
        let what = format!("{lacking} of {desired} tasks of {definition} cannot be placed");
        let why = Some(why.trim_end_matches('.').to_owned());
        Some(Hold { level: Level::Error, kind: Kind::TasksNotPlaced, what, why, next: Some(next) })
    }

    /// The newest word that a task of the deployment found no place, unless all of them found one since. It is said once in
    /// hours and holds until then: that some tasks were started after it, or with it, does not mean that all could be.
    fn placement_failure(&self, primary: &ecs::Deployment) -> Option<&str> {
        let steady = |event: &&ecs::ServiceEvent| {
            event.message.as_deref().is_some_and(|text| text.contains("has reached a steady state"))
        };
        let since_steady = self.service.events.iter().flatten().take_while(|event| !steady(event));
        let (at, text) = since_steady
            .filter_map(|event| Some((millis(event.created_at), event.message.as_deref()?)))
            .find(|(_, text)| text.contains("was unable to place a task"))?;
        let over = self.all_placed_at(primary).max(millis(primary.created_at));
        (over.is_none_or(|over| at.is_none_or(|at| at >= over))).then_some(text)
    }

    /// When last as many tasks of the deployment were there as it wants. That can only be when one of them was started.
    fn all_placed_at(&self, primary: &ecs::Deployment) -> Option<Timestamp> {
        let ours = || self.running.iter().chain(self.stopped).filter(|task| is_of(task, primary));
        // It is replaced from the first word of its end.
        let end = |task: &ecs::Task| {
            [task.execution_stopped_at, task.stopping_at, task.stopped_at].into_iter().filter_map(millis).min()
        };
        let there = |at: Timestamp| {
            let is_there = |task: &&ecs::Task| {
                millis(task.created_at).is_some_and(|began| began <= at) && end(task).is_none_or(|end| end > at)
            };
            i64::try_from(ours().filter(is_there).count()).unwrap_or(i64::MAX)
        };
        let started = ours().filter_map(|task| millis(task.created_at));
        started.filter(|at| there(*at) >= count(primary.desired_count)).max()
    }

    /// How many more tasks there may be, by the rules.
    fn room_in_rules(&self) -> i64 {
        let percent = self.service.deployment_configuration.as_ref().and_then(|rules| rules.maximum_percent);
        let there = count(self.service.running_count) + count(self.service.pending_count);
        percent.map_or(i64::MAX, |max| count(self.service.desired_count) * i64::from(max) / 100 - there)
    }
}
