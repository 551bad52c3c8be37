//! What holds a service up, and how it fits a screen: tables of made-up services.

use super::{
    facts::{Breaker, Container, Event, Failure, Hold, Kind, Status},
    failures,
    judge::{self, Seen},
    show, stage,
};
use crate::cli::status::facts::Level;
use console::{measure_text_width, strip_ansi_codes};
use jiff::Timestamp;
use shapes::ecs;

const NOW: i64 = 1_900_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn ago(seconds: i64) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_millis((NOW - seconds) * 1000))
}

fn arn(kind: &str, id: &str) -> Option<String> {
    Some(format!("arn:aws:ecs:us-east-1:000000000000:{kind}/{id}"))
}

/// Of revision `n`; desired, running, pending, failed.
fn deployment(n: u32, status: &str, state: &str, counts: [i32; 4]) -> ecs::Deployment {
    let [desired, running, pending, failed] = counts.map(Some);
    ecs::Deployment {
        id: Some(format!("ecs-svc/{n}")),
        status: Some(status.into()),
        task_definition: arn("task-definition", &format!("web:{n}")),
        desired_count: desired,
        running_count: running,
        pending_count: pending,
        failed_tasks: failed,
        rollout_state: Some(state.into()),
        rollout_state_reason: Some(format!("ECS deployment ecs-svc/{n} {state}.")),
        created_at: ago(90),
        ..Default::default()
    }
}

fn service(deployments: Vec<ecs::Deployment>, events: &[&str]) -> ecs::Service {
    let sum = |of: fn(&ecs::Deployment) -> Option<i32>| Some(deployments.iter().filter_map(of).sum());
    let event = |text: &&str| ecs::ServiceEvent {
        id: Some((*text).into()),
        created_at: ago(7),
        message: Some(format!("(service web) {text}")),
    };
    ecs::Service {
        service_name: Some("web".into()),
        status: Some("ACTIVE".into()),
        desired_count: deployments[0].desired_count,
        running_count: sum(|d| d.running_count),
        pending_count: sum(|d| d.pending_count),
        task_definition: deployments[0].task_definition.clone(),
        deployment_configuration: Some(ecs::DeploymentConfiguration {
            minimum_healthy_percent: Some(100),
            maximum_percent: Some(200),
            ..Default::default()
        }),
        events: Some(events.iter().map(event).collect()),
        deployments: Some(deployments),
        ..Default::default()
    }
}

/// A task of revision `n` that has been running for so long.
fn running(n: u32, seconds: i64) -> ecs::Task {
    ecs::Task {
        task_arn: arn("task", &format!("shop/{n:032x}")),
        task_definition_arn: arn("task-definition", &format!("web:{n}")),
        last_status: Some("RUNNING".into()),
        started_by: Some(format!("ecs-svc/{n}")),
        created_at: ago(seconds + 2),
        started_at: ago(seconds),
        health_status: Some("UNKNOWN".into()),
        ..Default::default()
    }
}

fn stopped(n: u32, seconds: i64, code: &str, exit: Option<i32>, reason: Option<&str>) -> ecs::Task {
    let container = ecs::Container {
        name: Some("app".into()),
        image: Some("shop/web:2".into()),
        exit_code: exit,
        reason: reason.map(str::to_owned),
        ..Default::default()
    };
    ecs::Task {
        task_arn: arn("task", &format!("shop/{:032x}", seconds)),
        stop_code: Some(code.into()),
        stopped_at: ago(seconds),
        stopped_reason: Some("Essential container in task exited".into()),
        containers: Some(vec![container]),
        last_status: Some("STOPPED".into()),
        ..running(n, seconds + 1)
    }
}

fn holds(service: &ecs::Service, running: &[ecs::Task], stopped: &[ecs::Task], checked: bool) -> Vec<Hold> {
    let seen = Seen { cluster: "shop", service, running, stopped, story: None, checked, now: now() };
    seen.holds()
}

/// Of a service in a deployment that goes in stages.
fn holds_in(story: &ecs::ServiceDeployment, service: &ecs::Service, running: &[ecs::Task]) -> Vec<Hold> {
    let story = Some(story);
    Seen { cluster: "shop", service, running, stopped: &[], story, checked: false, now: now() }.holds()
}

