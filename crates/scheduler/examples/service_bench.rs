//! What a pass of the service planner costs: `cargo run --release -p scheduler --example service_bench`.
//!
//! Services of 10 to 5,000 tasks on 5,000 instances in three zones, in four moments of their lives. Time is the thread's own CPU
//! time, median of the runs; a line of JSON each, for `bench/scheduler`, whose README has the figures that stand.
#![allow(clippy::print_stdout, reason = "a bench tells people what it found")]

use model::{
    AccountId, CircuitBreaker, ClusterArn, ClusterName, ContainerInstanceId, Creation, Deployment, DeploymentId,
    DeploymentRules, Desired, Family, LaunchType, Phase, PropagateTags, Region, Reservation, RevisionSpec,
    SchedulingStrategy, Scope, Service, ServiceArn, ServiceDeployment, ServiceDeploymentId, ServiceName, ServiceStatus,
    Tags, Task, TaskArn, TaskDefinitionArn, TaskId, TaskOverrides, TaskTimes, Timestamp,
};
use rustix::time::{ClockId, clock_gettime};
use scheduler::service::{Field, InstanceState, View, deploy, plan};
use std::{collections::HashMap, hint::black_box, sync::Arc};

const INSTANCES: usize = 5_000;
const SIZES: [u32; 3] = [10, 1_000, 5_000];
const RUNS: usize = 31;
const START: Timestamp = Timestamp(1_000_000_000);
/// Everything that runs has been healthy for long.
const NOW: Timestamp = Timestamp(2_000_000_000);

/// Nanoseconds this thread has run.
fn cpu_time() -> u128 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

/// Instances as a server finds them: by id.
struct Ground(HashMap<ContainerInstanceId, Arc<str>>);

impl Field for Ground {
    fn instance(&self, id: &ContainerInstanceId) -> Option<InstanceState> {
        self.0.get(id).map(|_| InstanceState::Active)
    }
    fn eligible(&self, _deployment: &Deployment) -> Vec<(ContainerInstanceId, Option<Arc<str>>)> {
        self.0.iter().map(|(id, zone)| (id.clone(), Some(zone.clone()))).collect()
    }
    fn zones(&self) -> Option<Vec<Arc<str>>> {
        Some((0..3).map(zone).collect())
    }
}

fn zone(number: usize) -> Arc<str> {
    ["us-east-1a", "us-east-1b", "us-east-1c"][number % 3].into()
}

fn instance(number: usize) -> ContainerInstanceId {
    ContainerInstanceId::parse(format!("{:032x}", number % INSTANCES)).expect("hexadecimal")
}

fn cluster() -> ClusterArn {
    let account = AccountId::parse("000000000000").expect("twelve digits");
    let scope = Scope { account, region: Region::parse("us-east-1").expect("a region") };
    ClusterArn { scope, name: ClusterName::parse("default").expect("a name") }
}

fn spec(revision: u32) -> Arc<RevisionSpec> {
    let family = Family::parse("web").expect("a name");
    Arc::new(RevisionSpec {
        task_definition: TaskDefinitionArn { scope: cluster().scope, family, revision },
        launch_type: LaunchType::Ec2,
        capacity_provider_strategy: model::CapacityProviderStrategy::default(),
        platform_version: None,
        placement_constraints: vec![],
        placement_strategy: vec![],
        propagate_tags: PropagateTags::None,
        managed_tags: false,
        network: None,
        registries: Vec::new(),
        connect: None,
        volume: None,
    })
}

fn new_deployment(number: u64) -> deploy::NewDeployment {
    let service_deployment = ServiceDeploymentId::parse(format!("story{number:016}")).expect("a name");
    deploy::NewDeployment { id: DeploymentId::of(number), service_deployment }
}

