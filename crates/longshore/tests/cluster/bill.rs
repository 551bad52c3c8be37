//! The bill under kill -9: whenever the server dies, usage is that of the tasks' own records, no second doubled or lost; and an
//! interruption that it had decided on is carried out by the next one.
//!
//! The seed is printed; `LONGSHORE_BILL_SEED` sets it.

use crate::{
    api::Api,
    harness::{Cluster, until},
    storm::{Chance, setting},
};
use effects::Effects;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Deaths of the server, each at a moment of its own while tasks start and stop.
const DEATHS: u64 = 12;
/// Within this after it is told to work: long enough for some to begin, run and end.
const LATEST_MS: u64 = 3_000;
/// 1,024ths of a vCPU and MiB of each task.
const CPU: u128 = 256;
const MEMORY: u128 = 512;
/// Picodollars an hour, of the price list that is written at the first start.
const PRICES: [(&str, u128); 2] = [("Fargate-vCPU-Hours:perCPU", 40_480_000_000), ("Fargate-GB-Hours", 4_445_000_000)];
const ROLE: &str = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole";

/// Cost and quantity by usage type, each to ten digits.
type Bill = BTreeMap<String, (i128, i128)>;

fn start() -> Cluster {
    Cluster::start_with(1, |_: &Path| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())])
}

/// For both ways one that waits and one that ends by itself: `EC2-waits` and so on.
fn define(cluster: &Cluster, api: &Api) {
    for (name, script) in [("waits", "trap 'exit 3' TERM; while :; do sleep 0.1; done"), ("ends", "sleep 1; exit 4")] {
        // An instance of this type has few interfaces of its own to give.
        for (launch, mode) in [("EC2", "bridge"), ("FARGATE", "awsvpc")] {
            let container =
                json!({"name": "main", "image": cluster.image, "command": ["sh", "-c", script], "stopTimeout": 2});
            let definition = json!({
                "family": format!("{launch}-{name}"), "networkMode": mode, "cpu": CPU.to_string(),
                "memory": MEMORY.to_string(), "executionRoleArn": ROLE, "requiresCompatibilities": [launch],
                "containerDefinitions": [container],
            });
            api.ecs("RegisterTaskDefinition", &definition);
        }
    }
}

/// How one of them is asked for.
fn asked(launch: &str, name: &str, network: &Value) -> Value {
    let mut asked = json!({"taskDefinition": format!("{launch}-{name}"), "launchType": launch});
    if launch == "FARGATE" {
        asked["networkConfiguration"] = network.clone();
    }
    asked
}

fn network(api: &Api) -> Value {
    let subnets = api.ec2("DescribeSubnets", &json!({}))["Subnets"].clone();
    let subnets: Vec<_> = subnets.as_array().unwrap().iter().map(|subnet| subnet["SubnetId"].clone()).collect();
    json!({"awsvpcConfiguration": {"subnets": subnets}})
}

/// Starts one, however often it has to be asked for; nothing is asked for twice under one name.
fn run(api: &Api, chance: &Chance, more: &Value) -> String {
    until("room for a task", || {
        let mut asked = json!({"clientToken": chance.word()});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.ecs("RunTask", &asked)["tasks"][0]["taskArn"].as_str().map(str::to_owned)
    })
}

fn describe(api: &Api, tasks: &[String]) -> Vec<Value> {
    let all = tasks.chunks(100).flat_map(|some| {
        let answer = api.ecs("DescribeTasks", &json!({"tasks": some}));
        assert_eq!(answer["failures"], json!([]));
        answer["tasks"].as_array().unwrap().clone()
    });
    all.collect()
}

/// What the last two days and the next came to, and in how many parts that was told: two at the end of a month.
fn bill(api: &Api) -> (Bill, usize) {
    let day = |ahead: i64| {
        let at = Effects::real().now().plus_millis(ahead * 86_400_000);
        let text = wire::Timestamp::from_millis(at.0).format(wire::schema::TimestampFormat::Iso8601);
        text.unwrap()[..10].to_owned()
    };
    let asked = json!({
        "TimePeriod": {"Start": day(-1), "End": day(2)}, "Granularity": "MONTHLY",
        "Metrics": ["UnblendedCost", "UsageQuantity"], "GroupBy": [{"Type": "DIMENSION", "Key": "USAGE_TYPE"}],
    });
    let answer = api.costs("GetCostAndUsage", &asked);
    let parts = answer["ResultsByTime"].as_array().unwrap();
    let mut bill = Bill::new();
    for group in parts.iter().flat_map(|part| part["Groups"].as_array().unwrap()) {
        let metric = |name: &str| ten_digits(group["Metrics"][name]["Amount"].as_str().unwrap());
        let kind = group["Keys"][0].as_str().unwrap();
        let sum = bill.entry(kind.strip_prefix("USE1-").unwrap_or(kind).to_owned()).or_default();
        *sum = (sum.0 + metric("UnblendedCost"), sum.1 + metric("UsageQuantity"));
    }
    (bill, parts.len())
}