/// Each hold on one line: kind, what, why, next.
fn told(holds: &[Hold]) -> Vec<String> {
    let line = |h: &Hold| {
        let rest = [&h.why, &h.next].into_iter().flatten().map(|text| format!(" | {text}"));
        format!("{:?} {:?}: {}{}", h.level, h.kind, h.what, rest.collect::<String>())
    };
    holds.iter().map(line).collect()
}

const DONE: &str = "COMPLETED";
const BEGUN: &str = "IN_PROGRESS";
const STUCK: &str = "was unable to stop or start tasks during a deployment because of the service deployment configuration. \
                     Update the minimumHealthyPercent or maximumPercent value and try again.";

#[test]
fn a_service_that_is_well_is_held_up_by_nothing() {
    let well = service(vec![deployment(1, "PRIMARY", DONE, [2, 2, 0, 0])], &["has reached a steady state.", STUCK]);
    assert!(judge::is_stable(&well));
    // A young task of a service that is stable is one that replaced another.
    assert_eq!(told(&holds(&well, &[running(1, 5), running(1, 500)], &[], false)), Vec::<String>::new());
    let none = service(vec![deployment(1, "PRIMARY", DONE, [0, 0, 0, 0])], &[]);
    assert_eq!(
        told(&holds(&none, &[], &[], false)),
        ["Notice ScaledToZero: it is asked to run no tasks | aws ecs update-service --cluster shop --service web \
             --desired-count 1"]
    );
    for unstable in [
        service(vec![deployment(1, "PRIMARY", BEGUN, [2, 2, 0, 0])], &[]),
        service(vec![deployment(1, "PRIMARY", DONE, [2, 1, 0, 0])], &[]),
        service(vec![deployment(1, "PRIMARY", DONE, [2, 2, 1, 0])], &[]),
        service(vec![deployment(2, "PRIMARY", DONE, [2, 2, 0, 0]), deployment(1, "ACTIVE", DONE, [0, 0, 0, 0])], &[]),
    ] {
        assert!(!judge::is_stable(&unstable), "{unstable:?}");
        assert_eq!(holds(&unstable, &[], &[], false)[0].kind, Kind::NotYetKnown, "there is always an answer");
    }
}

#[test]
fn what_comes_by_itself_is_a_notice() {
    let deploying = service(
        vec![deployment(2, "PRIMARY", BEGUN, [3, 2, 1, 0]), deployment(1, "ACTIVE", DONE, [3, 3, 0, 0])],
        &["has started 3 tasks: (task 1) (task 2) (task 3)."],
    );
    let pulling = ecs::Task { last_status: Some("PENDING".into()), pull_started_at: ago(1), ..running(2, 3) };
    let tasks = [running(2, 9), running(2, 15), pulling.clone(), running(1, 500)];
    assert_eq!(
        told(&holds(&deploying, &tasks, &[], false)),
        [
            "Notice TasksPending: 1 task is PENDING for 5 s, pulling its image",
            "Notice TasksNotHealthyYet: 2 new tasks have run for less than 40 s, and are healthy only then: 31 s more",
            "Notice OldTasksLeft: 3 tasks of web:1 are to be replaced",
        ]
    );
    let both = told(&holds(&deploying, &[pulling.clone(), pulling.clone()], &[], false));
    assert_eq!(both[0], "Notice TasksPending: 2 tasks are PENDING for 5 s, pulling their images");
    let long = ecs::Task { created_at: ago(200), ..pulling };
    assert_eq!(
        told(&holds(&deploying, &[long], &[], false))[0],
        "Warning TasksPending: 1 task is PENDING for 3 min, pulling its image | longshore status --cluster shop tells what \
         keeps them"
    );
    let ill = ecs::Task { health_status: Some("UNHEALTHY".into()), ..running(2, 90) };
    let checked = told(&holds(&deploying, &[running(2, 100), ill], &[], true));
    assert!(checked[0].starts_with("Error TasksUnhealthy: 1 task is UNHEALTHY and will be replaced | longshore logs"));
    assert_eq!(checked[1], "Notice TasksNotHealthyYet: 1 new task has not passed the health check yet");
}

