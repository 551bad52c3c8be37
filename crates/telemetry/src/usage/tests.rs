use super::*;
use model::{AccountId, Region};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn usage(from: i64, to: i64, what: Resource) -> Usage {
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
    Usage { key: "a".into(), from: Timestamp(from), to: Timestamp(to), over: true, what, measured: None, owner }
}

fn fargate(cpu: u32, memory: u32, storage: u32) -> Resource {
    Resource::Fargate { cpu, memory, storage, arm: false, spot: false }
}

fn total(usage: &Usage, from: i64, to: i64) -> Total {
    let windows = [Window { from: Timestamp(from), to: Timestamp(to) }];
    let prices = PriceList::default();
    let mut sums = Sums::new(&windows, &prices);
    sums.add(usage, |_| Some(()));
    sums.finish().remove(0).remove(&()).unwrap_or_default()
}

#[test]
fn seconds_begun_count_and_a_minute_at_least() {
    let machine = || Resource::Instance { instance_type: None };
    let held = || Resource::OnInstance { cpu: 1, memory: 1, external: false, on: None };
    for (what, millis, over, seconds) in [
        (fargate(256, 512, 0), 0, true, 60),
        (fargate(256, 512, 0), 60_000, true, 60),
        (fargate(256, 512, 0), 60_001, true, 61),
        (fargate(256, 512, 0), 1_500, false, 2),
        (machine(), 1_500, true, 60),
        (held(), 1_500, true, 2),
        (held(), -5, true, 0),
        (Resource::External, 3_600_000, true, 3_600),
    ] {
        let usage = Usage { over, ..usage(1_000, 1_000 + millis, what) };
        assert_eq!(usage.seconds(), seconds, "{usage:?}");
        assert_eq!(usage.billed_until().0, 1_000 + i64::try_from(seconds).unwrap() * 1_000);
    }
}

#[test]
fn an_hour_costs_what_is_published() {
    const HOUR: i64 = 3_600_000;
    let machine = |kind: &str| Resource::Instance { instance_type: Some(kind.into()) };
    let arm = Resource::Fargate { cpu: 1_024, memory: 2_048, storage: 0, arm: true, spot: false };
    let spot = Resource::Fargate { cpu: 1_024, memory: 2_048, storage: 0, arm: false, spot: true };
    for (what, cost, unpriced) in [
        (fargate(1_024, 2_048, 0), "0.0493700000", None),
        (fargate(256, 512, 1), "0.0124535000", None),
        (fargate(256, 512, 0), "0.0123425000", None),
        (arm, "0.0395000000", None),
        (spot, "0.0152400000", None),
        (machine("t3.medium"), "0.0416000000", None),
        (machine("x9.huge"), "0.0000000000", Some("BoxUsage:x9.huge")),
        (Resource::Instance { instance_type: None }, "0.0000000000", Some("BoxUsage:unknown")),
        (Resource::OnInstance { cpu: 1_024, memory: 1_024, external: false, on: None }, "0.0000000000", None),
        (Resource::External, "0.0102500000", None),
    ] {
        let total = total(&usage(0, HOUR, what.clone()), 0, HOUR);
        assert_eq!(total.cost.to_string(), cost, "{what:?}");
        assert_eq!(total.unpriced.iter().map(String::as_str).next(), unpriced, "{what:?}");
    }
}

#[test]
fn amounts_are_rounded_when_they_are_shown_and_not_before() {
    for (atoms, shown) in [
        (0, "0.0000000000"),
        (368_640_000 / 2 - 1, "0.0000000000"),
        (368_640_000 / 2, "0.0000000001"),
        (368_640_000 * 10_u128.pow(10), "1.0000000000"),
        (368_640_000 * (12 * 10_u128.pow(10) + 34), "12.0000000034"),
    ] {
        assert_eq!(Atoms(atoms).to_string(), shown, "{atoms}");
    }
    for (quantity, shown) in [(0, "0.0000000000"), (3_600 * 1_024, "1.0000000000"), (1_024, "0.0002777778")] {
        assert_eq!(quantity_text(quantity), shown, "{quantity}");
    }
}

