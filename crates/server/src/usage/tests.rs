use super::*;
use model::{
    CpuUnits, Desired, Family, MemoryMib, Phase, Platform, PlatformVersion, Reservation, Stop, Tags, TaskDefinitionArn,
    TaskOverrides, TaskTimes,
};
use telemetry::usage::{PriceList, Sums};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A task that was made at 1 s and has not stopped.
fn task(launch_type: LaunchType) -> Task {
    let arn: model::TaskArn = format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{ID}").parse().unwrap();
    Task {
        definition: TaskDefinitionArn {
            scope: arn.cluster.scope.clone(),
            family: Family::parse("web").unwrap(),
            revision: 1,
        },
        container_instance: Some(model::ContainerInstanceId::parse(ID).unwrap()),
        waiting: None,
        availability_zone: Some("us-east-1a".into()),
        launch_type,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        group: "service:front".into(),
        started_by: None,
        overrides: TaskOverrides::default(),
        reservation: Reservation { cpu: CpuUnits(256), memory: MemoryMib(512), ..Reservation::default() },
        desired: Desired::Running,
        phase: Phase::Pending,
        version: 1,
        containers: Vec::new(),
        times: TaskTimes { created: Timestamp(1_000), ..TaskTimes::default() },
        attachment: None,
        execute_command: false,
        protected_until: None,
        volume: None,
        tags: Tags::default(),
        arn,
    }
}

fn stopped(mut task: Task, at: i64) -> Task {
    task.phase = Phase::Stopped { at: Timestamp(at), why: Stop::essential_exited() };
    task
}

fn pulled(mut task: Task, at: i64) -> Task {
    task.times.pull_started = Some(Timestamp(at));
    task
}

#[test]
fn a_fargate_task_is_billed_from_its_pull_to_its_stop() {
    let now = Timestamp(50_000);
    for (what, task, seconds) in [
        ("not pulled yet", task(LaunchType::Fargate), None),
        ("stopped before it was pulled", stopped(task(LaunchType::Fargate), 9_000), None),
        ("pulling", pulled(task(LaunchType::Fargate), 10_000), Some(40)),
        ("stopped at once", stopped(pulled(task(LaunchType::Fargate), 10_000), 12_000), Some(60)),
        ("stopped", stopped(pulled(task(LaunchType::Fargate), 10_000), 100_001), Some(91)),
        ("on an instance from when it holds it", task(LaunchType::Ec2), Some(49)),
        ("and without a minimum", stopped(task(LaunchType::External), 3_000), Some(2)),
        ("asked by a clock that was set back", pulled(task(LaunchType::Fargate), 60_000), Some(0)),
    ] {
        let usage = of_task(&Snapshot::default(), &task, now);
        assert_eq!(usage.as_ref().map(Usage::seconds), seconds, "{what}");
        // Its container instance, for no machine of the server's own is under it.
        let on = (task.launch_type != LaunchType::Fargate).then_some(ID);
        assert_eq!(usage.as_ref().and_then(Usage::instance), on.filter(|_| seconds.is_some()), "{what}");
    }
}

#[test]
fn a_fargate_task_is_charged_for_what_it_asked_for() {
    let architecture = |architecture| Some(Platform { version: PlatformVersion::V1_4, architecture });
    let check = |change: fn(&mut Task), wants: &[&str], cost: &str, provider: &str| {
        let mut task = stopped(pulled(task(LaunchType::Fargate), 0), 3_600_000);
        task.platform = architecture(CpuArchitecture::X86_64);
        change(&mut task);
        let usage = of_task(&Snapshot::default(), &task, Timestamp(0)).unwrap();
        let types: Vec<_> = usage.charges().iter().map(|charge| charge.usage_type.to_string()).collect();
        assert_eq!(types, wants);
        assert_eq!(usage.owner.capacity_provider.as_deref(), Some(provider));
        assert_eq!(usage.owner.service.as_ref().map(model::ServiceName::as_str), Some("front"));
        let windows = [Window { from: Timestamp(0), to: Timestamp(i64::MAX) }];
        let prices = PriceList::default();
        let mut sums = Sums::new(&windows, &prices);
        sums.add(&usage, |_| Some(()));
        assert_eq!(sums.finish()[0][&()].cost.to_string(), cost);
    };
    let plain = ["Fargate-vCPU-Hours:perCPU", "Fargate-GB-Hours"];
    check(|_| {}, &plain, "0.0123425000", "FARGATE");
    check(|task| task.ephemeral_storage_gib = Some(20), &plain, "0.0123425000", "FARGATE");
    let stored = ["Fargate-vCPU-Hours:perCPU", "Fargate-GB-Hours", "Fargate-EphemeralStorage-GB-Hours"];
    check(|task| task.ephemeral_storage_gib = Some(21), &stored, "0.0124535000", "FARGATE");
    let spot = ["SpotUsage-Fargate-vCPU-Hours:perCPU", "SpotUsage-Fargate-GB-Hours"];
    check(
        |task| task.capacity_provider = Some(model::CapacityProvider::FargateSpot),
        &spot,
        "0.0038100000",
        "FARGATE_SPOT",
    );
    let arm = ["Fargate-ARM-vCPU-Hours:perCPU", "Fargate-ARM-GB-Hours"];
    let on_arm = |task: &mut Task| {
        task.platform = Some(Platform { version: PlatformVersion::V1_4, architecture: CpuArchitecture::Arm64 });
    };
    check(on_arm, &arm, "0.0098750000", "FARGATE");
}
