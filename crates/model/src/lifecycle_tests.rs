//! The laws of lifecycles, as tables and as properties.

use super::*;
use crate::*;
use proptest::prelude::*;

fn task() -> Task {
    let cluster: ClusterArn = "arn:aws:ecs:us-east-1:123456789012:cluster/default".parse().unwrap();
    let arn = TaskArn { cluster, id: TaskId::parse("0123456789abcdef0123456789abcdef").unwrap() };
    let container = Container {
        arn: ContainerArn { task: arn.clone(), id: "b0a1".into() },
        name: "web".into(),
        image: "web:1".into(),
        image_digest: None,
        runtime_id: None,
        status: ContainerStatus::Pending,
        exit_code: None,
        reason: None,
        network_bindings: vec![],
        essential: true,
        health: Some(Health::default()),
    };
    Task {
        definition: "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1".parse().unwrap(),
        container_instance: Some(ContainerInstanceId::parse("fedcba9876543210fedcba9876543210").unwrap()),
        waiting: None,
        availability_zone: None,
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        group: "family:web".into(),
        started_by: None,
        overrides: TaskOverrides::default(),
        reservation: Reservation::default(),
        desired: Desired::Running,
        phase: Phase::Pending,
        version: 1,
        containers: vec![container],
        times: TaskTimes::default(),
        execute_command: false,
        protected_until: None,
        volume: None,
        attachment: None,
        tags: Tags::default(),
        arn,
    }
}

fn observation() -> impl Strategy<Value = TaskObservation> {
    let status = prop_oneof![
        Just(ObservedStatus::Pending),
        Just(ObservedStatus::Running),
        Just(ObservedStatus::Stopping(Stop::essential_exited())),
        Just(ObservedStatus::Stopped(Stop::essential_exited())),
    ];
    let container =
        prop_oneof![Just(ContainerStatus::Pending), Just(ContainerStatus::Running), Just(ContainerStatus::Stopped)];
    // The node's clock is anywhere.
    let moment = || proptest::option::of((-50..50i64).prop_map(Timestamp));
    let exit_code = proptest::option::of(0..256i32);
    let health = prop_oneof![Just(HealthStatus::Healthy), Just(HealthStatus::Unhealthy)];
    let health = proptest::option::of((health, 1..9u32).prop_map(|(status, changes)| Health { status, changes }));
    let all = (status, container, (exit_code, health), moment(), moment(), moment());
    all.prop_map(|(status, c, (exit_code, health), pull_started, pull_stopped, execution_stopped)| TaskObservation {
        task: task().arn,
        status,
        containers: vec![ContainerObservation {
            name: "web".into(),
            status: c,
            runtime_id: None,
            image_digest: None,
            exit_code,
            reason: None,
            network_bindings: vec![],
            health,
        }],
        pull_started,
        pull_stopped,
        execution_stopped,
        attachment: None,
    })
}

proptest! {
    #[test]
    fn a_task_never_goes_back(seen in proptest::collection::vec(observation(), 1..12), stop_after in 0usize..12) {
        let mut task = task();
        for (i, one) in seen.iter().enumerate() {
            let before = task.clone();
            if i == stop_after {
                task.request_stop(Stop { code: StopCode::UserInitiated, reason: "r".into() }, Timestamp(i as i64));
            }
            let asked = task.stop().cloned();
            task.advance(one, Timestamp(i as i64));
            prop_assert!(task.last_status() >= before.last_status());
            prop_assert!(task.containers[0].status >= before.containers[0].status);
            prop_assert!(!before.is_to_stop() || task.is_to_stop());
            if before.containers[0].exit_code.is_some() {
                prop_assert_eq!(task.containers[0].exit_code, before.containers[0].exit_code);
            }
            let changes = |task: &Task| task.containers[0].health.map(|health| health.changes);
            prop_assert!(changes(&task) >= changes(&before), "an older word on its health won");
            // The first cause of a stop stays the cause.
            if asked.is_some() {
                prop_assert_eq!(task.stop().cloned(), asked);
            }
            prop_assert_eq!(task.version > before.version, task != before);
        }
    }

    #[test]
    fn times_run_forward_whatever_the_clocks_say(
        seen in proptest::collection::vec((observation(), -50..50i64), 1..12),
        stop_after in 0usize..12,
    ) {
        let mut task = task();
        for (i, (one, now)) in seen.iter().enumerate() {
            if i == stop_after {
                task.request_stop(Stop { code: StopCode::UserInitiated, reason: "r".into() }, Timestamp(-now));
            }
            task.advance(one, Timestamp(*now));
            prop_assert!(task.times_run_forward(), "{:?} {:?}", task.times, task.phase);
        }
        task.end_without_node(Stop::essential_exited(), Timestamp(-100));
        prop_assert!(task.times_run_forward(), "{:?} {:?}", task.times, task.phase);
    }

    #[test]
    fn a_repeated_observation_changes_nothing(one in observation()) {
        let mut task = task();
        task.advance(&one, Timestamp(1));
        let after = task.clone();
        prop_assert!(!task.advance(&one, Timestamp(2)));
        prop_assert_eq!(task, after);
    }
}

#[test]
fn a_stop_asked_for_before_the_node_heard_of_the_task_keeps_its_cause() {
    let mut task = task();
    task.request_stop(Stop { code: StopCode::UserInitiated, reason: "bye".into() }, Timestamp(5));
    assert_eq!(task.last_status(), TaskStatus::Pending);
    let seen = TaskObservation {
        task: task.arn.clone(),
        status: ObservedStatus::Stopped(Stop::failed_to_start()),
        containers: vec![],
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    };
    assert!(task.advance(&seen, Timestamp(9)));
    assert_eq!(task.stop().map(|s| s.code), Some(StopCode::UserInitiated));
    assert_eq!(task.stopped_at(), Some(Timestamp(9)));
    assert_eq!(task.times.execution_stopped, None);
}

#[test]
fn a_reason_is_cut_on_a_character() {
    assert_eq!(trim_reason(&"é".repeat(2000)).chars().count(), MAX_REASON_CHARS);
}