#[test]
fn prices_are_decimals_and_nothing_else() {
    for (text, pico) in [
        ("0.04048", Some(40_480_000_000)),
        ("1", Some(1_000_000_000_000)),
        ("0.000000000001", Some(1)),
        ("0", Some(0)),
        ("0.0000000000001", None),
        ("", None),
        (".5", None),
        ("1.", None),
        ("-1", None),
        ("1e3", None),
        ("+1", None),
        ("18446745", None),
    ] {
        assert_eq!(text.parse::<Price>().ok(), pico.map(Price), "{text}");
    }
}

#[test]
fn the_price_file_is_written_as_it_is_read() {
    let prices = PriceList::default();
    let text = prices.render();
    assert_eq!(PriceList::parse(&text), Ok(prices.clone()));
    assert_eq!(text, include_str!("../../tests/golden/prices.v1.json"), "the published prices have changed");
    for (change, says) in [
        (text.replace("\"v\": 1", "\"v\": 2"), "format version 2"),
        (text.replace("USD", "EUR"), "EUR"),
        (text.replace("0.04048", "cheap"), "Fargate-vCPU-Hours:perCPU: 'cheap' is no price"),
        (text.replace("\"dated\"", "\"date\""), "unknown field"),
    ] {
        let error = PriceList::parse(&change).unwrap_err().to_string();
        assert!(error.contains(says), "{error} does not say {says}");
    }
    let own = text.replacen("\"Fargate-GB-Hours\"", "\"USW2-Fargate-GB-Hours\": \"1\",\n    \"Fargate-GB-Hours\"", 1);
    let own = PriceList::parse(&own).unwrap();
    for (region, price) in [("us-west-2", 1_000_000_000_000), ("us-east-1", 4_445_000_000), ("mars", 4_445_000_000)] {
        assert_eq!(own.find(region, "Fargate-GB-Hours"), Some(Price(price)), "{region}");
    }
    assert_eq!(PriceList::on_bill("us-east-1", "BoxUsage:t3.nano"), "BoxUsage:t3.nano");
    assert_eq!(PriceList::on_bill("eu-west-1", "BoxUsage:t3.nano"), "EU-BoxUsage:t3.nano");
    assert_eq!(PriceList::on_bill("us-east-1", "Fargate-GB-Hours"), "USE1-Fargate-GB-Hours");
}

#[test]
fn what_is_stored_is_as_every_version_has_written_it() {
    let kinds = [
        fargate(256, 512, 30),
        Resource::OnInstance { cpu: 10, memory: 64, external: true, on: None },
        Resource::Instance { instance_type: Some("t3.medium".into()) },
        Resource::External,
    ];
    let full = |what| {
        let mut usage = usage(1, 2, what);
        usage.owner.zone = Some("us-east-1a".into());
        usage.owner.service = Some(ServiceName::parse("web").unwrap());
        usage.owner.family = Some(Family::parse("web").unwrap());
        usage.owner.capacity_provider = Some("FARGATE".into());
        usage.owner.tags = Tags(BTreeMap::from([("team".to_owned(), "blue".to_owned())]));
        usage
    };
    let check = |full: Vec<Usage>, golden: &str| {
        let text = full.iter().map(|usage| serde_json::to_string(usage).unwrap() + "\n").collect::<String>();
        assert_eq!(text, golden, "{text}");
        let read: Vec<Usage> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, full);
    };
    check(kinds.map(full).into(), include_str!("../../tests/golden/usage.v1.jsonl"));
    // Since then an entry says which instance a task was on; one that does not is read as before.
    let on = Resource::OnInstance { cpu: 10, memory: 64, external: false, on: Some("i-0a".into()) };
    check(vec![full(on.clone())], include_str!("../../tests/golden/usage.v1.on.jsonl"));
    // And what the task used.
    let measured = Some(model::Measured { memory: 130, cpu_millis: 61_500, cpu_peak: 900, over_millis: 600_000 });
    check(vec![Usage { measured, ..full(on) }], include_str!("../../tests/golden/usage.v1.measured.jsonl"));
}

