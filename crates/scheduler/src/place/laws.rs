//! What holds for every cluster and every request, held against a slow and obvious way of saying it.

use super::fixture::{GROUP, Row, Wanted, place, reservation, row, wanted};
use super::{Binpack, Candidate, Constraint, Plan, SpreadField, Strategy, draw};
use crate::query::Subject;
use model::{Attribute, InstanceStatus, Port, Protocol};
use proptest::strategy::Strategy as Generate;
use proptest::{collection::vec, option, prelude::*, sample::select};

const AZ: &str = "ecs.availability-zone";

/// Whether one more task may go there, said with `model`'s own arithmetic.
fn fits(row: &Row, wanted: &Wanted) -> bool {
    let view = row.view();
    view.status() == InstanceStatus::Active
        && view.agent_connected()
        && row.remaining.lacks(&wanted.reservation).is_none()
        && wanted.required.iter().all(|a| row.instance.attributes.contains_key(&a.name))
        && wanted.constraints.iter().all(|c| match c {
            Constraint::DistinctInstance => view.tasks_in_group(GROUP) == 0,
            Constraint::MemberOf(expression) => expression.matches(&view),
        })
}

/// What the strategies say of an instance, smaller is better; chance says nothing and ends it.
fn score(rows: &[Row], at: usize, strategy: &[Strategy]) -> Vec<u32> {
    let tasks = |row: &Row| row.view().tasks_in_group(GROUP);
    let mut score = Vec::new();
    for strategy in strategy {
        score.push(match strategy {
            Strategy::Random => return score,
            Strategy::Spread(SpreadField::InstanceId) => tasks(&rows[at]),
            Strategy::Spread(SpreadField::Attribute(name)) => match rows[at].instance.attributes.get(name) {
                None => u32::MAX,
                Some(value) => rows
                    .iter()
                    .filter(|r| r.instance.status == InstanceStatus::Active)
                    .filter(|r| r.instance.attributes.get(name) == Some(value))
                    .map(tasks)
                    .sum(),
            },
            Strategy::Binpack(Binpack::Cpu) => rows[at].remaining.cpu.0,
            Strategy::Binpack(Binpack::Memory) => rows[at].remaining.memory.0,
        });
    }
    if !strategy.is_empty() {
        score.push(rows[at].view().price_micro_usd_hour());
    }
    score
}

/// Follows a plan task by task: each fits where it goes, and nothing that fits is better. Returns the cluster after it.
fn follow(rows: &[Row], wanted: &Wanted, plan: &Plan) -> Vec<Row> {
    let mut rows = rows.to_vec();
    for (number, at) in plan.placed.iter().copied().enumerate() {
        assert!(fits(&rows[at], wanted), "task {number} does not fit on {at}");
        let mine = score(&rows, at, &wanted.strategy);
        for other in (0..rows.len()).filter(|other| fits(&rows[*other], wanted)) {
            let theirs = score(&rows, other, &wanted.strategy);
            assert!(mine <= theirs, "task {number} went to {at} {mine:?}, not to {other} {theirs:?}");
        }
        rows[at].accept_pending(&wanted.reservation);
    }
    assert_eq!(plan.placed.len() + plan.unplaced, wanted.count);
    if plan.unplaced > 0 {
        assert!(!rows.iter().any(|row| fits(row, wanted)), "something still fits");
        let active = rows.iter().filter(|r| r.instance.status == InstanceStatus::Active).count();
        assert_eq!(plan.held.len(), active.max(1), "each considered instance says why");
    } else {
        assert!(plan.held.is_empty());
    }
    rows
}

fn a_row() -> impl Generate<Value = Row> {
    let place = (option::weighted(0.8, select(vec!["a", "b", "c"])), option::of(select(vec!["1", "2"])));
    let size = (0..6u32, 0..6u32, 0..2u32, any::<bool>());
    let state = (
        select(vec![InstanceStatus::Active, InstanceStatus::Active, InstanceStatus::Active, InstanceStatus::Draining]),
        proptest::bool::weighted(0.9),
        select(vec!["t3.nano", "t3.micro", "m5.large", "own"]),
    );
    (place, size, state, 0..4u32, 0..2u32).prop_map(|((az, rack), (cpu, memory, gpus, web), state, tasks, others)| {
        let (status, connected, kind) = state;
        let mut row = row(0).left(cpu * 100, memory * 100).with("ecs.instance-type", kind);
        row.remaining.gpus = (0..gpus).map(|n| model::GpuId::parse(&n.to_string()).unwrap()).collect();
        if web {
            row.remaining.ports.insert(Port { protocol: Protocol::Tcp, number: 80 });
        }
        row.instance.status = status;
        row.instance.agent_connected = connected;
        for (name, value) in [(AZ, az), ("rack", rack)] {
            row = value.into_iter().fold(row, |row, value| row.with(name, value));
        }
        for (group, tasks) in [(GROUP, tasks), ("service:other", others)] {
            row = if tasks > 0 { row.hosting(group, tasks) } else { row };
        }
        row
    })
}

fn strategies() -> impl Generate<Value = Vec<&'static str>> {
    let all = vec![
        "random",
        "spread instanceId",
        "spread host",
        "spread attribute:ecs.availability-zone",
        "spread attribute:rack",
        "binpack cpu",
        "binpack memory",
    ];
    vec(select(all), 0..=5)
}

