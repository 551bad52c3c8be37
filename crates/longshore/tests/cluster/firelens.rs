//! FireLens: a log router in a container takes the output of the others, under runc and under gVisor. Debian has no Fluent Bit, so the router is
//! `tests/receivers`: it reads the configuration that is made for Fluent Bit and does what its sections say.

use crate::{
    awsvpc::Vpc,
    fargate::{self, GVISOR},
    given::Given,
    harness::{Cluster, until},
    log_drivers::role,
    receivers::{digest, script},
    secrets::found,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// In every value that must not be found anywhere.
const KEY: &str = "api-key-fLoEs7Qz";
/// Of Python's library, what no program here needs.
const LEFT_OUT: [&str; 8] = [
    "__pycache__",
    "test",
    "idlelib",
    "ensurepip",
    "lib2to3",
    "distutils",
    "pydoc_data",
    "config-3.11-x86_64-linux-gnu",
];

/// A folder with Debian's Python, its libraries, MessagePack and the receivers.
fn python_folder(into: &Path) {
    let lib = into.join("lib");
    fs::create_dir_all(&lib).unwrap();
    copy(Path::new("/usr/lib/python3.11"), &into.join("usr/lib/python3.11"));
    copy(Path::new("/usr/lib/python3/dist-packages/msgpack"), &into.join("usr/lib/python3.11/msgpack"));
    fs::copy("/usr/bin/python3.11", into.join("python")).unwrap();
    fs::copy(script(), into.join("receiver.py")).unwrap();
    let modules = into.join("usr/lib/python3.11/lib-dynload");
    let found = fs::read_dir(&modules).unwrap().map(|entry| entry.unwrap().path());
    let wanted = found.filter(|path| ["_ssl", "_hashlib"].iter().any(|name| path.to_str().unwrap().contains(name)));
    for program in wanted.chain([into.join("python")]) {
        let out = Command::new("ldd").arg(&program).output().unwrap();
        for word in String::from_utf8(out.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
            let name = Path::new(word).file_name().unwrap();
            fs::copy(word, lib.join(name)).unwrap();
        }
    }
}

fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if LEFT_OUT.iter().any(|left| *left == name) {
            continue;
        }
        // Links are followed: some lead out of the folder.
        if path.is_dir() {
            copy(&path, &into.join(&name));
        } else if path.is_file() {
            fs::copy(&path, into.join(&name)).unwrap();
        }
    }
}

struct Bench {
    cluster: Cluster,
    image: String,
    out: PathBuf,
}

fn bench() -> Bench {
    let more = |from: &str| format!("[FILTER]\n    Name record_modifier\n    Match *\n    Record from {from}\n");
    let cluster = Cluster::start_with(1, |dir| {
        fs::create_dir(dir.join("bucket")).unwrap();
        fs::write(dir.join("bucket/more.conf"), more("bucket")).unwrap();
        vec![("LONGSHORE_BUCKETS".to_owned(), format!("config={}", dir.join("bucket").display()))]
    });
    let (folder, out) = (cluster.path("python"), cluster.path("out"));
    python_folder(&folder);
    fs::write(folder.join("more.conf"), more("image")).unwrap();
    fs::create_dir(&out).unwrap();
    let image = cluster.image_with(&folder);
    Bench { cluster, image, out }
}

