//! How fast placement is: `cargo run --release -p scheduler --example placement_bench`.
//!
//! Clusters as they are found: three zones, four instance types, 35 attributes each, 50 tasks already on every
//! instance in ten groups, rows in memory in another order than in the view. Each run places with a new seed, and time
//! is the thread's own CPU time, median of the runs. The figures that stand are in bench/placement/README.md.
#![allow(clippy::print_stdout, reason = "a bench tells people what it found")]

use model::{
    AccountId, AgentInfo, Attribute, ClusterArn, ClusterName, ContainerInstance, ContainerInstanceArn,
    ContainerInstanceId, CpuUnits, InstanceStatus, MemoryMib, Region, Reservation, Resources, Scope, Tags, Timestamp,
};
use rustix::time::{ClockId, clock_gettime};
use scheduler::{Constraint, InstanceView, PlacementRequest, Strategy, place};
use std::{collections::BTreeMap, hint::black_box, sync::Arc};

const SIZES: [usize; 4] = [100, 1_000, 5_000, 10_000];
const BATCH: usize = 1_000;
const RUNS: u64 = 31;
const TASKS_EACH: u32 = 50;
const SPREAD_AND_PACK: [(&str, &str); 2] = [("spread", "attribute:ecs.availability-zone"), ("binpack", "memory")];
const MEMBERS: &str =
    "attribute:ecs.instance-type =~ m5.* and attribute:ecs.availability-zone in [us-east-1a, us-east-1b]";

/// Nanoseconds this thread has run.
fn cpu_time() -> u128 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

/// Name, strategies, and constraints as `memberOf` expressions (empty: `distinctInstance`).
type Shape = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
const SHAPES: [Shape; 6] = [
    ("spread(AZ)+binpack(memory)", &SPREAD_AND_PACK, &[]),
    ("random", &[("random", "")], &[]),
    ("distinctInstance", &[], &[""]),
    ("distinctInstance, spread(AZ)+binpack(memory)", &SPREAD_AND_PACK, &[""]),
    ("memberOf", &[], &[MEMBERS]),
    ("memberOf, spread(AZ)+binpack(memory)", &SPREAD_AND_PACK, &[MEMBERS]),
];

/// As the server keeps it.
struct Row {
    instance: Arc<ContainerInstance>,
    remaining: Resources,
    groups: BTreeMap<Arc<str>, u32>,
    zone: Arc<str>,
    price: u32,
}

impl Row {
    fn view(&self) -> InstanceView<'_> {
        InstanceView {
            instance: &self.instance,
            remaining: &self.remaining,
            running_tasks: TASKS_EACH,
            groups: &self.groups,
            zone: Some(&self.zone),
            price_micro_usd_hour: self.price,
        }
    }
}

fn row(number: usize, names: &[Arc<str>]) -> Arc<Row> {
    let scope = Scope {
        account: AccountId::parse("000000000000").expect("twelve digits"),
        region: Region::parse("us-east-1").expect("a region"),
    };
    let cluster = ClusterArn { scope, name: ClusterName::parse("bench").expect("a name") };
    let kind = ["m5.4xlarge", "m5.4xlarge", "m6i.4xlarge", "r5.2xlarge"][number % 4];
    let size = model::instance_type::find(kind).expect("a type of the table");
    let registered =
        Resources { cpu: CpuUnits(size.vcpus * 1024), memory: MemoryMib(size.memory_mib), ..Resources::default() };
    let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][number / 4 % 3];
    let mut attributes: BTreeMap<String, Option<String>> =
        (0..32).map(|n| (format!("com.amazonaws.ecs.capability.feature-{n:02}"), None)).collect();
    attributes.insert("ecs.instance-type".into(), Some(kind.into()));
    attributes.insert("ecs.availability-zone".into(), Some(zone.into()));
    attributes.insert("ecs.os-type".into(), Some("linux".into()));
    let mut remaining = registered.clone();
    // What the tasks hold differs a little, as it does after a while.
    let held = TASKS_EACH * 64 + (number % 7) as u32 * 32;
    remaining.take(&reservation(held, held * 2));
    let instance = ContainerInstance {
        arn: ContainerInstanceArn {
            cluster,
            id: ContainerInstanceId::parse(format!("{number:032x}")).expect("32 hexadecimal digits"),
        },
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: Some(format!("i-{number:017x}")),
        registered,
        attributes,
        agent: AgentInfo { version: "1.82.0".into(), ..AgentInfo::default() },
        agent_connected: true,
        agent_changed_at: Timestamp(0),
        address: None,
        wireguard: None,
        registered_at: Timestamp(0),
        reclaimed_at: None,
        tags: Tags::default(),
    };
    let groups = (0..10).map(|n| (names[(number + n) % names.len()].clone(), TASKS_EACH / 10)).collect();
    Arc::new(Row {
        instance: Arc::new(instance),
        remaining,
        groups,
        zone: zone.into(),
        price: size.price_micro_usd_hour,
    })
}

