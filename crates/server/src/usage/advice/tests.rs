use super::*;
use model::{AccountId, ClusterName, Region, Scope, Tags};
use proptest::prelude::*;
use telemetry::usage::Owner;

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

fn usage(key: &str, from: i64, to: i64, what: Resource) -> Usage {
    let scope =
        Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() };
    let owner = Owner {
        scope,
        cluster: ClusterName::parse("shop").unwrap(),
        zone: None,
        service: None,
        family: None,
        capacity_provider: None,
        tags: Tags::default(),
    };
    Usage { key: key.into(), from: Timestamp(from), to: Timestamp(to), over: true, what, measured: None, owner }
}

fn on(instance: &str, cpu: u32, memory: u32) -> Resource {
    Resource::OnInstance { cpu, memory, external: false, on: Some(instance.into()) }
}

fn fargate(cpu: u32, memory: u32) -> Resource {
    Resource::Fargate { cpu, memory, storage: 0, arm: false, spot: false }
}

fn instance(kind: &str) -> Resource {
    Resource::Instance { instance_type: Some(kind.into()) }
}

fn windows(cuts: &[i64]) -> Vec<Window> {
    cuts.windows(2).map(|cut| Window { from: Timestamp(cut[0]), to: Timestamp(cut[1]) }).collect()
}

/// The figures of usages, each of the group beside it.
fn reckon(cuts: &[i64], now: i64, usages: &[(Usage, Group)]) -> Table {
    let (windows, prices) = (windows(cuts), PriceList::default());
    let mut advice = Advice::new(&windows, &prices, Timestamp(now));
    usages.iter().for_each(|(usage, group)| advice.add(usage, Some(*group)));
    advice.finish().unwrap()
}

fn shown(cost: Option<Atoms>) -> String {
    cost.map_or_else(|| "-".to_owned(), |cost| cost.to_string())
}

/// A service that runs all day, and a job of a minute, both on Fargate: one belongs on EC2, the other does not.
#[test]
fn what_runs_long_is_cheaper_on_ec2_and_what_runs_seldom_on_fargate() {
    let day = 24 * HOUR;
    let table = reckon(
        &[0, day],
        day,
        &[
            (usage("service", 0, day, fargate(256, 512)), 0),
            (usage("job", 5 * HOUR, 5 * HOUR + MINUTE, fargate(256, 512)), 1),
        ],
    );
    let [service, job] = [&table[0][&0], &table[0][&1]];
    assert_eq!(service.as_run.to_string(), "0.2962200000");
    assert_eq!(service.on_fargate, Some(service.as_run));
    assert_eq!(shown(service.on_spot), "0.0914400000");
    assert_eq!(shown(service.on_ec2), "0.1248000000", "a t3.nano for a day");
    assert_eq!(service.instances, BTreeMap::from([("t3.nano", 1)]));
    assert_eq!((service.ran, service.break_even), (Some(10_000), Some(4_213)));
    assert_eq!(job.as_run.to_string(), "0.0002057083");
    assert_eq!(shown(job.on_ec2), "0.0052000000", "an hour of a t3.nano");
    assert_eq!((job.ran, job.break_even), (Some(8), Some(4_213)), "a minute of the nineteen hours since");
}

#[test]
fn an_instance_is_paid_by_those_on_it_and_what_nobody_used_is_idle() {
    let table = reckon(
        &[0, 4 * HOUR],
        4 * HOUR,
        &[
            (usage("a/i-1@0", 0, 4 * HOUR, instance("t3.medium")), 0),
            (usage("a/i-2@0", 0, 4 * HOUR, instance("t3.medium")), 5),
            // Nine and one to one: a vCPU and a GB, against a GB.
            (usage("web", HOUR, 3 * HOUR, on("i-1", 1_024, 1_024)), 1),
            (usage("db", 2 * HOUR, 3 * HOUR, on("i-1", 0, 1_024)), 2),
        ],
    );
    let figures = |group| &table[0][&group];
    assert_eq!(figures(1).as_run.to_string(), "0.0794181818", "an hour alone and ten elevenths of another");
    assert_eq!(figures(2).as_run.to_string(), "0.0037818182", "one eleventh");
    assert_eq!((figures(0).idle.to_string().as_str(), figures(0).idle_seconds), ("0.0832000000", 7_200));
    assert_eq!((figures(5).idle, figures(5).idle_seconds), (figures(5).as_run, 14_400));
    assert_eq!(shown(figures(1).on_fargate), "0.0987400000", "1 vCPU with 2 GB: there is no less");
    assert_eq!(shown(figures(2).on_fargate), "0.0145650000", "a quarter with 1 GB");
    assert_eq!((figures(0).on_fargate, figures(0).on_ec2), (None, None), "an instance is no task");
}

