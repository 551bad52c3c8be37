//! How far a service is, as rows of a live display: a row for each of its deployments and one for the newest event.

use super::wait::{End, Look, Row};
use jiff::Timestamp;
use shapes::ecs;

/// Rows are never taken away again, so that what was replaced is seen to be.
pub(crate) struct Progress {
    since: Timestamp,
    rows: Vec<(String, Row)>,
    event: Option<Row>,
}

impl Progress {
    /// Events before that time are not shown.
    pub(crate) fn since(since: Timestamp) -> Self {
        Self { since, rows: Vec::new(), event: None }
    }

    /// What is shown of a look at the service; whether it is over is the caller's to say.
    pub(crate) fn look(&mut self, service: &ecs::Service) -> Look {
        let deployments = service.deployments.as_deref().unwrap_or_default();
        let active = service.status.as_deref() == Some("ACTIVE");
        let fate = fate(service);
        for (id, row) in &mut self.rows {
            if !deployments.iter().any(|d| d.id.as_ref() == Some(id)) {
                (row.state, row.end) = (if active { "replaced" } else { "stopped" }.to_owned(), Some(End::Well));
            }
        }
        for deployment in deployments {
            let id = deployment.id.clone().unwrap_or_default();
            let row = row(deployment, active, fate);
            match self.rows.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = row,
                None => self.rows.push((id, row)),
            }
        }
        let event = service.events.iter().flatten().next();
        let recent =
            |e: &&ecs::ServiceEvent| e.created_at.is_some_and(|at| at.as_millis() >= self.since.as_millisecond());
        if let Some(event) = event.filter(recent) {
            // Which service it is stands in the bar.
            let own = format!("(service {}) ", service.service_name.as_deref().unwrap_or_default());
            let message = event.message.as_deref().unwrap_or_default();
            let state = message.strip_prefix(&own).unwrap_or(message).to_owned();
            self.event = Some(Row { name: "event".to_owned(), state, end: None });
        }
        let primary = deployments.iter().find(|d| d.status.as_deref() == Some("PRIMARY"));
        let count = |number: Option<i32>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let total = count(service.desired_count);
        let done = count(primary.map_or(service.running_count, |p| p.running_count)).min(total);
        let rows = self.rows.iter().map(|(_, row)| row.clone()).chain(self.event.clone()).collect();
        Look { done, total, rows, over: false }
    }
}

/// What becomes of the tasks of old deployments.
fn fate(service: &ecs::Service) -> &'static str {
    let primary = service.deployments.iter().flatten().find(|d| d.status.as_deref() == Some("PRIMARY"));
    let strategy = service.deployment_configuration.as_ref().and_then(|rules| rules.strategy.as_deref());
    if primary.is_some_and(|primary| primary.rollout_state.as_deref() == Some("FAILED")) {
        "kept"
    } else if strategy == Some("BLUE_GREEN") {
        "kept to the end of the deployment"
    } else {
        "being replaced"
    }
}