fn reservation(cpu: u32, memory: u32) -> Reservation {
    Reservation { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Reservation::default() }
}

/// Rows and views that are neighbours in one are not in the other: 7,919 is a prime and no divisor of the sizes.
fn views(rows: &[Arc<Row>]) -> Vec<InstanceView<'_>> {
    (0..rows.len()).map(|n| rows[n * 7_919 % rows.len()].view()).collect()
}

fn median(mut nanos: Vec<u128>) -> u128 {
    nanos.sort_unstable();
    nanos[nanos.len() / 2]
}

/// Median nanoseconds of one call, and how many tasks it placed.
fn measure(views: &[InstanceView<'_>], shape: &Shape, count: usize, group: &str) -> (u128, usize) {
    let strategy: Vec<_> =
        shape.1.iter().map(|(kind, field)| Strategy::parse(kind, Some(field)).expect("a strategy")).collect();
    let constraint = |text: &&str| match *text {
        "" => Constraint::DistinctInstance,
        text => Constraint::parse("memberOf", Some(text)).expect("an expression"),
    };
    let constraints: Vec<_> = shape.2.iter().map(constraint).collect();
    let required = ["00", "15", "31"]
        .map(|n| Attribute { name: format!("com.amazonaws.ecs.capability.feature-{n}"), value: None });
    let held = reservation(64, 128);
    let request = PlacementRequest {
        count,
        reservation: &held,
        required_attributes: &required,
        zones: &[],
        constraints: &constraints,
        strategy: &strategy,
        group,
    };
    let mut placed = 0;
    let nanos = (0..RUNS)
        .map(|seed| {
            let start = cpu_time();
            let plan = black_box(place(views, &request, seed));
            let took = cpu_time() - start;
            placed = plan.placed.len();
            took
        })
        .collect();
    (median(nanos), placed)
}

fn table(clusters: &[Vec<Arc<Row>>], count: usize, group: &str) {
    println!(
        "{:<46}{:>10}{:>9}{:>13}{:>12}{:>14}",
        "shape", "instances", "placed", "us per call", "ns each", "placements/s"
    );
    for shape in &SHAPES {
        for rows in clusters {
            let (nanos, placed) = measure(&views(rows), shape, count, group);
            let each = nanos / placed.max(1) as u128;
            let rate = placed as u128 * 1_000_000_000 / nanos;
            println!("{:<46}{:>10}{placed:>9}{:>13.1}{each:>12}{rate:>14}", shape.0, rows.len(), nanos as f64 / 1e3);
        }
    }
}

fn main() {
    let names: Vec<Arc<str>> = (0..40).map(|n| format!("service:app-{n:02}").into()).collect();
    let clusters = SIZES.map(|size| (0..size).map(|n| row(n, &names)).collect::<Vec<_>>());
    println!("A batch of {BATCH} tasks of a new group, {TASKS_EACH} tasks of other groups on each instance");
    table(&clusters, BATCH, "service:new");
    println!("\nThe same, of a group that has five tasks on a quarter of the instances");
    table(&clusters, BATCH, "service:app-07");
    println!("\nOne RunTask of 10 tasks");
    table(&clusters, 10, "family:new");
    println!("\nOne task");
    table(&clusters, 1, "family:new");

    println!("\nMaking the view of one call");
    for rows in &clusters {
        let made = (0..RUNS).map(|_| {
            let start = cpu_time();
            black_box(views(rows));
            cpu_time() - start
        });
        println!("{:>10} instances {:>10.1} us", rows.len(), median(made.collect()) as f64 / 1e3);
    }
}
