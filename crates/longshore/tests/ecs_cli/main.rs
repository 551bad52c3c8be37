//! The bytes of the ECS CLI's commands: our binary under the name `ecs-cli` against an endpoint that records what it is asked.
//!
//! `vectors/` holds compose projects and what the original sent for them and printed. What it sent is compared after leaving
//! out what is empty, since the original sends every member and AWS takes empty for absent. Of version 2's definition the
//! record ends within the placement constraints; what was recorded is compared.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // All of it is tests, and the process is told its environment.

mod compose_files;
mod compose_service;
mod own;
mod recorder;
mod vpc;

use recorder::Recorder;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A home, a folder to be in, and an endpoint.
struct Desk {
    dir: tempfile::TempDir,
    endpoint: Recorder,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::TempDir::with_prefix("longshore-ecs-cli-").unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_longshore"), dir.path().join("ecs-cli")).unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir, endpoint: Recorder::start() }
    }

    /// Under our own name, with answers of the test's own.
    fn playing(script: recorder::Script) -> Self {
        Self { endpoint: Recorder::playing(script), ..Self::new() }
    }

    fn with_vector(name: &str) -> Self {
        let desk = Self::new();
        for entry in fs::read_dir(vectors(name)).unwrap().flatten() {
            fs::copy(entry.path(), desk.file(entry.file_name().to_str().unwrap())).unwrap();
        }
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command under our own name.
    fn own(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.args(arguments).env_clear().env("HOME", self.dir.path()).env("LONGSHORE_ENDPOINT", &self.endpoint.url);
        command.envs([("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("ECS_CLUSTER", "demo")]);
        command.current_dir(self.dir.path().join("work")).output().unwrap()
    }

    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(self.dir.path().join("ecs-cli"));
        command.args(["--endpoint", &self.endpoint.url]).args(arguments).env_clear();
        command.env("HOME", self.dir.path()).envs([("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.envs(environment.iter().copied()).current_dir(self.dir.path().join("work")).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments)
    }

    /// Runs a command that must succeed; answers what it said, without times.
    fn said(&self, arguments: &[&str]) -> Vec<String> {
        let out = self.run(arguments);
        assert_eq!(out.status.code(), Some(0), "{arguments:?}: {}{}", text(&out.stdout), text(&out.stderr));
        lines(&out)
    }

    /// Runs a command that must fail; answers what it said, without times.
    fn failed(&self, arguments: &[&str]) -> Vec<String> {
        let out = self.run(arguments);
        assert_eq!(out.status.code(), Some(1), "{arguments:?}: {}{}", text(&out.stdout), text(&out.stderr));
        assert_eq!(text(&out.stderr), "", "all that the original says is on standard output");
        lines(&out)
    }
}

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ecs_cli/vectors").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of standard output; of log lines all but the time.
fn lines(out: &Output) -> Vec<String> {
    let untimed = |line: &str| match line.strip_prefix("time=\"") {
        Some(rest) => rest.split_once("\" ").map_or(line, |(_, rest)| rest).to_owned(),
        None => line.to_owned(),
    };
    text(&out.stdout).lines().map(untimed).collect()
}

/// Without what is as good as absent; lists whose order the original leaves to chance, sorted.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().map(|(key, member)| {
                let mut member = normal(member);
                if let ("environment" | "ulimits", Value::Array(items)) = (key.as_str(), &mut member) {
                    items.sort_by_key(|item| item["name"].to_string());
                }
                (key.clone(), member)
            });
            Value::Object(kept.filter(|(_, member)| !is_empty(member)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn expected(vector: &str, name: &str) -> Value {
    let text = fs::read_to_string(vectors(vector).join(format!("expected-{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn skipped(option: &str, service: &str) -> String {
    format!(
        "level=warning msg=\"Skipping unsupported YAML option for service...\" option name={option} service name={service}"
    )
}

#[test]
fn version_1_is_mapped_as_the_original_maps_it() {
    let desk = Desk::with_vector("compose-v1");
    desk.said(&["configure", "--cluster", "demo", "--region", "us-east-1", "--default-launch-type", "EC2"]);
    let said = desk.said(&["compose", "--project-name", "v1proj", "create"]);
    // What version 1 knows and does nothing with is said, which the original does not.
    let own = skipped("mem_reservation", "web");
    let said: Vec<_> = said.into_iter().filter(|line| *line != own).collect();
    let used = "level=info msg=\"Using ECS task definition\" TaskDefinition=\"v1proj:1\"".to_owned();
    assert_eq!(said, [skipped("networks", "db"), skipped("networks", "web"), used]);
    let sent = desk.endpoint.one("RegisterTaskDefinition");
    assert_eq!(normal(&sent), normal(&expected("compose-v1", "register-task-definition")));
}

#[test]
fn version_2_is_mapped_as_the_original_maps_it() {
    let desk = Desk::with_vector("compose-v2");
    let create =
        ["compose", "-p", "v2", "create", "--create-log-groups", "--launch-type", "EC2", "--region", "us-east-1"];
    let out = desk.run_with(&[("FROM_SHELL", "shellval")], &create);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    let override_of = |option: &str, was, is| {
        format!(
            "level=info msg=\"Using ecs-params value as override (was {was} but is now {is})\" option name={option} service name=web"
        )
    };
    let wanted = [
        skipped("container_name", "web"),
        skipped("depends_on", "web"),
        skipped("expose", "web"),
        skipped("restart", "web"),
        "level=warning msg=\"Environment variable is unresolved. Setting it to a blank value...\" key name=EMPTY"
            .to_owned(),
        "level=warning msg=\"Ignoring the ip address while transforming it to task definition\" container=web \
         portMapping=\"127.0.0.1:9000:82\""
            .to_owned(),
        override_of("CPU", 100, 200),
        override_of("MemoryLimit", 128, 256),
        override_of("MemoryReservation", 64, 32),
        "level=info msg=\"Using ECS task definition\" TaskDefinition=\"v2:1\"".to_owned(),
        "level=info msg=\"Created Log Group g1 in us-east-1\"".to_owned(),
    ];
    assert_eq!(lines(&out), wanted);
    let sent = normal(&desk.endpoint.one("RegisterTaskDefinition"));
    for (key, wanted) in normal(&expected("compose-v2", "register-task-definition")).as_object().unwrap() {
        assert_eq!(sent[key], *wanted, "{key}");
    }
    let volumes: Vec<_> = sent["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(volumes, ["volume-1", "volume-3", "named", "volume-2"]);
    assert_eq!(desk.endpoint.one("CreateLogGroup"), json!({"logGroupName": "g1"}));
}

#[test]
fn version_3_is_mapped_as_the_original_maps_it() {
    let desk = Desk::with_vector("compose-v3");
    let create = ["compose", "-p", "v3proj", "create", "--launch-type", "EC2"];
    let out = desk.run_with(&[("SHELLVAR", "sv")], &create);
    let resources = skipped("deploy", "app").replace(
        "service...\"",
        "service... service-level resources should be configured in the ecs-param.yml file.\"",
    );
    let wanted = [
        skipped("depends_on", "app"),
        skipped("deploy", "app"),
        skipped("networks", "app"),
        resources,
        skipped("restart", "other"),
        "level=info msg=\"Using ECS task definition\" TaskDefinition=\"v3proj:1\"".to_owned(),
    ];
    assert_eq!(lines(&out), wanted);
    let here = desk.file("").canonicalize().unwrap().display().to_string();
    let wanted = expected("compose-v3", "register-task-definition").to_string();
    let wanted: Value = serde_json::from_str(&wanted.replace("/srv/demo/v3", here.trim_end_matches('/'))).unwrap();
    assert_eq!(normal(&desk.endpoint.one("RegisterTaskDefinition")), normal(&wanted));
}

#[test]
fn tasks_are_run_as_the_original_runs_them() {
    let desk = Desk::with_vector("compose-svc");
    let params = fs::read_to_string(desk.file("ecs-params.yml")).unwrap();
    desk.write(
        "ecs-params.yml",
        &params.replace("SUBNET", "subnet-63b266e9619b57271").replace("SG", "sg-f7ab505286ecf7261"),
    );
    desk.said(&["configure", "--cluster", "demo", "--region", "us-east-1", "--default-launch-type", "FARGATE"]);
    let compose = |verb: &[&str]| desk.said(&[&["compose", "--project-name", "fg"], verb].concat());
    let said = compose(&["up", "--create-log-groups"]);
    let container = "container=demo/0000000000000000000000000000000000000001/app";
    let wanted = [
        "level=info msg=\"Using ECS task definition\" TaskDefinition=\"fg:1\"".to_owned(),
        "level=info msg=\"Created Log Group lg in us-east-1\"".to_owned(),
        "level=info msg=\"Auto-enabling ECS Managed Tags\"".to_owned(),
        format!("level=info msg=\"Starting container...\" {container}"),
        format!(
            "level=info msg=\"Describe ECS container status\" {container} desiredStatus=RUNNING lastStatus=PENDING \
             taskDefinition=\"fg:1\""
        ),
        format!(
            "level=info msg=\"Started container...\" {container} desiredStatus=RUNNING lastStatus=RUNNING taskDefinition=\"fg:1\""
        ),
    ];
    assert_eq!(said, wanted);
    let sent = desk.endpoint.one("RegisterTaskDefinition");
    assert_eq!(normal(&sent), normal(&expected("compose-svc", "register-task-definition")));
    let sent = desk.endpoint.one("RunTask");
    assert_eq!(normal(&sent), normal(&expected("compose-svc", "run-task")));
    assert!(sent["placementConstraints"].is_array() && sent["placementStrategy"].is_array(), "{sent}");
    // The same files make no second revision, and other tags do.
    compose(&["create"]);
    assert_eq!(desk.endpoint.all("RegisterTaskDefinition").len(), 1);
    compose(&["run", "--tags", "a=b", "--disable-ecs-managed-tags", "app", "echo 'one word'"]);
    let registered = desk.endpoint.all("RegisterTaskDefinition");
    assert_eq!((registered.len(), &registered[1]["tags"]), (2, &json!([{"key": "a", "value": "b"}])));
    let run = desk.endpoint.all("RunTask").pop().unwrap();
    assert_eq!(run["overrides"]["containerOverrides"], json!([{"name": "app", "command": ["echo", "one word"]}]));
    assert_eq!((&run["tags"], &run["enableECSManagedTags"]), (&registered[1]["tags"], &json!(false)));
    assert!(desk.failed(&["compose", "-p", "fg", "run", "app"])[0].contains("CONTAINER COMMAND"));
    assert!(desk.failed(&["compose", "-p", "fg", "run", "nobody", "x"])[0].contains("no service nobody"));
}

#[test]
fn files_that_cannot_be_used_are_refused_in_the_originals_words() {
    let desk = Desk::new();
    for (file, words) in [
        (
            "version: '2'\nservices: {a: {image: b, healthcheck: {}}}",
            "Unsupported config option for a service: 'healthcheck'",
        ),
        (
            "version: '3'\nservices: {app: {image: b, ports: ['1:1', {target: 1}]}}",
            "services.app.ports.1 must be a string or number",
        ),
        ("version: 3\nservices: {app: {image: b}}", "version must be a string"),
        ("version: '1.0'\nservices: {app: {image: b}}", "Unsupported Docker Compose version found: 1.0"),
    ] {
        desk.write("docker-compose.yml", file);
        let said = desk.failed(&["compose", "create"]);
        let reader = format!("level=error msg=\"Could not parse config for project work : {words}\"");
        let wanted = [
            // Only the reader of versions 1 and 2 says so.
            Some(reader).filter(|_| file.starts_with("version: '2'")),
            Some(format!("level=error msg=\"Unable to open ECS Compose Project\" error={words:?}")),
            Some(format!("level=fatal msg=\"Unable to create and read ECS Compose Project\" error={words:?}")),
        ];
        assert_eq!(said, wanted.into_iter().flatten().collect::<Vec<_>>());
    }
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
    let fargate = "version: '3'\nservices: {app: {image: b}}";
    desk.write("docker-compose.yml", fargate);
    let said = desk.failed(&["compose", "up", "--launch-type", "FARGATE"]);
    assert!(said.last().unwrap().contains("Launch Type FARGATE requires network configuration"), "{said:?}");
    assert!(desk.failed(&["compose", "up", "--launch-type", "fargate"])[0].starts_with("Incorrect Usage"));
}

#[test]
fn configuration_is_kept_as_the_original_keeps_it() {
    let desk = Desk::new();
    let one =
        ["configure", "--cluster", "c1", "--region", "us-east-1", "--config-name", "one", "--cfn-stack-name", "mine"];
    assert_eq!(desk.said(&one), ["level=info msg=\"Saved ECS CLI cluster configuration one.\""]);
    desk.said(&["configure", "--cluster", "c2", "--region", "eu-west-1", "--config-name", "two"]);
    desk.said(&["configure", "profile", "--access-key", "P1", "--secret-key", "s1", "--profile-name", "first"]);
    desk.said(&["configure", "profile", "--access-key", "P2", "--secret-key", "s2", "--profile-name", "second"]);
    for name in ["config", "credentials"] {
        let mode = fs::metadata(desk.home(".ecs").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let asked = |environment: &[(&str, &str)], flags: &[&str]| {
        let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
        let out = desk.run_with(&[&none, environment].concat(), &[&["ps"], flags].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
        let call = desk.endpoint.last();
        (call.body["cluster"].as_str().unwrap().to_owned(), call.key, call.region)
    };
    let is = |got: (String, String, String), wanted: [&str; 3]| assert_eq!([got.0, got.1, got.2], wanted);
    is(asked(&[], &[]), ["c1", "P1", "us-east-1"]);
    is(asked(&[("ECS_CLUSTER", "c9")], &["--region", "sa-east-1"]), ["c9", "P1", "sa-east-1"]);
    is(asked(&[("AWS_REGION", "sa-east-1")], &["--cluster", "c8"]), ["c8", "P1", "us-east-1"]);
    is(asked(&[], &["--cluster-config", "two", "--ecs-profile", "second"]), ["c2", "P2", "eu-west-1"]);
    is(asked(&[("ECS_PROFILE", "second")], &[]), ["c1", "P2", "us-east-1"]);
    fs::create_dir(desk.home(".aws")).unwrap();
    fs::write(desk.home(".aws/credentials"), "[shared]\naws_access_key_id = S1\naws_secret_access_key = s\n").unwrap();
    is(asked(&[("ECS_PROFILE", "second")], &["--aws-profile", "shared"]), ["c1", "S1", "us-east-1"]);
    is(asked(&[("AWS_PROFILE", "shared")], &[]), ["c1", "S1", "us-east-1"]);
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: b}}");
    for arguments in [&["compose", "--cluster", "flag", "ps"][..], &["compose", "ps", "--cluster", "flag"]] {
        assert!(desk.run_with(&[("ECS_CLUSTER", "environment")], arguments).status.success());
        assert_eq!(desk.endpoint.last().body["cluster"], "flag", "{arguments:?}: a flag counts wherever it stands");
    }
    desk.said(&["configure", "default", "--config-name", "two"]);
    desk.said(&["configure", "profile", "default", "--profile-name", "second"]);
    is(asked(&[], &[]), ["c2", "P2", "eu-west-1"]);
    assert!(desk.failed(&["configure", "default", "--config-name", "three"])[0].contains("no cluster configuration"));
    assert!(desk.failed(&["configure", "--cluster", "c"])[0].contains("region"));
}

#[test]
fn the_old_configuration_is_read_and_migrated() {
    let desk = Desk::new();
    fs::create_dir(desk.home(".ecs")).unwrap();
    let old = "[ecs]\ncluster = old\nregion = eu-west-1\naws_access_key_id = LK\naws_secret_access_key = ls\n";
    fs::write(desk.home(".ecs/config"), old).unwrap();
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: b}}");
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let create = |family: &str| {
        let out = desk.run_with(&none, &["compose", "-p", "p", "create"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
        let call = desk.endpoint.last();
        assert_eq!(
            (&call.body["family"], call.key.as_str(), call.region.as_str()),
            (&json!(family), "LK", "eu-west-1")
        );
    };
    create("ecscompose-p");
    assert!(desk.failed(&["configure", "--cluster", "c", "--region", "r"])[0].contains("configure migrate"));
    desk.said(&["configure", "migrate", "--force"]);
    create("p");
    let text = fs::read_to_string(desk.home(".ecs/config")).unwrap();
    assert!(text.contains("cfn-stack-name: amazon-ecs-cli-setup-old") && !text.contains("[ecs]"), "{text}");
    assert!(desk.failed(&["configure", "migrate", "--force"])[0].contains("nothing to migrate"));
}

#[test]
fn bad_usage_and_absent_commands_are_answered_clearly() {
    let desk = Desk::new();
    for (arguments, words) in [
        (&["ps", "--no-such-flag"][..], "Incorrect Usage"),
        (&["no-such-command"], "Incorrect Usage"),
        (&["check-attributes"], "Incorrect Usage"),
        (&["logs", "--task-id", "t", "--follow", "--end-time", "2020-01-01T00:00:00Z"], "Incorrect Usage"),
        (&["push", "image"], "no ECR"),
        (&["local", "up"], "longshore dev"),
        (&["compose", "service", "up", "--timeout", "-1"], "Incorrect Usage"),
        (&["compose", "service", "up", "--target-group-arn", "arn"], "does not honour --target-group-arn yet"),
        (&["compose", "service", "create", "--target-groups", "a=b"], "does not honour --target-groups yet"),
        (&["compose", "service", "create", "--dns-type", "MX", "--enable-service-discovery"], "Incorrect Usage"),
        (&["up"], "Error executing 'up': Please acknowledge"),
        (&["up", "--capability-iam", "--cidr", "0.0.0.0/0"], "--cidr cannot be honoured"),
        (&["up", "--capability-iam", "--launch-type", "FARGATE", "--size", "2"], "--size cannot be used"),
        (&["scale", "--size", "2"], "Please acknowledge"),
    ] {
        let said = desk.failed(arguments).join("\n");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
    assert!(desk.said(&["--version"])[0].starts_with("ecs-cli version 1.21.0"));
    assert!(desk.said(&["license"]).iter().any(|line| line.contains("Apache License")));
    let said = desk.said(&["ps", "--debug", "--cluster", "demo"]);
    assert!(said[0].starts_with("level=debug") && said[0].contains("DescribeClusters"), "{said:?}");
}
