//! Tasks that find no place, and what makes one. Pure.

use super::{
    facts::{Hold, Kind},
    judge::{Seen, count},
};
use crate::cli::status::{facts::Level, judge::id};

impl Seen<'_> {
    pub(super) fn not_placed(&self) -> Option<Hold> {
        let event = self.event(&["was unable to place a task"])?;
        let primary = self.primary()?;
        let lacking = count(primary.desired_count) - count(primary.running_count) - count(primary.pending_count);
        if lacking <= 0 {
            return None;
        }
        let why = ["because ", "Reason: "].iter().find_map(|word| Some(event.split_once(word)?.1)).unwrap_or(event);
        let why = why.split(" For more information").next().unwrap_or(why);
        let definition = id(primary.task_definition.as_deref());
        let next = if why.contains("No Container Instances") {
            format!("longshore up --cluster {} --size 1", self.cluster)
        } else if why.contains("port") {
            "one task of it fits an instance: add instances with `longshore scale --size N`, or give the container host port 0"
                .to_owned()
        } else if why.contains("insufficient") {
            format!(
                "make room: longshore scale --size N; `longshore status --cluster {}` tells what is taken",
                self.cluster
            )
        } else {
            format!("longshore check-attributes --cluster {} --task-def {definition}", self.cluster)
        };
        let desired = count(primary.desired_count);
        let what = format!("{lacking} of {desired} tasks of {definition} cannot be placed");
        let why = Some(why.trim_end_matches('.').to_owned());
        Some(Hold { level: Level::Error, kind: Kind::TasksNotPlaced, what, why, next: Some(next) })
    }
}