#[test]
fn tasks_that_cannot_hear_of_their_stop_are_told_with_that_reason() {
    let away = |n, age| ecs::Task {
        connectivity: Some("DISCONNECTED".into()),
        stop_code: Some("ServiceSchedulerInitiated".into()),
        ..running(n, age)
    };
    let surplus = service(vec![deployment(1, "PRIMARY", DONE, [2, 3, 0, 0])], &[]);
    assert_eq!(
        told(&holds(&surplus, &[running(1, 500), running(1, 500)], &[away(1, 600)], false)),
        ["Notice TooManyTasks: 1 task more than desired is to be stopped | 1 task is on an instance whose agent is \
             disconnected; it stops when that is heard of again | longshore status --cluster shop"]
    );
    assert_eq!(
        told(&holds(&surplus, &[running(1, 500)], &[], false)),
        ["Notice TooManyTasks: 1 task more than desired is to be stopped"]
    );
    let deploying =
        service(vec![deployment(2, "PRIMARY", BEGUN, [2, 2, 0, 0]), deployment(1, "ACTIVE", DONE, [2, 2, 0, 0])], &[]);
    let said = told(&holds(&deploying, &[running(2, 500)], &[away(1, 600), away(1, 600), away(2, 600)], false));
    assert_eq!(
        said,
        ["Notice OldTasksLeft: 2 tasks of web:1 are to be replaced | 2 tasks are on instances whose agent is \
             disconnected; they stop when that is heard of again | longshore status --cluster shop"]
    );
}

#[test]
fn what_does_not_come_by_itself_is_told_with_its_reason_and_what_to_do() {
    let failing = |state| {
        service(
            vec![deployment(2, "PRIMARY", state, [3, 0, 0, 5]), deployment(1, "ACTIVE", DONE, [3, 3, 0, 0])],
            &["is unable to consistently start tasks successfully."],
        )
    };
    let bad = [
        stopped(2, 9, "TaskFailedToStart", None, Some("CannotPullContainerError: no such image")),
        stopped(2, 5, "TaskFailedToStart", None, Some("CannotPullContainerError: no such image")),
        stopped(1, 3, "ServiceSchedulerInitiated", Some(143), None),
    ];
    let said = told(&holds(&failing(BEGUN), &[running(1, 500)], &bad, false));
    assert_eq!(
        said[0],
        "Error TasksFail: 5 tasks of web:2 failed; starts are paused, up to 27 min, until one comes to run | app: \
         CannotPullContainerError: no such image | is there shop/web:2, and may the instance have it? \
         (--insecure-registry, --registry-auth, --registry-mirror)"
    );
    let exits = [stopped(2, 5, "EssentialContainerExited", Some(0), None)];
    let said = told(&holds(&failing("FAILED"), &[running(1, 500)], &exits, false));
    assert_eq!(
        said[0],
        "Error DeploymentFailed: the deployment of web:2 failed; nothing more of it is started | ECS deployment ecs-svc/2 \
         FAILED. | mend it and deploy again, or go back: longshore deploy web --cluster shop --task-definition web:1"
    );
    assert!(said[1].contains("ended with 0, and those of a service must not end"), "{said:?}");
    assert_eq!(said.last().unwrap(), "Notice OldTasksLeft: 3 tasks of web:1 stay until something else is deployed");
    let said = told(&holds(&failing("FAILED"), &[running(1, 500)], &bad, false));
    assert!(
        said[1].starts_with("Error TasksFail: 5 tasks of web:2 failed | app: CannotPull"),
        "nothing is paused: {said:?}"
    );
    let first = service(vec![deployment(1, "PRIMARY", "FAILED", [3, 0, 0, 3])], &[STUCK]);
    assert_eq!(
        told(&holds(&first, &[], &[], false)),
        [
            "Error DeploymentFailed: the deployment of web:1 failed; nothing more of it is started | ECS deployment \
             ecs-svc/1 FAILED. | mend it and deploy again; nothing that was completed before is there to go back to",
            "Error TasksFail: 3 tasks of web:1 failed",
        ]
    );
    // The scheduler does not count tasks that ran; a person must be told of them all the same.
    let looping = || {
        service(vec![deployment(2, "PRIMARY", BEGUN, [3, 1, 0, 0]), deployment(1, "ACTIVE", DONE, [3, 3, 0, 0])], &[])
    };
    let exits = |age| {
        [stopped(2, age, "EssentialContainerExited", Some(1), None), stopped(1, 9, "TaskFailedToStart", None, None)]
    };
    let said = told(&holds(&looping(), &[running(1, 500)], &exits(9), false));
    assert_eq!(
        said[0],
        "Error TasksFail: 1 task of web:2 failed | app exited with 1 | longshore logs --cluster shop --task-id \
         00000000000000000000000000000009"
    );
    let long_ago = holds(&looping(), &[running(1, 500)], &exits(301), false);
    assert!(long_ago.iter().all(|hold| hold.kind != Kind::TasksFail), "{long_ago:?}");
    let back = service(
        vec![deployment(3, "PRIMARY", BEGUN, [3, 3, 0, 0]), deployment(2, "ACTIVE", "FAILED", [0, 0, 0, 3])],
        &[],
    );
    let said = told(&holds(&back, &[], &[], false));
    assert!(said[0].starts_with("Warning DeploymentFailed: the deployment of web:2 failed and web:3 is brought back"));
    let gone = ecs::Service { status: Some("DRAINING".into()), ..failing(BEGUN) };
    assert_eq!(
        told(&holds(&gone, &[running(1, 5)], &[], false)),
        ["Notice BeingDeleted: it is being deleted; 1 task of it is left"]
    );
}