#[test]
fn what_nobody_knows_is_not_said() {
    let unknown = Resource::OnInstance { cpu: 10, memory: 10, external: false, on: None };
    let arm = Resource::Fargate { cpu: 256, memory: 512, storage: 0, arm: true, spot: false };
    let table = reckon(
        &[0, HOUR],
        HOUR,
        &[
            (usage("a/i-1@0", 0, HOUR, instance("t3.medium")), 0),
            (usage("old", 0, HOUR / 2, unknown), 1),
            (usage("arm", 0, HOUR, arm), 2),
            (usage("huge", HOUR / 4, HOUR, on("i-1", 40_000, 400_000)), 3),
            (usage("a/i-2@0", 0, HOUR, instance("x9.huge")), 4),
            (usage("mine", 0, HOUR, on("i-2", 10, 10)), 4),
        ],
    );
    let figures = |group| &table[0][&group];
    assert!(figures(1).is_partial && !figures(3).is_partial);
    assert_eq!(figures(0).as_run.to_string(), "0.0104000000", "a quarter, which nobody is known to have used");
    assert_eq!(figures(0).idle, Atoms(0), "but the old one may have");
    assert_eq!((figures(2).on_ec2, figures(2).break_even), (None, None), "no instance type is ARM");
    assert_eq!(shown(figures(2).on_fargate), "0.0098750000");
    assert_eq!((figures(3).on_ec2, figures(3).on_fargate, figures(3).on_spot), (None, None, None));
    assert_eq!(figures(4).unpriced, BTreeSet::from(["BoxUsage:x9.huge".to_owned()]));
}

/// Times, in the way people think of them: when it began in the hour, for how long, and what is paid in seconds.
#[test]
fn instances_are_held_to_the_end_of_an_hour_and_paid_a_minute_at_least() {
    for (what, from, to, now, seconds) in [
        ("from the first task to the hour's end", 10 * MINUTE, 11 * MINUTE, 9 * HOUR, 3_000),
        ("or up to now", 10 * MINUTE, 11 * MINUTE, 20 * MINUTE, 600),
        ("a minute at least", HOUR - 1, HOUR, 9 * HOUR, 60),
        ("but not again in the next hour", HOUR - 30_000, HOUR + 1, HOUR + 1_000, 61),
        ("and the hour that an end touches is not begun", 0, HOUR, 9 * HOUR, 3_600),
        ("of no time at all", MINUTE, MINUTE, 9 * HOUR, 3_540),
    ] {
        let table = reckon(&[0, 9 * HOUR], now, &[(usage("job", from, to, on("i-1", 10, 10)), 0)]);
        let nano = telemetry::usage::Price(5_200_000_000);
        assert_eq!(table[0][&0].on_ec2, Some(nano.of(1_024 * seconds)), "{what}");
    }
}

#[test]
fn what_goes_makes_room_for_what_comes() {
    let most = |events: &[(i64, i32)]| hours::most_at_once(events).into_iter().collect::<Vec<_>>();
    assert_eq!(most(&[]), []);
    assert_eq!(most(&[(0, 1), (5, -1), (5, 1), (9, -1)]), [(0, (0, 1))]);
    assert_eq!(most(&[(0, 1), (6, -1), (5, 1), (9, -1)]), [(0, (0, 2))]);
    assert_eq!(
        most(&[(7, 1), (2 * HOUR + 1, -1), (HOUR, 1), (HOUR + 1, -1)]),
        [(0, (7, 1)), (1, (HOUR, 2)), (2, (2 * HOUR, 1))]
    );
}

fn histories() -> impl Strategy<Value = Vec<(Usage, Group)>> {
    let what = prop_oneof![
        (0..4_000_u32, 4..9_000_u32, 0..3_usize).prop_map(|(cpu, memory, at)| on(
            ["i-0", "i-1", "i-9"][at],
            cpu,
            memory
        )),
        (0..4_000_u32, 4..9_000_u32).prop_map(|(cpu, memory)| Resource::OnInstance {
            cpu,
            memory,
            external: true,
            on: None
        }),
        (1..4_000_u32, 4..9_000_u32).prop_map(|(cpu, memory)| fargate(cpu, memory)),
    ];
    let task = (0..6 * HOUR, 0..3 * HOUR, what, 0..3_usize);
    let stay = (0..6 * HOUR, 0..6 * HOUR, 0..2_usize, prop_oneof![Just("t3.medium"), Just("x9.huge")]);
    let tasks = proptest::collection::vec(task, 0..12);
    (tasks, proptest::collection::vec(stay, 0..4)).prop_map(|(tasks, stays)| {
        let tasks = tasks.into_iter().enumerate();
        let tasks =
            tasks.map(|(n, (from, lasts, what, group))| (usage(&format!("t{n}"), from, from + lasts, what), group));
        let stays = stays.into_iter().map(|(from, lasts, at, kind)| {
            (usage(&format!("a/i-{at}@{from}"), from, from + lasts, instance(kind)), 3 + at)
        });
        tasks.chain(stays).collect()
    })
}