#[test]
fn tasks_and_instances_call_an_instance_by_the_same_name() {
    let machine = || Resource::Instance { instance_type: None };
    let on = |on: Option<&str>| Resource::OnInstance { cpu: 1, memory: 1, external: false, on: on.map(Into::into) };
    for (key, what, name) in [
        ("arn:aws:ec2:us-east-1:000000000000:instance/i-0a@17", machine(), Some("i-0a")),
        ("arn:aws:ecs:us-east-1:000000000000:container-instance/shop/0f", Resource::External, Some("0f")),
        ("arn:aws:ecs:us-east-1:000000000000:task/shop/0f", on(Some("i-0a")), Some("i-0a")),
        ("arn:aws:ecs:us-east-1:000000000000:task/shop/0f", on(None), None),
        ("arn:aws:ecs:us-east-1:000000000000:task/shop/0f", fargate(256, 512, 0), None),
    ] {
        assert_eq!(Usage { key: key.into(), ..usage(0, 1, what) }.instance(), name, "{key}");
    }
}

fn resources() -> impl Strategy<Value = Resource> {
    let task = (1..5_000_u32, 1..9_000_u32, 0..200_u32, any::<bool>(), any::<bool>());
    prop_oneof![
        task.prop_map(|(cpu, memory, storage, arm, spot)| Resource::Fargate { cpu, memory, storage, arm, spot }),
        (1..5_000_u32, 1..9_000_u32).prop_map(|(cpu, memory)| Resource::OnInstance {
            cpu,
            memory,
            external: false,
            on: None
        }),
        prop_oneof![Just(Some("m5.large")), Just(Some("x9.huge")), Just(None)]
            .prop_map(|kind| Resource::Instance { instance_type: kind.map(Into::into) }),
        Just(Resource::External),
    ]
}

proptest! {
    /// Second by second, in the plainest way.
    #[test]
    fn sums_are_those_of_the_single_seconds(
        all in proptest::collection::vec((0..200_000_i64, -1_000..100_000_i64, any::<bool>(), resources()), 1..8),
        mut cuts in proptest::collection::btree_set(0..400_000_i64, 2..7),
    ) {
        cuts.insert(0);
        cuts.insert(400_000);
        let cuts: Vec<i64> = cuts.into_iter().collect();
        let windows: Vec<Window> =
            cuts.windows(2).map(|cut| Window { from: Timestamp(cut[0]), to: Timestamp(cut[1]) }).collect();
        let usages: Vec<Usage> =
            all.into_iter().map(|(from, lasts, over, what)| Usage { over, ..usage(from, from + lasts, what) }).collect();
        let prices = PriceList::default();

        let mut plain: Vec<BTreeMap<String, u128>> = windows.iter().map(|_| BTreeMap::new()).collect();
        for usage in &usages {
            let least = match usage.what {
                Resource::Fargate { .. } | Resource::Instance { .. } if usage.over => 60_000,
                Resource::Fargate { .. }
                | Resource::Instance { .. }
                | Resource::OnInstance { .. }
                | Resource::External => 0,
            };
            let mut second = usage.from.0;
            while second < usage.to.0.max(usage.from.0 + least) {
                let at = windows.iter().position(|window| window.from.0 <= second && second < window.to.0).unwrap();
                for charge in usage.charges() {
                    let price = prices.find("us-east-1", &charge.usage_type).map_or(0, |price| price.0);
                    *plain[at].entry(charge.usage_type.to_string()).or_default() +=
                        u128::from(charge.amount) * u128::from(price);
                }
                second += 1_000;
            }
        }

        let mut sums = Sums::new(&windows, &prices);
        usages.iter().for_each(|usage| sums.add(usage, |charge| Some(charge.usage_type.to_string())));
        let sums = sums.finish();
        for (sum, plain) in sums.iter().zip(&plain) {
            let got: BTreeMap<String, u128> = sum.iter().map(|(name, total)| (name.clone(), total.cost.0)).collect();
            prop_assert_eq!(&got, plain);
        }
        // Whole, ungrouped: the same.
        let whole = [Window { from: Timestamp(0), to: Timestamp(400_000) }];
        let mut one = Sums::new(&whole, &prices);
        usages.iter().for_each(|usage| one.add(usage, |_| Some(())));
        let one = one.finish().remove(0).remove(&()).unwrap_or_default();
        let mut parts = Total::default();
        sums.iter().flat_map(BTreeMap::values).for_each(|total| parts.add(total));
        prop_assert_eq!(one, parts);
    }
}