#[test]
fn tasks_that_find_no_place_are_told_as_long_as_they_do() {
    const FULL: &str = "was unable to place a task because no container instance met all of its requirements. The closest \
                        matching (container-instance 1) has insufficient memory available. For more information, see the \
                        Troubleshooting section of the Amazon ECS Developer Guide.";
    const NONE: &str = "was unable to place a task. Reason: No Container Instances were found in your cluster.";
    const PORT: &str = "was unable to place a task because no container instance met all of its requirements. The closest \
                        matching (container-instance 1) is already using a port required by your task.";
    const FARGATE: &str = "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later \
                           or in a different availability zone.";
    const ATTRIBUTE: &str = "was unable to place a task because no container instance met all of its requirements. The \
                             closest matching (container-instance 1) is missing an attribute required by your task.";
    const UNABLE: &str = "was unable to place a task. Reason: No machine given to Fargate has the attribute \
                          ecs.capability.pid-ipc-namespace-sharing that the task requires.";
    let lacking = |events: &[&str]| service(vec![deployment(1, "PRIMARY", BEGUN, [3, 1, 0, 0])], events);
    let check = |events: &[&str], what: Option<&str>, next: &str| {
        let said = told(&holds(&lacking(events), &[running(1, 500)], &[], false));
        let found = said.iter().find(|line| line.contains("TasksNotPlaced"));
        assert_eq!(found.is_some(), what.is_some(), "{events:?}: {said:?}");
        if let (Some(found), Some(what)) = (found, what) {
            assert!(found.contains(what) && found.contains(next), "{found}");
        }
    };
    check(
        &[FULL],
        Some(
            "2 of 3 tasks of web:1 cannot be placed | no container instance met all of its requirements. The closest \
             matching (container-instance 1) has insufficient memory available |",
        ),
        "longshore scale --size N",
    );
    check(&[NONE], Some("No Container Instances were found in your cluster |"), "longshore up --cluster shop --size 1");
    check(&[FARGATE], Some("Capacity is unavailable"), "longshore agent --fargate");
    check(&[UNABLE], Some("ecs.capability.pid-ipc-namespace-sharing"), "--fargate --runtime runc");
    check(&[ATTRIBUTE], Some("missing an attribute"), "--task-def web:1 --container-instances ID");
    check(&[PORT], Some("already using a port"), "host port 0");
    check(&["has stopped 1 running tasks: (task 1).", NONE], Some("No Container Instances"), "longshore up");
    check(&["has started 1 tasks: (task 2).", FULL], Some("2 of 3 tasks of web:1 cannot be placed"), "longshore scale");
    check(&["has reached a steady state.", FULL], None, "");
    let told = |service: &ecs::Service, running: &[ecs::Task], stopped: &[ecs::Task]| {
        holds(service, running, stopped, false).iter().any(|h| h.kind == Kind::TasksNotPlaced)
    };
    let full = service(vec![deployment(1, "PRIMARY", BEGUN, [1, 1, 0, 0])], &[FULL]);
    assert!(!told(&full, &[running(1, 500)], &[]), "none lacks");
    // The event is 7 s old. Since then all three were there, or never more than two.
    let ended = |age| stopped(1, age, "EssentialContainerExited", Some(1), None);
    let placed = ecs::Task { created_at: ago(4), ..running(1, 4) };
    assert!(!told(&lacking(&[FULL]), &[placed.clone(), running(1, 5)], &[ended(1)]), "all had a place 4 s ago");
    assert!(told(&lacking(&[FULL]), &[placed], &[ended(1)]), "one of two was started anew 4 s ago");
    let mut earlier = lacking(&[FULL]);
    earlier.deployments.as_mut().unwrap()[0].created_at = ago(6);
    assert!(!told(&earlier, &[running(1, 500)], &[]), "it was said of a deployment before");
    let both = vec![deployment(2, "PRIMARY", BEGUN, [3, 1, 0, 0]), deployment(1, "ACTIVE", DONE, [3, 5, 0, 0])];
    assert!(!told(&service(both, &[FULL]), &[running(2, 5)], &[]), "there may be six, and are");
    let failed = service(vec![deployment(1, "PRIMARY", "FAILED", [3, 1, 0, 0])], &[FULL]);
    assert!(!told(&failed, &[running(1, 500)], &[]), "none is to come");
}