const END: i64 = 12 * HOUR;

proptest! {
    /// Whatever is on what, and however the time is cut: nothing of the bill is lost, and nothing is there twice.
    #[test]
    fn as_it_ran_all_groups_together_are_the_bill(history in histories(), hourly in any::<bool>()) {
        let cuts: Vec<i64> = if hourly { (0..=12).map(|hour| hour * HOUR).collect() } else { vec![0, END] };
        let (windows, prices) = (windows(&cuts), PriceList::default());
        let mut bill = Sums::new(&windows, &prices);
        history.iter().for_each(|(usage, _)| bill.add(usage, |_| Some(())));
        let table = reckon(&cuts, END, &history);
        for (mut bill, figures) in bill.finish().into_iter().zip(&table) {
            let bill = bill.remove(&()).unwrap_or_default();
            prop_assert_eq!(figures.values().map(|figures| figures.as_run).sum::<Atoms>(), bill.cost);
            prop_assert!(figures.values().all(|figures| figures.idle <= figures.as_run));
        }
    }

    /// However the time is cut, it comes to the same; and no packing is cheaper than what the tasks hold of any instance.
    #[test]
    fn on_ec2_parts_make_up_the_whole_and_are_no_bargain(history in histories()) {
        let hourly: Vec<i64> = (0..=12).map(|hour| hour * HOUR).collect();
        let (whole, parts) = (reckon(&[0, END], END, &history), reckon(&hourly, END, &history));
        for (group, figures) in &whole[0] {
            let parts = parts.iter().filter_map(|part| part.get(group));
            let sum = |of: fn(&Figures) -> Option<Atoms>| parts.clone().filter_map(of).sum::<Atoms>();
            if let Some(on_ec2) = figures.on_ec2 {
                prop_assert_eq!(sum(|figures| figures.on_ec2), on_ec2);
                let least = |wanted: u128, each: fn(&model::instance_type::InstanceType) -> u32| {
                    let price = |kind: &model::instance_type::InstanceType| u128::from(kind.price_micro_usd_hour);
                    let kinds = model::instance_type::ALL.iter();
                    kinds.map(|kind| wanted * price(kind) * 1_000_000 * 1_024 / u128::from(each(kind))).min().unwrap()
                };
                let own = || history.iter().filter(|(usage, of)| of == group && usage.to.0 <= END);
                let held = |of: fn(&Resource) -> u32| -> u128 {
                    own().map(|(usage, _)| u128::from(of(&usage.what)) * (usage.to.millis_since(usage.from) as u128 / 1_000)).sum()
                };
                prop_assert!(on_ec2.0 >= least(held(cpu), |kind| kind.vcpus * 1_024));
                prop_assert!(on_ec2.0 >= least(held(memory), |kind| kind.memory_mib));
            }
            if let Some(on_fargate) = figures.on_fargate {
                prop_assert_eq!(sum(|figures| figures.on_fargate), on_fargate);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Second by second, in the plainest way.
    #[test]
    fn idle_is_every_second_of_nobody(history in histories()) {
        let is_old = |usage: &Usage| matches!(usage.what, Resource::OnInstance { on: None, .. });
        let mut plain = BTreeMap::<Group, u64>::new();
        for (stay, group) in history.iter().filter(|(usage, _)| matches!(usage.what, Resource::Instance { .. })) {
            for second in 0..stay.seconds() {
                let at = stay.from.plus_millis(i64::try_from(second).unwrap() * 1_000);
                let here = |(task, _): &&(Usage, Group)| {
                    let is_task = matches!(task.what, Resource::OnInstance { .. });
                    let same = task.instance() == stay.instance() || is_old(task);
                    is_task && same && task.from <= at && at < task.to
                };
                if !history.iter().any(|one| here(&one)) {
                    *plain.entry(*group).or_default() += 1;
                }
            }
        }
        let table = reckon(&[0, 2 * END], 2 * END, &history);
        let found: BTreeMap<Group, u64> = table[0]
            .iter()
            .map(|(group, figures)| (*group, figures.idle_seconds))
            .filter(|(_, seconds)| *seconds > 0)
            .collect();
        prop_assert_eq!(found, plain.into_iter().filter(|(_, seconds)| *seconds > 0).collect());
    }
}

fn cpu(what: &Resource) -> u32 {
    match what {
        Resource::Fargate { cpu, .. } | Resource::OnInstance { cpu, .. } => *cpu,
        Resource::Instance { .. } | Resource::External => 0,
    }
}

fn memory(what: &Resource) -> u32 {
    match what {
        Resource::Fargate { memory, .. } | Resource::OnInstance { memory, .. } => *memory,
        Resource::Instance { .. } | Resource::External => 0,
    }
}

/// What a task used: MiB at most, CPU at most in 1,024ths, and half of that all the time.
fn used(mut usage: Usage, memory: u32, cpu_peak: u32) -> Usage {
    let over_millis = u64::try_from(usage.to.0 - usage.from.0).unwrap();
    let cpu_millis = over_millis * u64::from(cpu_peak) / 2_048;
    usage.measured = Some(model::Measured { memory, cpu_millis, cpu_peak, over_millis });
    usage
}

#[test]
fn the_smallest_size_that_holds_the_most_and_a_third_would_do() {
    let size = |fit: &Fit| fit.would_do.map(|(cpu, memory)| (cpu.map_or(0, |cpu| cpu.0), memory.0));
    for (what, memory, cpu_peak, would_do, saves) in [
        // On instances memory alone, in steps.
        (on("i-1", 256, 1_024), 130, 100, Some((0, 192)), "-"),
        (on("i-1", 256, 1_024), 1_000, 100, Some((0, 1_312)), "-"),
        (on("i-1", 0, 64), 1, 0, Some((0, 32)), "-"),
        // On Fargate the next size: 1 vCPU with 2 GB less a quarter with 512 MiB, for an hour.
        (fargate(1_024, 2_048), 130, 100, Some((256, 512)), "0.0370275000"),
        (fargate(1_024, 2_048), 394, 100, Some((256, 1_024)), "0.0348050000"),
        // Looked at once: nobody knows what CPU it needs, so it keeps what it has.
        (fargate(1_024, 4_096), 130, 0, Some((1_024, 2_048)), "0.0088900000"),
        (fargate(256, 512), 130, 100, Some((256, 512)), "-"),
        (fargate(256, 512), 500, 256, Some((256, 1_024)), "-"),
        (fargate(32_768, 249_856), 240_000, 32_768, None, "-"),
    ] {
        let task = used(usage("a", 0, HOUR, what.clone()), memory, cpu_peak);
        let table = reckon(&[0, HOUR], HOUR, &[(task, 0)]);
        let fit = table[0][&0].fit.as_ref().unwrap();
        assert_eq!((size(fit), shown(fit.saves).as_str()), (would_do, saves), "{what:?} {memory} {cpu_peak}");
        assert_eq!(fit.memory_peak, memory);
    }
}

#[test]
fn tasks_are_judged_by_the_size_of_the_latest_and_by_those_that_were_measured() {
    let half = HOUR / 2;
    let table = reckon(
        &[0, HOUR, 2 * HOUR],
        2 * HOUR,
        &[
            (used(usage("before", 0, half, fargate(1_024, 2_048)), 1_900, 1_024), 0),
            (used(usage("one", half, HOUR, fargate(512, 1_024)), 100, 128), 0),
            (used(usage("other", half, HOUR, fargate(512, 1_024)), 200, 64), 0),
            // The latest, but too quick to be looked at.
            (usage("quick", HOUR - 1, HOUR, fargate(4_096, 8_192)), 0),
            (usage("unknown", 0, HOUR, fargate(256, 512)), 1),
            (used(usage("idle", 0, HOUR, on("i-1", 0, 64)), 5, 0), 2),
        ],
    );
    let fit = table[0][&0].fit.clone().unwrap();
    assert_eq!((fit.cpu, fit.memory, fit.memory_peak), (512, 1_024, 200));
    assert_eq!((fit.cpu_peak, fit.cpu_average), (Some(2_500), Some(938)), "a quarter for a moment, 9.38 % of all time");
    assert_eq!(shown(fit.saves), "0.0123425000", "half of what both cost for half an hour each");
    assert_eq!(table[0][&1].fit, None, "nothing was measured");
    let idle = table[0][&2].fit.as_ref().unwrap();
    assert_eq!((idle.cpu_peak, idle.cpu_average, idle.saves), (None, None, None), "it holds no CPU");
    assert!(table[1].values().all(|figures| figures.fit.is_none()), "nothing ran");
}
