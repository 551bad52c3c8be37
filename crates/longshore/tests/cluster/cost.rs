//! What things would have cost elsewhere, as people and scripts are told it.

use crate::harness::{Cluster, longshore, python, until};
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