impl Bench {
    fn router(&self, options: &Value) -> Value {
        json!({
            "name": "router", "image": self.image, "memory": 128, "essential": true, "stopTimeout": 5,
            "entryPoint": ["/more/lib/ld-linux-x86-64.so.2", "--library-path", "/more/lib", "/more/python", "/more/receiver.py"],
            "command": ["router", "/fluent-bit/etc/fluent-bit.conf"],
            "environment": [{"name": "PYTHONHOME", "value": "/more/usr"}],
            "mountPoints": [{"sourceVolume": "out", "containerPath": "/out"}],
            "firelensConfiguration": {"type": "fluentbit", "options": options},
            "healthCheck": {"command": ["CMD-SHELL", "nc 127.0.0.1 24224 </dev/null"], "interval": 5, "retries": 5},
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "routers", "awslogs-create-group": "true", "awslogs-stream-prefix": "r"}},
        })
    }

    /// The same where no folder of the machine's can be had: what is to be told it prints.
    fn router_that_prints(&self) -> Value {
        let mut router = self.router(&json!({}));
        router.as_object_mut().unwrap().remove("mountPoints");
        // The usual role of Fargate's tasks may not make a group.
        router["logConfiguration"]["options"].as_object_mut().unwrap().remove("awslogs-create-group");
        self.cluster.api().logs("CreateLogGroup", &json!({"logGroupName": "routers"}));
        router
    }

    /// What such a router has printed of the container `app`, in order.
    fn printed(&self, task: &str) -> Vec<String> {
        let stream = format!("r/router/{}", task.rsplit('/').next().unwrap());
        let (api, mut lines, mut token) = (self.cluster.api(), Vec::new(), Value::Null);
        loop {
            let mut asked = json!({"logGroupName": "routers", "logStreamName": stream, "startFromHead": true});
            if token.is_string() {
                asked["nextToken"] = token.clone();
            }
            // There is no stream before something was printed.
            let Ok(answer) = api.try_logs("GetLogEvents", &asked) else { return lines };
            for event in answer["events"].as_array().unwrap() {
                let Some((tag, record)) = event["message"].as_str().unwrap().split_once(' ') else { continue };
                if tag.starts_with("app-firelens-") {
                    let record: Value = serde_json::from_str(record).unwrap();
                    lines.push(record["log"].as_str().unwrap().to_owned());
                }
            }
            if answer["nextForwardToken"] == token {
                return lines;
            }
            token = answer["nextForwardToken"].clone();
        }
    }

    fn define(&self, family: &str, mode: &str, containers: &[Value]) {
        let definition = json!({
            "family": family, "networkMode": mode, "executionRoleArn": role(&self.cluster), "containerDefinitions": containers,
            "volumes": [{"name": "out", "host": {"sourcePath": self.out}}],
        });
        self.cluster.api().ecs("RegisterTaskDefinition", &definition);
    }

    fn got(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.out.join(file)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn logs(&self, file: &str) -> Vec<String> {
        self.got(file).iter().map(|event| event["record"]["log"].as_str().unwrap().to_owned()).collect()
    }

    fn wait_for(&self, file: &str, line: &str) {
        let seen = std::panic::catch_unwind(|| {
            until(line, || self.logs(file).iter().any(|log| log.contains(line)).then_some(()));
        });
        assert!(seen.is_ok(), "{line} did not come: {:?}\n{}", self.logs(file), self.cluster.log());
    }

    fn end(mut self) {
        let routers = self.cluster.path("data/instances");
        until("the routers' folders to go", || (!has_folder(&routers, "socket")).then_some(()));
        assert!(self.cluster.stop_server());
        assert_eq!(self.cluster.traces(), Vec::<String>::new());
    }
}

fn has_folder(dir: &Path, name: &str) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        (entry.file_name() == name && entry.path().to_str().unwrap().contains("/routers/"))
            || has_folder(&entry.path(), name)
    })
}

/// It waits for the router to be healthy, since it ends at once.
fn short(image: &str, script: &str, options: &Value) -> Value {
    let mut app = app("app", image, script, options, &json!([]));
    app["dependsOn"] = json!([{"containerName": "router", "condition": "HEALTHY"}]);
    app
}

fn app(name: &str, image: &str, script: &str, options: &Value, secrets: &Value) -> Value {
    json!({
        "name": name, "image": image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", script],
        "logConfiguration": {"logDriver": "awsfirelens", "options": options, "secretOptions": secrets},
    })
}