fn a_request() -> impl Generate<Value = Wanted> {
    let size = (0..3u32, 0..3u32, proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    let rules = vec![
        "attribute:ecs.availability-zone in [a, b]",
        "attribute:rack !exists",
        "not(task:group == service:web)",
        "task:group == service:other or runningTasksCount < 3",
    ];
    (
        0..30usize,
        size,
        strategies(),
        vec(select(rules), 0..2),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(count, (cpu, memory, gpu, web), strategies, rules, distinct, rack)| {
            let mut wanted = wanted(count).by(&strategies);
            wanted.reservation = reservation(cpu * 60, memory * 60);
            wanted.reservation.gpus = u32::from(gpu);
            if web {
                wanted.reservation.ports.insert(Port { protocol: Protocol::Tcp, number: 80 });
            }
            if rack {
                wanted.required.push(Attribute { name: "rack".into(), value: None });
            }
            wanted = rules.into_iter().fold(wanted, Wanted::member_of);
            if distinct { wanted.distinct() } else { wanted }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Capacity, constraints, completeness, best choice and the reasons, all at once: see `follow`.
    #[test]
    fn each_task_goes_to_the_best_of_those_that_fit(rows in vec(a_row(), 0..12), wanted in a_request(), seed: u64) {
        let plan = place(&rows, &wanted, seed);
        follow(&rows, &wanted, &plan);
        prop_assert_eq!(place(&rows, &wanted, seed), plan);
    }

    /// Draws keep the same laws as the contest, and give up rather than leave a task behind.
    #[test]
    fn what_is_drawn_fits(rows in vec(a_row(), 0..12), wanted in a_request(), seed: u64) {
        let among = rows.len();
        // The odd ones are not to be considered, as instances of another launch type are not.
        let even = |at: usize| at.is_multiple_of(2).then(|| rows[at].view());
        let Some(placed) = draw(among, even, &wanted.request(), seed) else { return Ok(()) };
        prop_assert!(wanted.strategy.first().is_none_or(|s| *s == Strategy::Random));
        prop_assert!(placed.iter().all(|at| at.is_multiple_of(2)));
        prop_assert_eq!(draw(among, even, &wanted.request(), seed), Some(placed.clone()));
        follow(&rows, &wanted, &Plan { placed, unplaced: 0, held: Vec::new() });
    }

    /// A batch leaves as much as the same tasks one by one.
    #[test]
    fn a_batch_equals_its_tasks_one_by_one(rows in vec(a_row(), 0..10), wanted in a_request(), seed: u64) {
        let at_once = follow(&rows, &wanted, &place(&rows, &wanted, seed));
        let mut one_by_one = rows.clone();
        let single = Wanted { count: 1, ..wanted.clone() };
        let mut placed = 0;
        for turn in 0..wanted.count as u64 {
            let plan = place(&one_by_one, &single, seed.wrapping_add(turn));
            placed += plan.placed.len();
            one_by_one = follow(&one_by_one, &single, &plan);
        }
        prop_assert_eq!(placed, place(&rows, &wanted, seed).placed.len());
        let totals = |rows: &[Row]| {
            let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
            (sum(|r| r.remaining.cpu.0.into()), sum(|r| r.remaining.memory.0.into()), sum(|r| r.view().tasks_in_group(GROUP).into()))
        };
        prop_assert_eq!(totals(&at_once), totals(&one_by_one));
    }

    /// With room for all, spreading leaves no bucket more than one task behind another.
    #[test]
    fn spread_stays_within_one(zones in vec(select(vec!["a", "b", "c", "d"]), 1..20), count in 0..100usize, seed: u64) {
        let rows: Vec<_> = zones.iter().enumerate()
            .map(|(n, zone)| row(n).left(u32::MAX, u32::MAX).with(AZ, zone)).collect();
        for strategy in ["spread attribute:ecs.availability-zone", "spread instanceId"] {
            let wanted = wanted(count).by(&[strategy, "binpack memory"]);
            let after = follow(&rows, &wanted, &place(&rows, &wanted, seed));
            let mut buckets = std::collections::BTreeMap::<String, u32>::new();
            for row in &after {
                let by_zone = row.instance.availability_zone().unwrap().to_owned();
                let by_instance = row.instance.arn.id.to_string();
                let bucket = if strategy.ends_with("zone") { by_zone } else { by_instance };
                *buckets.entry(bucket).or_default() += row.view().tasks_in_group(GROUP);
            }
            let (least, most) = (buckets.values().min().unwrap(), buckets.values().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", buckets);
        }
    }

    /// Packing fills an instance before it opens the next.
    #[test]
    fn binpack_opens_no_second_while_the_first_fits(instances in 1..10usize, cpu in 0..500u32, memory in 1..500u32, count in 0..60usize, seed: u64) {
        let rows: Vec<_> = (0..instances).map(row).collect();
        for strategy in ["binpack cpu", "binpack memory"] {
            let mut wanted = wanted(count).by(&[strategy]);
            wanted.reservation = reservation(cpu, memory);
            let mut now = rows.clone();
            let mut open: Option<usize> = None;
            for at in place(&rows, &wanted, seed).placed {
                if let Some(open) = open.filter(|open| *open != at) {
                    prop_assert!(!fits(&now[open], &wanted), "{} was opened while {} had room", at, open);
                }
                now[at].accept_pending(&wanted.reservation);
                open = Some(at);
            }
        }
    }
}