fn row(deployment: &ecs::Deployment, active: bool, fate: &'static str) -> Row {
    let definition = deployment.task_definition.as_deref().unwrap_or_default();
    let id = deployment.id.as_deref().unwrap_or_default();
    // The same definition may be deployed twice; the end of the id tells them apart.
    let tail: String = id.chars().skip(id.chars().count().saturating_sub(6)).collect();
    let name = format!("{} ({tail})", definition.rsplit('/').next().unwrap_or(definition));
    let (state, end) = match (deployment.status.as_deref(), deployment.rollout_state.as_deref()) {
        (_, _) if !active => ("being stopped", None),
        (Some("PRIMARY"), Some("COMPLETED")) => ("completed", Some(End::Well)),
        (_, Some("FAILED")) => ("failed", Some(End::Badly)),
        (Some("PRIMARY"), _) => ("in progress", None),
        (_, _) => (fate, None),
    };
    let number = |count: Option<i32>| count.unwrap_or_default();
    let mut counts = format!("{} of {} running", number(deployment.running_count), number(deployment.desired_count));
    for (count, word) in [(deployment.pending_count, "pending"), (deployment.failed_tasks, "failed")] {
        if number(count) > 0 {
            counts.push_str(&format!(", {} {word}", number(count)));
        }
    }
    Row { name, state: format!("{counts}, {state}"), end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(id: &str, status: &str, state: &str, counts: [i32; 4]) -> ecs::Deployment {
        let [desired, running, pending, failed] = counts.map(Some);
        ecs::Deployment {
            id: Some(format!("ecs-svc/{id}")),
            status: Some(status.into()),
            rollout_state: Some(state.into()),
            task_definition: Some(format!("arn:aws:ecs:us-east-1:000000000000:task-definition/web:{id}")),
            desired_count: desired,
            running_count: running,
            pending_count: pending,
            failed_tasks: failed,
            ..Default::default()
        }
    }

    #[test]
    fn what_was_replaced_stays_to_be_seen() {
        let mut progress = Progress::since(Timestamp::from_second(100).unwrap());
        let event = |second: i64| ecs::ServiceEvent {
            created_at: Some(wire::Timestamp::from_millis(second * 1000)),
            message: Some(format!("(service web) event {second}")),
            ..Default::default()
        };
        let service = |deployments, second| ecs::Service {
            service_name: Some("web".into()),
            status: Some("ACTIVE".into()),
            desired_count: Some(3),
            deployments: Some(deployments),
            events: Some(vec![event(second)]),
            ..Default::default()
        };
        let texts = |look: &Look| look.rows.iter().map(|r| format!("{}: {}", r.name, r.state)).collect::<Vec<_>>();
        let (new, old) = (
            deployment("2", "PRIMARY", "IN_PROGRESS", [3, 1, 2, 0]),
            deployment("1", "ACTIVE", "COMPLETED", [3, 2, 0, 0]),
        );
        let look = progress.look(&service(vec![new, old], 99));
        assert_eq!(
            texts(&look),
            [
                "web:2 (-svc/2): 1 of 3 running, 2 pending, in progress",
                "web:1 (-svc/1): 2 of 3 running, being replaced"
            ]
        );
        assert_eq!((look.done, look.total), (1, 3));
        let look = progress.look(&service(vec![deployment("2", "PRIMARY", "COMPLETED", [3, 3, 0, 0])], 101));
        assert_eq!(
            texts(&look),
            ["web:2 (-svc/2): 3 of 3 running, completed", "web:1 (-svc/1): replaced", "event: event 101"]
        );
        for (state, strategy, fate) in [
            ("IN_PROGRESS", "ROLLING", "being replaced"),
            ("IN_PROGRESS", "BLUE_GREEN", "kept to the end of the deployment"),
            ("FAILED", "ROLLING", "kept"),
        ] {
            let both = vec![
                deployment("2", "PRIMARY", state, [3, 0, 0, 3]),
                deployment("1", "ACTIVE", "COMPLETED", [3, 3, 0, 0]),
            ];
            let rules = ecs::DeploymentConfiguration { strategy: Some(strategy.into()), ..Default::default() };
            let service = ecs::Service { deployment_configuration: Some(rules), ..service(both, 99) };
            let look = Progress::since(Timestamp::from_second(100).unwrap()).look(&service);
            assert_eq!(look.rows[1].state, format!("3 of 3 running, {fate}"));
        }
        let gone = ecs::Service { status: Some("DRAINING".into()), ..service(vec![], 101) };
        assert_eq!(progress.look(&gone).rows[0].state, "stopped");
        let look = progress.look(&service(vec![deployment("3", "ACTIVE", "FAILED", [0, 0, 0, 3])], 101));
        assert_eq!(
            look.rows[2],
            Row {
                name: "web:3 (-svc/3)".into(),
                state: "0 of 0 running, 3 failed, failed".into(),
                end: Some(End::Badly)
            }
        );
    }
}