/// As a count of what the last of ten digits behind the point stands for.
fn ten_digits(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap();
    assert_eq!(fraction.len(), 10, "{text}");
    format!("{whole}{fraction}").parse().unwrap()
}

/// The quantities of the tasks.
fn quantities(bill: &Bill) -> BTreeMap<&str, i128> {
    let of_tasks = bill.iter().filter(|(kind, _)| !kind.starts_with("BoxUsage"));
    of_tasks.map(|(kind, (_, quantity))| (kind.as_str(), *quantity)).collect()
}

/// Whole seconds, as they are billed, of a task by its own record.
fn seconds(task: &Value) -> Option<u128> {
    let millis = |name: &str| Some((task[name].as_f64()? * 1000.0).round() as i64);
    let fargate = task["launchType"] == "FARGATE";
    let from = if fargate { millis("pullStartedAt").or_else(|| millis("startedAt")) } else { millis("createdAt") }?;
    let lasted = u128::try_from(millis("stoppedAt").expect("it has stopped") - from).unwrap().div_ceil(1_000);
    Some(if fargate { lasted.max(60) } else { lasted })
}

/// What is to be on the bill of the tasks.
fn reckoned(tasks: &[Value]) -> Bill {
    let mut sums: BTreeMap<&str, u128> = BTreeMap::new();
    for task in tasks {
        let kinds = match task["launchType"].as_str().unwrap() {
            "FARGATE" => ["Fargate-vCPU-Hours:perCPU", "Fargate-GB-Hours"],
            "EC2" => ["ECS-EC2-vCPU-Hours", "ECS-EC2-GB-Hours"],
            other => panic!("{other}"),
        };
        let Some(seconds) = seconds(task) else { continue };
        for (kind, amount) in kinds.into_iter().zip([CPU, MEMORY]) {
            *sums.entry(kind).or_default() += amount * seconds;
        }
    }
    let row = |(kind, quantity): (&str, u128)| {
        let price = PRICES.iter().find(|(of, _)| *of == kind).map_or(0, |(_, price)| *price);
        let cost = telemetry::usage::Price(u64::try_from(price).unwrap()).of(quantity).to_string();
        let quantity = telemetry::usage::quantity_text(quantity);
        (kind.to_owned(), (ten_digits(&cost), ten_digits(&quantity)))
    };
    sums.into_iter().map(row).collect()
}

/// What clients do between two deaths: they start some, and end some that were started.
fn work(api: &Api, chance: &Chance, network: &Value, live: &mut Vec<String>) -> Vec<String> {
    let mut begun = Vec::new();
    for _ in 0..2 {
        let name = ["waits", "ends"][usize::try_from(chance.below(2)).unwrap()];
        let launch = ["EC2", "FARGATE"][usize::try_from(chance.below(2)).unwrap()];
        let task = run(api, chance, &asked(launch, name, network));
        live.push(task.clone());
        begun.push(task);
        while live.len() > 4 {
            let ended = live.remove(usize::try_from(chance.below(live.len() as u64)).unwrap());
            api.ecs("StopTask", &json!({"task": ended}));
        }
    }
    begun
}