#[test]
fn output_goes_through_the_tasks_router() {
    let bench = bench();
    let cluster = &bench.cluster;
    let secret = cluster.api().secrets("CreateSecret", &json!({"Name": "key", "SecretString": KEY}));
    let secrets = json!([{"name": "apiKey", "valueFrom": secret["ARN"]}]);
    let options = json!({
        "Name": "file", "Path": "/out", "File": "app.jsonl", "exclude-pattern": "^hidden", "log-driver-buffer-limit": "4096",
    });
    let script = "trap 'echo bye; exit 0' TERM; echo \"router at $FLUENT_HOST:$FLUENT_PORT\"; echo hidden; \
                  until nc $FLUENT_HOST $FLUENT_PORT </dev/null 2>/dev/null; do sleep 0.1; done; echo reached; \
                  i=0; while :; do echo \"line $i\"; i=$((i+1)); sleep 0.02; done";
    let other = json!({"Name": "file", "Path": "/out", "File": "other.jsonl"});
    bench.define(
        "routed",
        "bridge",
        &[
            app("app", &cluster.image, script, &options, &secrets),
            app("other", &cluster.image, "echo other; exec sleep 1000", &other, &json!([])),
            bench.router(&json!({"enable-ecs-log-metadata": "true"})),
        ],
    );
    let arn = cluster.run("routed", 1).remove(0);
    cluster.wait(&arn, "RUNNING");
    bench.wait_for("app.jsonl", "line 20");
    bench.wait_for("other.jsonl", "other");
    let id = arn.rsplit('/').next().unwrap();
    let first = &bench.got("app.jsonl")[0];
    assert_eq!(first["tag"], format!("app-firelens-{id}"));
    assert_eq!(first["key"], digest(KEY), "the router has the secret option in its environment");
    let record = &first["record"];
    assert_eq!((&record["ecs_cluster"], &record["ecs_task_definition"]), (&json!("default"), &json!("routed:1")));
    assert_eq!(record["ecs_task_arn"], arn);
    assert!(record["ec2_instance_id"].as_str().unwrap().starts_with("i-"));
    assert!(record["container_name"].as_str().unwrap().contains("app"));
    let line = record["log"].as_str().unwrap();
    assert!(line.starts_with("router at 1") && line.ends_with(":24224"), "{line}");
    bench.wait_for("app.jsonl", "reached");
    assert!(!bench.logs("app.jsonl").contains(&"hidden".to_owned()));
    assert_eq!(bench.got("other.jsonl")[0]["key"], digest(""));
    // The secret is in the router's bundle, in memory, and nowhere else.
    let places = found(cluster);
    let [bundle] = &places[..] else { panic!("{places:#?}") };
    assert!(bundle.starts_with("/run/longshore/") && bundle.ends_with("/config.json"), "{bundle}");
    // An agent that is killed goes on where it was.
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    let seen = bench.logs("app.jsonl").len();
    until("more lines", || (bench.logs("app.jsonl").len() > seen + 50).then_some(()));
    // The router ends last: it has the last word of the others.
    cluster.api().ecs("StopTask", &json!({"task": arn}));
    let task = cluster.wait(&arn, "STOPPED");
    let logs = bench.logs("app.jsonl");
    assert!(logs.contains(&"bye".to_owned()), "{:?}\n{}", logs.last(), cluster.log());
    let mut numbers: Vec<u32> = logs.iter().filter_map(|log| log.strip_prefix("line ")?.parse().ok()).collect();
    let back = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(back <= 1, "what was on its way to one agent came twice, and nothing else: {back}");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..=*numbers.last().unwrap()).collect::<Vec<_>>(), "nothing is lost");
    let code = |name: &str| {
        let containers = task["containers"].as_array().unwrap();
        containers.iter().find(|container| container["name"] == name).unwrap()["exitCode"].clone()
    };
    assert_eq!((code("app"), code("router")), (json!(0), json!(0)), "{task:#}");
    bench.end();
}

#[test]
fn more_configuration_comes_from_the_image_or_a_bucket() {
    let bench = bench();
    for (family, kind, value) in
        [("image", "file", "/more/more.conf"), ("bucket", "s3", "arn:aws:s3:::config/more.conf")]
    {
        let file = format!("{family}.jsonl");
        let options = json!({"Name": "file", "Path": "/out", "File": file});
        let more = json!({"enable-ecs-log-metadata": "false", "config-file-type": kind, "config-file-value": value});
        bench.define(family, "bridge", &[short(&bench.cluster.image, "echo hello", &options), bench.router(&more)]);
        let arn = bench.cluster.run(family, 1).remove(0);
        bench.cluster.wait(&arn, "STOPPED");
        let got = bench.got(&file);
        assert_eq!(got.len(), 1, "{got:?}\n{}", bench.cluster.log());
        assert_eq!(got[0]["record"]["from"], family);
        assert!(got[0]["record"]["ecs_cluster"].is_null());
    }
    bench.end();
}

#[test]
fn a_task_with_an_interface_of_its_own_has_a_router_too() {
    let bench = bench();
    let options = json!({"Name": "file", "Path": "/out", "File": "app.jsonl"});
    let script =
        "echo \"router at $FLUENT_HOST:$FLUENT_PORT\"; nc $FLUENT_HOST $FLUENT_PORT </dev/null && echo reached";
    bench.define("own", "awsvpc", &[short(&bench.cluster.image, script, &options), bench.router(&json!({}))]);
    let api = bench.cluster.api();
    let subnet = api.ec2("DescribeSubnets", &json!({}))["Subnets"][0]["SubnetId"].clone();
    let network = json!({"awsvpcConfiguration": {"subnets": [subnet]}});
    let answer = api.ecs("RunTask", &json!({"taskDefinition": "own", "networkConfiguration": network}));
    let arn = answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    bench.cluster.wait(&arn, "STOPPED");
    let logs = bench.logs("app.jsonl");
    assert_eq!(logs, ["router at 127.0.0.1:24224", "reached"], "{}", bench.cluster.log());
    bench.end();
}