#[test]
fn rules_that_leave_no_step_are_told_when_nothing_else_is_waited_for() {
    let fixed = |running: i32, events: &[&str]| {
        let mut service = service(
            vec![deployment(2, "PRIMARY", BEGUN, [2, 0, 0, 0]), deployment(1, "ACTIVE", DONE, [2, running, 0, 0])],
            events,
        );
        let rules = service.deployment_configuration.as_mut().unwrap();
        (rules.minimum_healthy_percent, rules.maximum_percent) = (Some(100), Some(100));
        service
    };
    let rules = |service: &ecs::Service, tasks: &[ecs::Task]| {
        let holds = holds(service, tasks, &[], false);
        told(&holds.into_iter().filter(|h| h.kind == Kind::DeploymentRulesForbid).collect::<Vec<_>>())
    };
    let old = [running(1, 500), running(1, 500)];
    assert_eq!(
        rules(&fixed(2, &[]), &old),
        ["Error DeploymentRulesForbid: of 2 tasks 2 must stay healthy (100 %) and there may be 2 (100 %): no step is \
             allowed | 2 run and 0 are pending | aws ecs update-service --cluster shop --service web \
             --deployment-configuration minimumHealthyPercent=50,maximumPercent=200"]
    );
    assert!(rules(&fixed(1, &[]), &old).is_empty(), "there is room for one more");
    assert_eq!(rules(&fixed(1, &[STUCK]), &old).len(), 1, "the scheduler knows better");
    let pending = ecs::Task { last_status: Some("PENDING".into()), ..running(2, 1) };
    assert!(rules(&fixed(2, &[]), &[pending]).is_empty(), "what is pending may be all that is waited for");
}

fn hook(id: &str, status: &str, action: &str) -> ecs::DeploymentLifecycleHookDetail {
    ecs::DeploymentLifecycleHookDetail {
        hook_id: Some(id.into()),
        status: Some(status.into()),
        target_type: Some(if status == "IN_PROGRESS" { "AWS_LAMBDA" } else { "PAUSE" }.into()),
        target_arn: Some("http://hook/secret".into()),
        expires_at: ago(-600),
        timeout_action: Some(action.into()),
    }
}

