//! The ECS CLI's walkthrough, with our binary under both of its names.

use crate::harness::{Cluster, longshore, until};
use std::fs;

const COMPOSE: &str = r#"
version: "3"
services:
  web:
    image: IMAGE
    stop_grace_period: 2s
    command: sh -c "mkdir -p /tmp/w; echo served > /tmp/w/index.html; echo up; exec httpd -f -p 8000 -h /tmp/w"
    ports: ["9000:8000"]
    logging:
      driver: awslogs
      options:
        awslogs-group: walk
        awslogs-region: us-east-1
        awslogs-stream-prefix: w
"#;

/// The same service in the other two generations of compose files.
const OTHERS: [(&str, &str); 2] = [("v1", V1), ("v2", V2)];
const V1: &str = r#"
web:
  image: IMAGE
  command: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]
  mem_limit: 16m
  log_driver: json-file
"#;
const V2: &str = r#"
version: '2'
services:
  web:
    image: IMAGE
    command: sleep ${NAP:-1000}
    mem_reservation: 16m
    stop_grace_period: 2s
"#;

/// Our binary under the original's name, in a cluster's folder.
pub(crate) struct EcsCli<'a> {
    pub(crate) cluster: &'a Cluster,
    program: String,
}

impl<'a> EcsCli<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let program = cluster.path("ecs-cli");
        std::os::unix::fs::symlink(longshore(), &program).unwrap();
        Self { cluster, program: program.display().to_string() }
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let out = self.cluster.client(&self.program, arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {said}{complaints}\n{}", self.cluster.log());
        said
    }

    /// Runs a command that must fail.
    pub(crate) fn failed(&self, arguments: &[&str]) -> String {
        let out = self.cluster.client(&self.program, arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("level=fatal"), "{said}");
        said
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.cluster.path(name), text.replace("IMAGE", &self.cluster.image)).unwrap();
    }

    /// The rows of a table, each split into its cells. Warnings may stand before it.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let said = self.run(arguments);
        let cells = |line: &str| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
        said.lines().filter(|line| !line.starts_with("time=")).skip(1).map(cells).collect()
    }
}

#[test]
fn from_configure_to_down() {
    let mut cluster = Cluster::start(1);
    let cli = EcsCli::new(&cluster);
    cli.write("docker-compose.yml", COMPOSE);
    cli.run(&["configure", "--cluster", "walk", "--region", "us-east-1", "--default-launch-type", "EC2"]);
    let up = ["up", "--capability-iam", "--size", "2", "--instance-type", "t3.small", "--azs", "us-east-1a,us-east-1b"];
    let said = cli.run(&[&up[..], &["--keypair", "mine", "--tags", "team=sea", "--imdsv2"]].concat());
    for word in ["Created cluster", "VPC created: vpc-", "Subnet created: subnet-", "Cluster creation succeeded."] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(cli.failed(&up).contains("--force"), "what is there is not doubled");
    for wrong in [["--azs", "us-east-1z"], ["--instance-type", "t9.none"], ["--tags", "aws:x=y"]] {
        cli.failed(&[&["up", "--capability-iam", "--cluster", "never"], &wrong[..]].concat());
        let said = cli.failed(&["ps", "--cluster", "never"]);
        assert!(said.contains("not active"), "{wrong:?}: a refused `up` makes nothing: {said}");
    }
    web_is_run(&cli);
    other_versions_are_run(&cli);
    a_job_ends_with_its_code(&cli);
    missing_attributes_are_named(&cli);
    instances_are_scaled(&cli);
    cli.run(&["down", "--force"]);
    assert!(cli.failed(&["ps"]).contains("Error executing 'ps': Cluster 'walk' is not active"));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

fn web_is_run(cli: &EcsCli<'_>) {
    let compose = |verb: &[&str]| cli.run(&[&["compose", "--project-name", "site"], verb].concat());
    let said = compose(&["up", "--create-log-groups"]);
    assert!(said.contains("msg=\"Using ECS task definition\" TaskDefinition=\"site:1\""), "{said}");
    assert!(said.contains("Started container..."), "{said}");
    compose(&["scale", "2"]);
    let table = cli.run(&["ps", "--desired-status", "RUNNING"]);
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["Name", "State", "Ports", "TaskDefinition", "Health"]);
    let rows: Vec<_> = lines.collect();
    assert_eq!(rows.len(), 2, "{table}");
    for row in &rows {
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!((cells[1], cells[3], cells[4]), ("RUNNING", "site:1", "UNKNOWN"), "{row}");
        assert!(cells[0].starts_with("walk/") && cells[0].ends_with("/web"), "{row}");
        let address = cells[2].strip_suffix("->8000/tcp").unwrap();
        let answer =
            cli.cluster.client("curl", &["-fsS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", address]);
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "served\n", "{row}");
    }
    logs_are_shown(cli, rows[0].split('/').nth(1).unwrap());
    let again = compose(&["start"]);
    assert!(again.contains("TaskDefinition=\"site:1\""), "the same file makes no second revision: {again}");
    let tagged = compose(&["create", "--tags", "a=b"]);
    assert!(tagged.contains("TaskDefinition=\"site:2\""), "tags are part of a revision: {tagged}");
    compose(&["down"]);
    assert_eq!(cli.run(&["ps", "--desired-status", "RUNNING"]), "");
}

