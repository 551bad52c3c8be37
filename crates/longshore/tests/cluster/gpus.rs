//! GPUs: a machine says which device nodes are whose, and each is one container's, whatever dies meanwhile.
//!
//! Any device node will do: what matters is who may open it. These two are none that a container may open anyway.

use crate::{
    api::Api,
    given::Given,
    harness::{Cluster, until},
};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

const POOL: &str = "gpus";
/// The devices behind `GPU-0` and `GPU-1`: the kernel's log, which a container may write to if it may open it, and what makes loop devices.
const NODES: [(&str, u32, u32); 2] = [("gpu0", 1, 11), ("gpu1", 10, 237)];

/// Tells which node it has, whether that can be opened, and what becomes of one it makes itself.
fn script(dir: &Path) -> String {
    let mut script = "echo visible=$NVIDIA_VISIBLE_DEVICES\n".to_owned();
    for (name, major, minor) in NODES {
        let node = dir.join(name).display().to_string();
        script += &format!(
            "[ -c {node} ] && echo has={name}
            [ -c {node} ] && (: > {node}) 2> /dev/null && echo opens={name}
            mknod /tmp/{name} c {major} {minor} && (: > /tmp/{name}) 2> /dev/null && echo reaches={name}\n"
        );
    }
    script + "echo done=yes; trap 'exit 0' TERM; while :; do sleep 0.1; done"
}

/// What a task's container has said, once it is done.
fn said(api: &Api, task: &str) -> Vec<String> {
    let stream = format!("gpu/main/{}", task.rsplit('/').next().unwrap());
    until("what it said", || {
        let asked = json!({"logGroupName": "gpus", "logStreamName": stream, "startFromHead": true});
        let events = api.try_logs("GetLogEvents", &asked).ok()?["events"].clone();
        let lines = events.as_array()?.iter().map(|event| event["message"].as_str().unwrap().to_owned());
        let lines: Vec<String> = lines.collect();
        lines.iter().any(|line| line == "done=yes").then_some(lines)
    })
}

fn started(api: &Api, family: &str) -> Value {
    api.ecs("RunTask", &json!({"cluster": POOL, "taskDefinition": family}))
}

fn described(api: &Api, task: &str) -> Value {
    api.ecs("DescribeTasks", &json!({"cluster": POOL, "tasks": [task]}))["tasks"][0].clone()
}

fn reach(cluster: &Cluster, api: &Api, task: &str, status: &str) -> Value {
    until(&format!("{task} {status}"), || {
        let now = described(api, task);
        let ended = now["lastStatus"] == "STOPPED" && status != "STOPPED";
        assert!(!ended, "the task stopped instead: {now:#}\n{}", cluster.log());
        (now["lastStatus"] == status).then_some(now)
    })
}

fn left(machine: &Given<'_>, api: &Api) -> BTreeSet<String> {
    let instance = machine.describe(api).unwrap();
    let resources = instance["remainingResources"].as_array().unwrap();
    let gpu = resources.iter().find(|resource| resource["name"] == "GPU").map(|r| r["stringSetValue"].clone());
    let ids = gpu.iter().filter_map(Value::as_array).flatten();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_gpu_is_one_containers_whatever_dies() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    api.ecs("CreateCluster", &json!({"clusterName": POOL}));
    let dir = cluster.path("given");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, major, minor) in NODES {
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, dir.join(name), FileType::CharacterDevice, mode, makedev(major, minor)).unwrap();
    }
    let gpu = |at: usize| format!("GPU-{at}={}", dir.join(NODES[at].0).display());
    let (first, second, registry) = (gpu(0), gpu(1), cluster.registry());
    let more = ["--gpu", &first, "--gpu", &second, "--gpu", "GPU-gone=/dev/gone", "--insecure-registry", &registry];
    let container = json!({
        "name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 5, "command": ["sh", "-c", script(&dir)],
        "resourceRequirements": [{"type": "GPU", "value": "1"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "gpus", "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "gpu", "awslogs-create-group": "true"}},
    });
    api.ecs("RegisterTaskDefinition", &json!({"family": "one", "containerDefinitions": [container]}));
    let mut plain = container;
    plain.as_object_mut().unwrap().remove("resourceRequirements");
    api.ecs("RegisterTaskDefinition", &json!({"family": "none", "containerDefinitions": [plain]}));

    let mut machine = Given::start_in(&cluster, POOL, &more);
    assert_eq!(
        left(&machine, &api),
        ["GPU-0", "GPU-1"].map(str::to_owned).into(),
        "one without its device is not offered"
    );
    let arn =
        |answer: &Value| answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
    let tasks = [arn(&started(&api, "one")), arn(&started(&api, "one"))];
    let mut given = Vec::new();
    for task in &tasks {
        let shown = reach(&cluster, &api, task, "RUNNING");
        let id = shown["containers"][0]["gpuIds"][0].as_str().unwrap().to_owned();
        let node = NODES[usize::from(id == "GPU-1")].0;
        let want = [format!("visible={id}"), format!("has={node}"), format!("opens={node}"), format!("reaches={node}")];
        let lines: BTreeSet<String> = said(&api, task).into_iter().filter(|line| line != "done=yes").collect();
        assert_eq!(lines, want.into(), "it has its own and not the other's");
        given.push(id);
    }
    assert_ne!(given[0], given[1]);
    let full = started(&api, "one");
    assert_eq!(full["failures"][0]["reason"], "RESOURCE:GPU", "{full:#}");
    let without = arn(&started(&api, "none"));
    reach(&cluster, &api, &without, "RUNNING");
    let lines = said(&api, &without);
    assert_eq!(lines, ["visible=", "done=yes"], "no GPU without asking for one");

    // Its agent dies, and knows them again.
    machine.kill_agent();
    machine.launch();
    machine.until_connected();
    assert_eq!(left(&machine, &api), BTreeSet::new());
    assert_eq!(started(&api, "one")["failures"][0]["reason"], "RESOURCE:GPU");
    api.ecs("StopTask", &json!({"cluster": POOL, "task": tasks[0]}));
    reach(&cluster, &api, &tasks[0], "STOPPED");
    assert_eq!(left(&machine, &api), [given[0].clone()].into());
    let next = arn(&started(&api, "one"));
    let shown = reach(&cluster, &api, &next, "RUNNING");
    assert_eq!(shown["containers"][0]["gpuIds"], json!([given[0]]));
    for task in [&tasks[1], &without, &next] {
        api.ecs("StopTask", &json!({"cluster": POOL, "task": task}));
        reach(&cluster, &api, task, "STOPPED");
    }
    assert_eq!(left(&machine, &api), ["GPU-0", "GPU-1"].map(str::to_owned).into());
    machine.let_go();
}