fn story(stage: &str, status: &str, hooks: Vec<ecs::DeploymentLifecycleHookDetail>) -> ecs::ServiceDeployment {
    ecs::ServiceDeployment {
        status: Some(status.into()),
        lifecycle_stage: Some(stage.into()),
        lifecycle_hook_details: Some(hooks),
        deployment_configuration: Some(ecs::DeploymentConfiguration {
            bake_time_in_minutes: Some(5),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_deployment_in_stages_tells_what_it_waits_for() {
    let both = || {
        service(vec![deployment(2, "PRIMARY", BEGUN, [2, 2, 0, 0]), deployment(1, "ACTIVE", DONE, [2, 2, 0, 0])], &[])
    };
    let old = [running(2, 500), running(2, 500), running(1, 900), running(1, 900)];
    let check = |story: &ecs::ServiceDeployment, wanted: &[&str]| {
        assert_eq!(told(&holds_in(story, &both(), &old)), wanted, "{story:?}");
    };
    let stay = "Notice OldTasksLeft: 2 tasks of web:1 stay until the stage CLEAN_UP";
    let (done, open) = (hook("a", "SUCCEEDED", "ROLLBACK"), |id| hook(id, "AWAITING_ACTION", "ROLLBACK"));
    check(
        &story("POST_SCALE_UP", "IN_PROGRESS", vec![done.clone(), open("b")]),
        &[
            "Warning HookAwaitsAction: the deployment is paused in the stage POST_SCALE_UP: hook b awaits an action | if \
             nobody acts within 10 min, it goes back | longshore service continue web --cluster shop; with --rollback it \
             goes back instead",
            stay,
        ],
    );
    let two = story("POST_SCALE_UP", "IN_PROGRESS", vec![open("b"), open("c")]);
    let said = told(&holds_in(&two, &both(), &old));
    assert!(said[1].contains("longshore service continue web --cluster shop --hook c; with"), "{said:?}");
    check(
        &story("PRE_SCALE_UP", "ROLLBACK_IN_PROGRESS", vec![done, hook("b", "IN_PROGRESS", "CONTINUE")]),
        &[
            "Notice HookInProgress: the deployment waits in the stage PRE_SCALE_UP for what hook b decides | if it does \
             not within 10 min, it goes on",
            stay,
        ],
    );
    check(
        &story("BAKE_TIME", "IN_PROGRESS", vec![]),
        &["Notice Baking: the deployment bakes: both revisions stay for 5 min", stay],
    );
    let replaced = "Notice OldTasksLeft: 2 tasks of web:1 are to be replaced";
    check(&story("CLEAN_UP", "IN_PROGRESS", vec![]), &[replaced]);
    check(&story("POST_SCALE_UP", "STOPPED", vec![open("b")]), &[replaced]);
}

#[test]
fn failures_of_one_reason_are_one_and_what_was_wanted_is_none() {
    let stopped = [
        stopped(2, 30, "EssentialContainerExited", Some(1), None),
        stopped(2, 10, "EssentialContainerExited", Some(1), None),
        stopped(1, 20, "TaskFailedToStart", None, Some("CannotPullContainerError: x")),
        stopped(1, 5, "UserInitiated", Some(1), None),
        stopped(1, 6, "ServiceSchedulerInitiated", Some(1), None),
        ecs::Task {
            stopped_reason: Some("Task failed container health checks".into()),
            ..stopped(1, 40, "ServiceSchedulerInitiated", Some(0), None)
        },
    ];
    let service = service(vec![deployment(2, "PRIMARY", BEGUN, [1, 0, 0, 0])], &[]);
    let seen = Seen {
        cluster: "shop",
        service: &service,
        running: &[],
        stopped: &stopped,
        story: None,
        checked: false,
        now: now(),
    };
    let failures = seen.failures();
    let told: Vec<_> = failures.iter().map(|f| (f.count, f.task_definition.as_str(), f.why.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "web:2", "app exited with 1"),
            (1, "web:1", "app: CannotPullContainerError: x"),
            (1, "web:1", "Task failed container health checks"),
        ]
    );
    assert_eq!((failures[0].task.as_str(), failures[0].containers[0].exit_code), (&*format!("{:032x}", 10), Some(1)));
}

#[test]
fn the_same_start_failure_of_three_tasks_in_a_row_is_one_without_end() {
    let pull =
        |age, why: &str| stopped(2, age, "TaskFailedToStart", None, Some(&format!("CannotPullContainerError: {why}")));
    let other = |age| stopped(2, age, "TaskFailedToStart", None, Some("CannotStartContainerError: no such file"));
    let exits = |age| stopped(2, age, "EssentialContainerExited", Some(1), None);
    let before = |age| stopped(1, age, "TaskFailedToStart", None, Some("CannotPullContainerError: x"));
    let scaled = |age| stopped(2, age, "ServiceSchedulerInitiated", None, None);
    for (tasks, wanted) in [
        (vec![pull(9, "x"), pull(5, "x"), pull(2, "x")], Some(3)),
        (vec![pull(2, "of a"), pull(9, "of b"), scaled(4), pull(5, "of a"), exits(30)], Some(3)),
        (vec![pull(9, "x"), pull(5, "x")], None),
        (vec![pull(9, "x"), pull(5, "x"), other(4), pull(2, "x")], None),
        (vec![pull(9, "x"), pull(5, "x"), exits(4), pull(2, "x")], None),
        (vec![exits(9), exits(5), exits(2)], None),
        (vec![pull(9, "x"), before(5), before(4), pull(2, "x")], None),
        (vec![], None),
    ] {
        let got = failures::never_starts(&tasks, "ecs-svc/2");
        assert_eq!(got.as_ref().map(|(count, _)| *count), wanted, "{tasks:?}");
        assert!(got.is_none_or(|(_, why)| why.starts_with("app: CannotPullContainerError: ")));
    }
}

fn screen() -> Status {
    let mut service =
        service(vec![deployment(4, "PRIMARY", BEGUN, [3, 1, 1, 2]), deployment(3, "ACTIVE", DONE, [3, 2, 0, 0])], &[]);
    let reasons = ["ECS deployment ecs-svc/4 in progress.", "ECS deployment circuit breaker: tasks failed to start."];
    for (deployment, reason) in service.deployments.iter_mut().flatten().zip(reasons) {
        deployment.rollout_state_reason = Some(reason.into());
    }
    Status {
        cluster: "shop".into(),
        service: "web".into(),
        status: "ACTIVE".into(),
        at: "2030-03-17T17:46:40Z".into(),
        desired: 3,
        running: 3,
        pending: 1,
        minimum_healthy_percent: Some(100),
        maximum_percent: Some(200),
        circuit_breaker: Breaker::RollsBack,
        deployments: judge::deployments(&service),
        lifecycle: stage::lifecycle(&story("POST_SCALE_UP", "IN_PROGRESS", vec![])),
        held_up_by: vec![Hold {
            level: Level::Error,
            kind: Kind::TasksFail,
            what: "2 tasks of web:4 failed in a row".into(),
            why: Some("app exited with 1".into()),
            next: Some("longshore logs --cluster shop --task-id 0123456789abcdef0123456789abcdef".into()),
        }],
        failures: vec![Failure {
            count: 2,
            task_definition: "web:4".into(),
            stop_code: "EssentialContainerExited".into(),
            why: "app exited with 1".into(),
            task: "0123456789abcdef0123456789abcdef".into(),
            stopped_at: Some("2030-03-17T17:46:28Z".into()),
            containers: vec![Container {
                name: "app".into(),
                exit_code: Some(1),
                log: vec!["connecting".into(), "panic: no \u{1b}[2Jdatabase".into()],
                ..Container::default()
            }],
            ..Failure::default()
        }],
        events: (0..20)
            .map(|n| Event {
                at: Some(format!("2030-03-17T17:46:{:02}Z", 30 - n)),
                message: format!("(service web) has started 1 tasks: (task {n})."),
            })
            .collect(),
        ..Status::default()
    }
}

#[test]
fn one_screen_says_it_all() {
    let lines = show::lines(&screen(), None, None);
    let plain: Vec<_> = lines.iter().map(|line| strip_ansi_codes(line).into_owned()).collect();
    let wanted = "\
Service web in cluster shop: not stable, 2030-03-17T17:46:40Z
3 of 3 tasks running, 1 pending; 100 % to 200 % of that while deploying; what fails is rolled back

Deployment  TaskDefinition  Progress                    Pending  Failed  State        Since
PRIMARY     web:4           [======              ] 1/3  1        2       IN_PROGRESS  90 s
ACTIVE      web:3           [=============       ] 2/3  0        0       COMPLETED    90 s
  The current one is in the stage POST_SCALE_UP
  web:3: ECS deployment circuit breaker: tasks failed to start.

What holds it up
✗ 2 tasks of web:4 failed in a row
    app exited with 1
    → longshore logs --cluster shop --task-id 0123456789abcdef0123456789abcdef

Last failures
✗ web:4: 2 times, last task 0123456789abcdef0123456789abcdef 12 s ago, EssentialContainerExited
    app exited with 1
    │ connecting
    │ panic: no  [2Jdatabase

Ago   Event
10 s  has started 1 tasks: (task 0).";
    assert_eq!(plain[..plain.len() - 9].join("\n"), wanted);
    let quiet = show::lines(&Status { held_up_by: Vec::new(), failures: Vec::new(), ..screen() }, None, None);
    assert!(quiet.iter().any(|line| line.contains("Nothing holds it up.")));
}

#[test]
fn the_screen_fits_the_terminal() {
    for width in [40, 80, 132] {
        for line in show::lines(&screen(), Some(width), Some(24)) {
            let copied = line.contains("→") || line.trim_start().starts_with("longshore") || line.starts_with("      ");
            assert!(copied || measure_text_width(&line) <= width, "{width}: {line}");
        }
    }
    let (small, large) = (show::lines(&screen(), Some(80), Some(24)), show::lines(&screen(), Some(80), Some(50)));
    assert_eq!(large.len() - small.len(), 7, "events fill what is left, between three and ten of them");
}