fn logs_are_shown(cli: &EcsCli<'_>, task: &str) {
    let logs = until("log lines", || Some(cli.run(&["logs", "--task-id", task])).filter(|l| l.contains("up")));
    assert_eq!(logs, "up\n\n");
    for (flags, wanted) in [
        (&["--since", "5"][..], "up\n\n"),
        (&["--filter-pattern", "nothing like it"], ""),
        (&["--start-time", "2020-01-01T00:00:00Z", "--container-name", "web"], "up\n\n"),
        (&["--end-time", "2020-01-01T00:00:00Z"], ""),
        (&["--task-def", "site"], "up\n\n"),
    ] {
        assert_eq!(cli.run(&[&["logs", "--task-id", task], flags].concat()), wanted, "{flags:?}");
    }
    assert!(cli.failed(&["logs", "--task-id", "0123456789abcdef0123456789abcdef"]).contains("Could Not Find Task"));
    // What is followed goes on by itself, so it is read until its line comes, and ended.
    let follow = [cli.program.as_str(), "logs", "--task-id", task, "--follow", "--timestamps"];
    let script = format!("timeout 60 {} | head -1", follow.join(" "));
    let line = cli.cluster.client("sh", &["-c", &script]);
    let line = String::from_utf8_lossy(&line.stdout).into_owned();
    let (time, message) = line.trim_end().split_once('\t').unwrap_or_else(|| panic!("{line:?}"));
    assert_eq!((time.len(), &time[19..], message), (20, "Z", "up"), "{line}");
}

fn other_versions_are_run(cli: &EcsCli<'_>) {
    for (version, text) in OTHERS {
        let file = format!("{version}.yml");
        cli.write(&file, text);
        let compose = ["compose", "--file", &file, "-p", version];
        cli.run(&[&compose[..], &["up"]].concat());
        let rows = cli.rows(&[&compose[..], &["ps", "--desired-status", "RUNNING"]].concat());
        assert_eq!(rows.len(), 1, "{version}: {rows:?}");
        assert_eq!((rows[0][1].as_str(), rows[0][2].clone()), ("RUNNING", format!("{version}:1")), "{rows:?}");
        cli.run(&[&compose[..], &["stop"]].concat());
    }
}