fn service(desired: u32) -> (Service, ServiceDeployment) {
    let service = Service {
        arn: ServiceArn { cluster: cluster(), name: ServiceName::parse("web").expect("a name") },
        status: ServiceStatus::Active,
        version: 1,
        created_at: START,
        created_by: "bench".into(),
        scheduling: SchedulingStrategy::Replica,
        desired_count: desired,
        rules: DeploymentRules {
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            breaker: CircuitBreaker::default(),
            early_success: None,
            strategy: model::DeploymentStrategy::Rolling,
        },
        az_rebalancing: true,
        execute_command: false,
        health_check_grace_seconds: None,
        spec: Some(spec(1)),
        launch_type_before: None,
        external: None,
        deployments: vec![],
        rebalancing: 0,
        steady: false,
        deleted_at: None,
        creation: Creation { token: None, request_sha256: "".into() },
        tags: Tags::default(),
    };
    let begun = deploy::first(service, spec(1), new_deployment(1), START);
    (begun.service, begun.story)
}

fn task(number: usize, service: &Service) -> Task {
    let primary = service.primary().expect("it was begun");
    let id = TaskId::parse(format!("{number:032x}")).expect("hexadecimal");
    Task {
        arn: TaskArn { cluster: cluster(), id },
        definition: primary.spec.task_definition.clone(),
        availability_zone: Some(zone(number)),
        container_instance: Some(instance(number)),
        waiting: None,
        launch_type: LaunchType::Ec2,
        capacity_provider: None,
        platform: None,
        ephemeral_storage_gib: None,
        group: service.group(),
        started_by: Some(primary.id.to_string().into()),
        overrides: TaskOverrides::default(),
        reservation: Reservation::default(),
        desired: Desired::Running,
        phase: Phase::Running,
        version: 2,
        containers: vec![],
        times: TaskTimes { created: START, started: Some(START), ..TaskTimes::default() },
        execute_command: false,
        protected_until: None,
        volume: None,
        attachment: None,
        tags: Tags::default(),
    }
}

/// Reports the cost of a pass over that service with those tasks.
fn measure(ground: &Ground, what: &str, (service, story): &(Service, ServiceDeployment), tasks: &[Task]) {
    let events = |_: &str| None;
    let mut costs = Vec::with_capacity(RUNS);
    let mut made = (0, 0, false);
    for _ in 0..RUNS {
        let began = cpu_time();
        let view = View {
            service,
            story: Some(story),
            tasks: tasks.iter().collect(),
            field: ground,
            events: &events,
            no_place: false,
            now: NOW,
        };
        let plan = black_box(plan(&view));
        costs.push(cpu_time() - began);
        made = (plan.starts.iter().map(|start| start.count).sum(), plan.stops.len(), plan.is_idle());
    }
    costs.sort_unstable();
    let (count, us) = (tasks.len(), costs[RUNS / 2] as f64 / 1e3);
    println!(
        r#"{{"pass": "{what}", "desired": {}, "tasks": {count}, "us": {us:.1}, "starts": {}, "stops": {}, "idle": {}}}"#,
        service.desired_count, made.0, made.1, made.2
    );
}

/// The service as the planner leaves it when nothing is left to do.
fn satisfied(
    ground: &Ground,
    (service, story): (Service, ServiceDeployment),
    tasks: &[Task],
) -> (Service, ServiceDeployment) {
    let events = |_: &str| None;
    let view = View {
        service: &service,
        story: Some(&story),
        tasks: tasks.iter().collect(),
        field: ground,
        events: &events,
        no_place: false,
        now: NOW,
    };
    let mut plan = plan(&view);
    (plan.service.unwrap_or(service), plan.stories.pop().unwrap_or(story))
}

fn main() {
    let ground = Ground((0..INSTANCES).map(|number| (instance(number), zone(number))).collect());
    for size in SIZES {
        let begun = service(size);
        let tasks: Vec<_> = (0..size as usize).map(|number| task(number, &begun.0)).collect();
        measure(&ground, "first", &begun, &[]);
        let done = satisfied(&ground, begun, &tasks);
        measure(&ground, "nothing to do", &done, &tasks);
        let mut smaller = done.clone();
        smaller.0.desired_count = size - size / 10;
        measure(&ground, "scale in by a tenth", &smaller, &tasks);
        let refs: Vec<_> = tasks.iter().collect();
        let next = deploy::begin(&done.0, spec(2), new_deployment(2), Some(&done.1), &refs, NOW);
        measure(&ground, "update", &(next.service, next.story), &tasks);
    }
}