/// Two machines of gVisor's kind: what the router makes as a socket stays in its sandbox, so output comes by its port.
#[test]
fn under_gvisor_output_goes_through_the_tasks_router_on_fargate() {
    let bench = bench();
    let (cluster, api) = (&bench.cluster, bench.cluster.api());
    let mut machine = Given::start(cluster, &[&GVISOR[..], &["--insecure-registry", &cluster.registry()]].concat());
    let script = "trap 'echo bye; exit 0' TERM; echo \"router at $FLUENT_HOST:$FLUENT_PORT\"; \
                  i=0; while :; do echo \"line $i\"; i=$((i+1)); busybox sleep 0.1; done";
    let app = app("app", &cluster.image, script, &json!({"Name": "stdout"}), &json!([]));
    let definition = json!({
        "family": "sandboxed", "networkMode": "awsvpc", "cpu": "512", "memory": "1024", "executionRoleArn": fargate::ROLE,
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": [app, bench.router_that_prints()],
    });
    api.ecs("RegisterTaskDefinition", &definition);
    let vpc = Vpc::new(&api, "10.7");
    let network = vpc.configuration(&[&vpc.group("all")]);
    let asked = json!({"taskDefinition": "sandboxed", "launchType": "FARGATE", "networkConfiguration": network});
    let answer = api.ecs("RunTask", &asked);
    let task = answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
    cluster.wait(&task, "RUNNING");
    assert_eq!(machine.sandboxes().len(), 2);
    until("lines", || bench.printed(&task).contains(&"line 20".to_owned()).then_some(()));
    assert_eq!(bench.printed(&task)[0], "router at 127.0.0.1:24224");
    // An agent that is killed goes on where it was.
    machine.kill_agent();
    machine.launch();
    machine.until_connected();
    let seen = bench.printed(&task).len();
    until("more lines", || (bench.printed(&task).len() > seen + 20).then_some(()));
    api.ecs("StopTask", &json!({"task": task}));
    let stopped = cluster.wait(&task, "STOPPED");
    let codes: Vec<_> = stopped["containers"].as_array().unwrap().iter().map(|one| &one["exitCode"]).collect();
    assert_eq!(codes, [&json!(0), &json!(0)], "{stopped:#}");
    until("its last word", || bench.printed(&task).contains(&"bye".to_owned()).then_some(()));
    let lines = bench.printed(&task);
    let mut numbers: Vec<u32> = lines.iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    let back = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(back <= 1, "what was on its way to one agent came twice, and nothing else: {back}");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..=*numbers.last().unwrap()).collect::<Vec<_>>(), "nothing is lost");
    fargate::nothing_left(&machine, &[task]);
    machine.let_go();
    drop(machine);
    bench.end();
}

#[test]
fn under_gvisor_a_router_has_a_network_of_its_own_or_says_why_not() {
    const POOL: &str = "sandboxed";
    let bench = bench();
    let (cluster, api) = (&bench.cluster, bench.cluster.api());
    api.ecs("CreateCluster", &json!({"clusterName": POOL}));
    let mut machine =
        Given::start_in(cluster, POOL, &[&GVISOR[..], &["--insecure-registry", &cluster.registry()]].concat());
    let app = short(&cluster.image, "echo hello", &json!({"Name": "stdout"}));
    let router = bench.router_that_prints();
    for mode in ["bridge", "host"] {
        bench.define(mode, mode, &[app.clone(), router.clone()]);
        let answer = api.ecs("RunTask", &json!({"cluster": POOL, "taskDefinition": mode}));
        let task = answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
        let asked = json!({"cluster": POOL, "tasks": [task]});
        let stopped = until("its end", || {
            let task = api.ecs("DescribeTasks", &asked)["tasks"][0].clone();
            (task["lastStatus"] == "STOPPED").then_some(task)
        });
        let why = stopped["containers"].to_string();
        if mode == "bridge" {
            until("its line", || (bench.printed(&task) == ["hello"]).then_some(()));
        } else {
            assert!(
                why.contains("ResourceInitializationError") && why.contains("modes awsvpc and bridge"),
                "{stopped:#}"
            );
            assert_eq!(bench.printed(&task), Vec::<String>::new());
        }
    }
    machine.let_go();
    drop(machine);
    bench.end();
}
