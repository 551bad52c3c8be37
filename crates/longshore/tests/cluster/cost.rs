//! What things would have cost elsewhere, as people and scripts are told it.

use crate::{
    awsvpc::Vpc,
    harness::{Cluster, longshore, python, until},
};
use serde_json::{Value, json};

fn advice(cluster: &Cluster) -> Value {
    let out = cluster.client(longshore(), &["cost", "advise", "--format", "json"]);
    let text = String::from_utf8_lossy(&out.stderr);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn row<'a>(advice: &'a Value, workload: &str) -> Option<&'a Value> {
    advice["rows"].as_array().unwrap().iter().find(|row| row["workload"] == workload)
}

/// Without its point: ten digits are behind it.
fn atoms(amount: &Value) -> u64 {
    amount.as_str().unwrap_or_else(|| panic!("{amount} is no amount")).replace('.', "").parse().unwrap()
}

#[test]
fn advice_tells_of_tasks_and_of_the_instance_that_nobody_used() {
    let mut cluster = Cluster::start_as(2, "t3.medium");
    cluster.define("long", "sleep 1000");
    cluster.define("quick", "true");
    let (long, quick) = (cluster.run("long", 1), cluster.run("quick", 1));
    cluster.wait(&long[0], "RUNNING");
    cluster.wait(&quick[0], "STOPPED");
    let advised = advice(&cluster);
    let (long, quick) = (row(&advised, "default/family/long").unwrap(), row(&advised, "default/family/quick").unwrap());
    for row in [long, quick] {
        assert_eq!(row["launchType"], "EC2", "{advised:#}");
        assert_eq!(row["ec2Instances"], "1 x t3.nano", "16 MiB fit on the smallest: {advised:#}");
        assert!(atoms(&row["onFargate"]) > atoms(&row["onFargateSpot"]), "{advised:#}");
        assert!(row["breakEvenPercent"].is_string() && row["ranPercent"].is_string(), "{advised:#}");
    }
    // A quarter of a core and 512 MiB for a minute, which is the least.
    assert_eq!(quick["onFargate"], "0.0002057083", "{advised:#}");
    let named: Vec<&Value> = advised["idleInstances"].as_array().unwrap().iter().collect();
    assert!(!named.is_empty() && named.iter().all(|idle| idle["type"] == "t3.medium"), "{advised:#}");
    let of_rows: u64 = advised["rows"].as_array().unwrap().iter().map(|row| atoms(&row["usd"])).sum();
    assert!(of_rows <= atoms(&advised["total"]["usd"]) + 10, "the total is asked later: {advised:#}");

    // The same from a stock client, and after the server was killed.
    let today = &cluster.client(
        python().as_str(),
        &[
            "-c",
            "import datetime as d; n = d.datetime.now(d.timezone.utc).date(); \
        print(f'Start={n},End={n + d.timedelta(days=1)}')",
        ],
    );
    let period = String::from_utf8_lossy(&today.stdout).trim().to_owned();
    let ask = |cluster: &Cluster| {
        let group = "Type=TAG,Key=longshore:workload";
        let asked = ["-m", "awscli", "ce", "get-cost-and-usage", "--output", "json", "--granularity", "DAILY"];
        let more = ["--time-period", &period, "--metrics", "longshore:FargateCost", "--group-by", group];
        let out = cluster.client(&python(), &[&asked[..], &more[..]].concat());
        let answer: Value = serde_json::from_slice(&out.stdout).ok()?;
        let groups = answer["ResultsByTime"][0]["Groups"].as_array()?.clone();
        let of_quick =
            groups.into_iter().find(|group| group["Keys"][0] == "longshore:workload$default/family/quick")?;
        Some(of_quick["Metrics"]["longshore:FargateCost"].clone())
    };
    assert_eq!(ask(&cluster), Some(json!({"Amount": "0.0002057083", "Unit": "USD"})));
    cluster.kill_server();
    cluster.start_server();
    assert_eq!(until("the server answers", || ask(&cluster))["Amount"], "0.0002057083");

    let table = cluster.cli(&["cost", "advise", "--cluster", "default"]);
    eprintln!("{table}");
    assert!(
        table.contains("NAME") && table.contains("default/family/long") && table.contains("IDLE INSTANCE"),
        "{table}"
    );
    let csv = cluster.cli(&["cost", "advise", "--format", "csv"]);
    assert!(csv.lines().any(|line| line.starts_with("default/family/quick,EC2,0.")), "{csv}");

    // A preference is a tag, which a stock client can set; one that nobody honours is refused.
    let arn = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let tag = |value: &str| {
        let tag = format!("key=longshore:preference,value={value}");
        let asked = ["-m", "awscli", "ecs", "tag-resource", "--resource-arn", arn, "--tags", &tag];
        cluster.client(&python(), &asked).status.success()
    };
    assert!(tag("COST") && !tag("SPEED"));
    let task = &cluster.ecs("run-task", &["--task-definition", "quick"])["tasks"][0];
    assert_eq!(task["launchType"], "EC2", "instances that are there cost nothing more: {task:#}");
    cluster.wait(task["taskArn"].as_str().unwrap(), "STOPPED");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// MiB that a task of `holder` keeps in memory, in a file that is never on a disk.
const HELD: u64 = 48;

/// A definition that holds so much memory until it is stopped.
fn holder(cluster: &Cluster, family: &str, memory: u32, more: &Value) {
    let script = format!(
        "trap 'exit 0' TERM; busybox head -c {} /dev/zero > /dev/shm/held; while :; do busybox sleep 0.1; done",
        HELD << 20
    );
    let mut definition = json!({"family": family, "containerDefinitions": [{
        "name": "main", "image": cluster.image, "memory": memory, "stopTimeout": 2, "command": ["sh", "-c", script],
    }]});
    let members = definition.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    cluster.api().ecs("RegisterTaskDefinition", &definition);
}

/// What was measured of a family, once its memory was.
fn measured(cluster: &Cluster, family: &str) -> Value {
    until(&format!("what {family} used"), || {
        let size = row(&advice(cluster), &format!("default/family/{family}"))?["size"].clone();
        (size["memoryPeakMib"].as_u64()? >= HELD).then_some(size)
    })
}

#[test]
fn reservations_are_judged_by_what_tasks_really_used() {
    let pool = |_: &std::path::Path| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())];
    let mut cluster = Cluster::start_with(1, pool);
    cluster.define("quick", "true");
    holder(&cluster, "large", 1024, &json!({"cpu": "256"}));
    holder(&cluster, "short", 52, &json!({}));
    let sized =
        json!({"cpu": "1024", "memory": "4096", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]});
    holder(&cluster, "fargate", 4096, &sized);
    let mut tasks: Vec<String> = ["quick", "large", "short"].iter().flat_map(|family| cluster.run(family, 1)).collect();
    let api = cluster.api();
    let vpc = Vpc::new(&api, "10.9");
    let network = vpc.configuration(&[&vpc.group("all")]);
    let asked = json!({"taskDefinition": "fargate", "launchType": "FARGATE", "networkConfiguration": network});
    tasks.push(until("room on Fargate", || {
        Some(api.ecs("RunTask", &asked)["tasks"][0]["taskArn"].as_str()?.to_owned())
    }));
    // What its start costs is much of so small a part of a core, until it has run for a while.
    let large = until("a start that weighs little", || {
        let large = measured(&cluster, "large");
        (large["advice"] != "short-of-cpu").then_some(large)
    });
    let short = measured(&cluster, "short");
    measured(&cluster, "fargate");
    let peak = large["memoryPeakMib"].as_u64().unwrap();
    assert!(peak <= HELD + 8, "neither the page cache nor the reservation is in it: {large:#}");
    assert_eq!((&large["memoryReservedMib"], &large["advice"]), (&json!(1024), &json!("oversized")), "{large:#}");
    assert!(large["cpuAveragePercent"].is_string(), "{large:#}");
    assert_eq!(short["advice"], "short-of-memory", "{short:#}");
    assert_eq!(row(&advice(&cluster), "default/family/quick").unwrap()["size"], json!(null), "it was too quick");

    // Killed, both sides, while they run, and once they have ended: what was measured is in the ledger, and counts once.
    cluster.kill_server();
    cluster.agents().values().for_each(|pid| Cluster::kill(*pid));
    cluster.start_server();
    for task in &tasks[1..] {
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(task, "STOPPED");
    }
    let written = |cluster: &Cluster| {
        let files = std::fs::read_dir(cluster.data().join("usage")).ok()?.flatten();
        let text: Vec<u8> = files.flat_map(|file| std::fs::read(file.path()).unwrap_or_default()).collect();
        (String::from_utf8_lossy(&text).matches("\"measured\"").count() >= tasks.len()).then_some(())
    };
    until("all entries of the ledger, with what was used", || written(&cluster));
    cluster.kill_server();
    cluster.agents().values().for_each(|pid| Cluster::kill(*pid));
    cluster.start_server();
    let after = measured(&cluster, "large");
    assert!((peak..=HELD + 8).contains(&after["memoryPeakMib"].as_u64().unwrap()), "{large:#} became {after:#}");
    assert_eq!((&after["memoryReservedMib"], &after["advice"]), (&json!(1024), &json!("oversized")), "{after:#}");
    let fargate = measured(&cluster, "fargate");
    assert_eq!(fargate["advice"], "oversized", "{fargate:#}");
    assert!(atoms(&fargate["saves"]) >= 1_481_667, "2 GB for a minute at least: {fargate:#}");

    let table = cluster.cli(&["cost", "advise"]);
    eprintln!("{table}");
    assert!(table.contains("→ reserved 1024 MiB, used at most "), "{table}");
    assert!(table.contains(" % of its memory ("), "{table}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