#[test]
#[allow(clippy::disallowed_methods)] // Real processes take real time, and death comes whenever it comes.
fn whenever_the_server_dies_the_bill_is_that_of_the_tasks_records() {
    let seed = setting("LONGSHORE_BILL_SEED", Effects::real().random());
    eprintln!("LONGSHORE_BILL_SEED={seed}");
    let mut cluster = start();
    let api = cluster.api();
    define(&cluster, &api);
    let network = network(&api);
    let (chance, death) = (Chance::new(seed), Chance::new(seed.wrapping_add(1)));
    // Two that live through all of it: longer than the minute that Fargate bills at least.
    let lasting: Vec<_> = ["EC2", "FARGATE"].map(|launch| run(&api, &chance, &asked(launch, "waits", &network))).into();
    let (mut all, mut live, mut before) = (lasting.clone(), Vec::new(), Bill::new());
    for _ in 0..DEATHS {
        let begun = std::thread::scope(|scope| {
            let working = scope.spawn(|| work(&api, &chance, &network, &mut live));
            std::thread::sleep(Duration::from_millis(death.below(LATEST_MS)));
            cluster.kill_server();
            cluster.launch_server();
            working.join().unwrap()
        });
        all.extend(begun);
        // Nothing that was on it is off it again.
        let (now, _) = bill(&api);
        let (was, is) = (quantities(&before), quantities(&now));
        for (kind, quantity) in was {
            assert!(is.get(kind).is_some_and(|now| *now >= quantity), "seed {seed}: {before:?} became {now:?}");
        }
        before = now;
    }
    let over_a_minute = || {
        let started = describe(&api, &lasting)[1]["startedAt"].as_f64()?;
        (Effects::real().now().0 as f64 / 1000.0 - started > 65.0).then_some(())
    };
    until("more than a minute", over_a_minute);
    for task in all.iter().filter(|task| cluster.task(task)["desiredStatus"] == "RUNNING") {
        api.ecs("StopTask", &json!({"task": task}));
    }
    for task in &all {
        cluster.wait(task, "STOPPED");
    }
    let tasks = describe(&api, &all);
    assert_eq!(tasks.len(), all.len());
    let want = reckoned(&tasks);
    assert!(want.len() == 4 && tasks.iter().filter_map(seconds).any(|seconds| seconds > 60), "{want:?}");
    let check = |when: &str| {
        let (mut got, parts) = bill(&api);
        got.retain(|kind, _| !kind.starts_with("BoxUsage"));
        // Each part is rounded for itself.
        let near = |a: i128, b: i128| usize::try_from((a - b).abs()).unwrap() < parts;
        let same = |(kind, (cost, quantity)): (&String, &(i128, i128))| {
            got.get(kind).is_some_and(|got| near(got.0, *cost) && near(got.1, *quantity))
        };
        assert!(got.len() == want.len() && want.iter().all(same), "{when}, seed {seed}: {got:?}, {want:?}\n{tasks:#?}");
    };
    check("at the end");
    // Once more, when nothing is told but by the ledger's files.
    cluster.kill_server();
    cluster.start_server();
    check("after one more death");
    let shown = cluster.cli(&["cost", "--by", "usage-type", "--format", "csv"]);
    for kind in want.keys() {
        assert!(shown.contains(kind.as_str()), "{shown}");
    }
    assert!(cluster.stop_server());
    until("no trace", || cluster.traces().is_empty().then_some(()));
}

/// The interruption is in the answer's commit; whoever had decided on it is killed before the task has ended.
#[test]
fn an_interruption_outlives_the_server_that_decided_on_it() {
    let mut cluster = start();
    let api = cluster.api();
    let providers = json!({
        "cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"], "defaultCapacityProviderStrategy": [],
    });
    api.ecs("PutClusterCapacityProviders", &providers);
    let deaf = json!([{"name": "main", "image": cluster.image, "stopTimeout": 4,
                       "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}]);
    for (family, memory) in [("small", "2048"), ("large", "3072")] {
        let definition = json!({
            "family": family, "networkMode": "awsvpc", "cpu": "1024", "memory": memory, "executionRoleArn": ROLE,
            "requiresCompatibilities": ["FARGATE"], "containerDefinitions": deaf,
        });
        api.ecs("RegisterTaskDefinition", &definition);
    }
    let (network, chance) = (network(&api), Chance::new(1));
    let spot = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 1}]);
    let more = json!({"taskDefinition": "small", "capacityProviderStrategy": spot, "networkConfiguration": network});
    let victim = run(&api, &chance, &more);
    cluster.wait(&victim, "RUNNING");
    let more = json!({"taskDefinition": "large", "launchType": "FARGATE", "networkConfiguration": network});
    let answer = api.ecs("RunTask", &more);
    assert_eq!(answer["tasks"], json!([]), "there is no room for it yet: {answer:#}");
    cluster.kill_server();
    cluster.start_server();
    let told = cluster.task(&victim);
    assert_eq!(
        (&told["desiredStatus"], &told["stopCode"]),
        (&json!("STOPPED"), &json!("SpotInterruption")),
        "{told:#}"
    );
    let stopped = cluster.wait(&victim, "STOPPED");
    assert_eq!(stopped["stoppedReason"], "Your Spot Task was interrupted.");
    assert_eq!(stopped["containers"][0]["exitCode"], 137, "{stopped:#}");
    // The room is the other's, and nobody else's of Spot.
    let spot_again = api.ecs(
        "RunTask",
        &json!({"taskDefinition": "small", "capacityProviderStrategy": spot, "networkConfiguration": network}),
    );
    assert_eq!(spot_again["tasks"], json!([]), "{spot_again:#}");
    let large = run(&api, &chance, &more);
    cluster.wait(&large, "RUNNING");
    let (bill, parts) = bill(&api);
    // A minute at least of one vCPU.
    let quantity = telemetry::usage::quantity_text(1024 * seconds(&stopped).unwrap());
    let billed = quantities(&bill)["SpotUsage-Fargate-vCPU-Hours:perCPU"];
    let off = (billed - ten_digits(&quantity)).abs();
    assert!(usize::try_from(off).unwrap() < parts, "{quantity}: {bill:?}");
}