fn a_job_ends_with_its_code(cli: &EcsCli<'_>) {
    let run = ["compose", "-f", "v2.yml", "-p", "v2", "run", "web", "sh -c 'exit 7'"];
    // AWS: a task that ends is no failure of the command that ran it.
    cli.run(&run);
    let ended = until("the job's exit code", || {
        let rows = cli.rows(&["compose", "-f", "v2.yml", "-p", "v2", "ps", "--desired-status", "STOPPED"]);
        rows.into_iter().find(|row| row[1].contains("ExitCode: 7"))
    });
    assert!(ended[1].starts_with("STOPPED ExitCode: 7"), "{ended:?}");
    // Under our own name it is one, and the code is said.
    let out = cli.cluster.client(longshore(), &run);
    let said = String::from_utf8_lossy(&out.stderr);
    // The job may have been seen running before it ended; then there was nothing to complain of.
    assert!(out.status.success() || said.contains("exit code 7"), "{said}");
}

fn missing_attributes_are_named(cli: &EcsCli<'_>) {
    let environment = ["list-container-instances", "--cluster", "walk"];
    let instances = cli.cluster.ecs(environment[0], &environment[1..]);
    let arns: Vec<_> =
        instances["containerInstanceArns"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let ids: Vec<_> = arns.iter().map(|arn| arn.rsplit('/').next().unwrap()).collect();
    let check = |definition: &str| {
        cli.rows(&["check-attributes", "--task-def", definition, "--container-instances", &ids.join(",")])
    };
    for row in check("site") {
        assert!(ids.contains(&row[0].as_str()) && row[1] == "None", "{row:?}");
    }
    let other = if std::env::consts::ARCH == "x86_64" { "ARM64" } else { "X86_64" };
    let container = serde_json::json!([{"name": "main", "image": cli.cluster.image, "memory": 16}]).to_string();
    let platform = format!("cpuArchitecture={other}");
    let register = ["--family", "odd", "--container-definitions", &container, "--runtime-platform", &platform];
    cli.cluster.ecs("register-task-definition", &register);
    for row in check("odd") {
        assert_eq!(row[1], "ecs.cpu-architecture", "{row:?}");
    }
    assert!(
        cli.failed(&["check-attributes", "--task-def", "odd", "--container-instances", "nobody"]).contains("nobody")
    );
}

fn instances_are_scaled(cli: &EcsCli<'_>) {
    let scale = |size: &str| cli.run(&["scale", "--capability-iam", "--size", size]);
    let count = || {
        let ask = ["--cluster", "walk", "--filter", "agentConnected == true"];
        cli.cluster.ecs("list-container-instances", &ask)["containerInstanceArns"].as_array().unwrap().len()
    };
    scale("3");
    assert_eq!(count(), 3);
    let ask = ["--cluster", "walk", "--include", "TAGS", "--container-instances"];
    let all = cli.cluster.ecs("list-container-instances", &["--cluster", "walk"]);
    let arns = all["containerInstanceArns"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap());
    let described = cli.cluster.ecs("describe-container-instances", &ask.into_iter().chain(arns).collect::<Vec<_>>());
    for instance in described["containerInstances"].as_array().unwrap() {
        assert_eq!(instance["tags"], serde_json::json!([{"key": "team", "value": "sea"}]), "{instance:#}");
    }
    // Those that were added are as those that `up` made.
    let filter = serde_json::json!({"Filters": [{"Name": "tag:team", "Values": ["sea"]}]});
    let machines = cli.cluster.api().ec2("DescribeInstances", &filter)["Reservations"].clone();
    let machines = machines.as_array().unwrap().iter().flat_map(|of| of["Instances"].as_array().unwrap());
    let tokens: Vec<_> = machines.map(|machine| machine["MetadataOptions"]["HttpTokens"].clone()).collect();
    assert_eq!(tokens, ["required", "required", "required"]);
    scale("1");
    assert_eq!(until("one instance", || Some(count()).filter(|n| *n == 1)), 1);
    scale("1");
    assert_eq!(count(), 1);
}
