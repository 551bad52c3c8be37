//! Which services are told, and how: a table of made-up ones.

use super::{
    super::facts::{Cluster, Kind, Level},
    Looked, attention, counts,
};
use jiff::Timestamp;
use shapes::ecs;
use std::time::Duration;

const NOW: i64 = 1_900_000_000;
const WINDOW: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn ago(seconds: i64) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_millis((NOW - seconds) * 1000))
}

fn shop() -> Cluster {
    Cluster { name: "shop".into(), status: "ACTIVE".into(), ..Cluster::default() }
}

/// A service with these events, the newest first, told so many seconds ago, and what a deployment of before it says.
fn service(running: i32, age: i64, events: &[(i64, &str)]) -> ecs::Service {
    let event = |(at, text): &(i64, &str)| ecs::ServiceEvent {
        created_at: ago(*at),
        message: Some(format!("(service web) {text}")),
        ..Default::default()
    };
    let deployment = ecs::Deployment {
        status: Some("PRIMARY".into()),
        task_definition: Some("arn:aws:ecs:us-east-1:000000000000:task-definition/web:3".into()),
        desired_count: Some(2),
        running_count: Some(running),
        pending_count: Some(0),
        rollout_state: Some(if running < 2 { "IN_PROGRESS" } else { "COMPLETED" }.into()),
        created_at: ago(age),
        updated_at: ago(age),
        ..Default::default()
    };
    ecs::Service {
        service_name: Some("web".into()),
        service_arn: Some("arn:aws:ecs:us-east-1:000000000000:service/shop/web".into()),
        status: Some("ACTIVE".into()),
        desired_count: Some(2),
        running_count: Some(running),
        pending_count: Some(0),
        deployments: Some(vec![deployment]),
        events: Some(events.iter().map(event).collect()),
        ..Default::default()
    }
}

/// One whose deployment failed; as the PRIMARY nothing else stands.
fn broken(status: &str) -> ecs::Service {
    let mut service = service(1, 600, &[]);
    let mut one = service.deployments.as_ref().unwrap()[0].clone();
    one.status = Some(status.into());
    one.rollout_state = Some("FAILED".into());
    one.rollout_state_reason = Some("ECS deployment circuit breaker: task failed to start.".into());
    service.deployments.as_mut().unwrap().retain(|_| status != "PRIMARY");
    service.deployments.as_mut().unwrap().push(one);
    service
}

/// Level, kind, and parts of what is said; nothing of one that is as it shall be.
type Told = Option<(Level, Kind, &'static [&'static str])>;

fn table() -> Vec<(&'static str, ecs::Service, Told)> {
    use Kind::{ServiceBelowDesired as Below, ServiceDeploymentFailed as Failed, ServiceHeldBack as Held};
    let steady = "has reached a steady state.";
    let started = "has started 2 tasks: (task a) (task b).";
    let no_room = "was unable to place a task because no container instance met all of its requirements. The closest matching \
                   (container-instance i) has insufficient memory available. For more information, see the guide.";
    let paused = "is unable to consistently start tasks successfully.";
    let failed = "(deployment ecs-svc/2) deployment failed: tasks failed to start.";
    let back = "rolling back to deployment ecs-svc/1.";
    let pending = ecs::Service { pending_count: Some(2), ..service(0, 360, &[(361, started)]) };
    let gone = ecs::Service { status: Some("DRAINING".into()), ..service(0, 900, &[]) };
    vec![
        ("well", service(2, 9000, &[(60, steady)]), None),
        ("young", service(0, 30, &[(29, started)]), None),
        ("a task was replaced just now", service(1, 9000, &[(5, started), (8000, steady)]), None),
        ("deleted", gone, None),
        ("long", pending, Some((Level::Error, Below, &["0 of 2 tasks run for 6 min", "2 tasks are pending"]))),
        (
            "for long a task lacks",
            service(1, 9000, &[(400, started), (8000, steady)]),
            Some((Level::Warning, Below, &["1 of 2 tasks runs for 6 min"])),
        ),
        (
            "no room, told at once",
            service(0, 9, &[(5, no_room)]),
            Some((
                Level::Error,
                Held,
                &["2 of 2 tasks of web:3 cannot be placed", "has insufficient memory available"],
            )),
        ),
        (
            "starts are paused",
            service(0, 360, &[(90, paused), (300, started)]),
            Some((Level::Error, Held, &["is unable to consistently start tasks successfully"])),
        ),
        (
            "failed for good",
            broken("PRIMARY"),
            Some((
                Level::Error,
                Failed,
                &[
                    "the deployment of web:3 failed and nothing more of it is started; 1 of 2 tasks runs",
                    "circuit breaker",
                ],
            )),
        ),
        (
            "failed and going back",
            broken("ACTIVE"),
            Some((Level::Warning, Failed, &["an earlier one is brought back"])),
        ),
        (
            "went back",
            service(2, 9000, &[(60, steady), (400, back), (401, failed)]),
            Some((
                Level::Warning,
                Failed,
                &["a deployment failed and was rolled back to web:3; 2 of 2 tasks run", "tasks failed to start"],
            )),
        ),
        ("went back before the window", service(2, 9000, &[(60, steady), (4000, back), (4001, failed)]), None),
        ("something else was deployed since", service(2, 300, &[(60, steady), (400, back), (401, failed)]), None),
    ]
}

#[test]
fn services_that_are_not_as_they_shall_be_are_told() {
    for (name, service, want) in table() {
        let is_short = name != "deleted" && service.running_count < service.desired_count;
        let looked = Looked { service, ..Looked::default() };

        let found = attention(&shop(), std::slice::from_ref(&looked), WINDOW, now());
        let kinds: Vec<_> = found.iter().map(|one| (one.level, one.kind)).collect();
        assert_eq!(
            kinds,
            want.iter().map(|(level, kind, _)| (*level, *kind)).collect::<Vec<_>>(),
            "{name}: {found:#?}"
        );
        for one in &found {
            let text = format!("{} | {}", one.what, one.why.clone().unwrap_or_default());
            let parts = want.map(|(_, _, parts)| parts).unwrap_or_default();
            assert!(
                parts.iter().all(|part| text.contains(part)) && text.starts_with("service web: "),
                "{name}: {text}"
            );
            assert_eq!(one.next, "longshore service status web --cluster shop", "{name}");
            assert_eq!(one.resources, ["arn:aws:ecs:us-east-1:000000000000:service/shop/web"], "{name}");
        }
        let counts = counts(&[looked]);
        assert_eq!(
            (counts.active, counts.below_desired),
            (usize::from(name != "deleted"), usize::from(is_short)),
            "{name}"
        );
    }
}

#[test]
fn a_place_that_was_found_since_holds_nothing_back() {
    let no_room = "was unable to place a task because no container instance met all of its requirements.";
    // Both were placed after that was said, and one has failed since.
    let there = |at, end: Option<i64>| ecs::Task {
        task_definition_arn: Some("arn:aws:ecs:us-east-1:000000000000:task-definition/web:3".into()),
        created_at: ago(at),
        stopped_at: end.and_then(ago),
        last_status: Some(if end.is_some() { "STOPPED" } else { "RUNNING" }.into()),
        ..Default::default()
    };
    let looked = Looked {
        service: service(1, 900, &[(800, no_room)]),
        running: vec![there(500, None)],
        stopped: vec![there(490, Some(300))],
    };

    let found = attention(&shop(), &[looked], WINDOW, now());
    assert!(found.iter().all(|one| !one.why.clone().unwrap_or_default().contains("cannot be placed")), "{found:#?}");
}
