//! What the containers of a task have of each other: links, processes, IPC; and what a container reads from and writes to.

use crate::{
    api::Api,
    harness::{Cluster, until},
};
use serde_json::{Value, json};

/// A container whose output is told by [`said`].
pub(crate) fn container(cluster: &Cluster, name: &str, script: &str, more: &Value) -> Value {
    let mut container = json!({
        "name": name, "image": cluster.image, "memory": 32, "stopTimeout": 2, "essential": name == "main",
        "command": ["sh", "-c", script],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "said", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "s", "awslogs-create-group": "true"}},
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// Runs a task of these containers.
pub(crate) fn run(cluster: &Cluster, api: &Api, family: &str, containers: &[Value], more: &Value) -> String {
    let mut definition = json!({"family": family, "containerDefinitions": containers});
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.ecs("RegisterTaskDefinition", &definition);
    cluster.run(family, 1).remove(0)
}

/// The lines of a container, once one of them begins with that.
pub(crate) fn said(cluster: &Cluster, api: &Api, task: &str, container: &str, last: &str) -> Vec<String> {
    let stream = format!("s/{container}/{}", task.rsplit('/').next().unwrap());
    until(&format!("{container} to say {last}\n{}", cluster.log().len()), || {
        let asked = json!({"logGroupName": "said", "logStreamName": stream, "startFromHead": true});
        let events = api.try_logs("GetLogEvents", &asked).ok()?["events"].clone();
        let lines = events.as_array()?.iter().map(|event| event["message"].as_str().unwrap().trim_end().to_owned());
        let lines: Vec<String> = lines.collect();
        lines.iter().any(|line| line.starts_with(last)).then_some(lines)
    })
}

/// What stands behind a name.
pub(crate) fn of<'a>(lines: &'a [String], name: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn a_link_names_a_container_that_has_started() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let serve = format!("while :; do echo hello | nc -l -p 7 > /dev/null; done & {STAYS}");
    let db = container(&cluster, "db", &serve, &json!({"hostname": "store-1"}));
    let script = "while read a n; do echo \"hosts=$a $n\"; case \"$n\" in data*) address=$a;; esac; done < /etc/hosts; \
                  until nc $address 7 < /dev/null | grep -q hello; do sleep 0.1; done; echo heard=hello";
    let main = container(&cluster, "main", &format!("{script}; {STAYS}"), &json!({"links": ["db:data"]}));
    let deaf = "echo inside=$(ls /sys/class/net); echo done=1";
    let deaf = container(&cluster, "deaf", deaf, &json!({"disableNetworking": true}));
    let task = run(&cluster, &api, "linked", &[main, db, deaf], &json!({}));
    let lines = said(&cluster, &api, &task, "main", "heard=");
    let described = cluster.task(&task);
    let db = described["containers"].as_array().unwrap().iter().find(|c| c["name"] == "db").unwrap().clone();
    let id = db["runtimeId"].as_str().unwrap();
    let names = format!("data store-1 {id}");
    assert!(of(&lines, "hosts").iter().any(|line| line.ends_with(&names)), "{lines:?}");
    let deaf = said(&cluster, &api, &task, "deaf", "done=");
    assert_eq!(of(&deaf, "inside"), ["lo"], "{deaf:?}");
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn containers_share_processes_and_ipc_as_the_definition_says() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    // Its first process is told apart by its argument.
    let tell = "echo pids=$(for p in /proc/[0-9]*; do read line < $p/cmdline 2> /dev/null; echo \"$line\"; done | grep -c 'watch[e]d'); \
                echo pid=$$; echo one=$(cat /proc/1/comm); echo pidns=$(ls -l /proc/self/ns/pid); echo ipcns=$(ls -l /proc/self/ns/ipc); \
                echo shm=$(ls /dev/shm 2>&1); echo done=1";
    let other = format!("echo x > /dev/shm/mine; : watched; echo done=1; {STAYS}");
    let both = |family: &str, more: &Value| {
        let ordered = json!({"dependsOn": [{"containerName": "other", "condition": "START"}]});
        let wait = format!(
            "i=0; while [ ! -e /dev/shm/mine ] && [ $i -lt 20 ]; do i=$((i+1)); sleep 0.1; done; {tell}; {STAYS}"
        );
        let containers =
            [container(&cluster, "main", &wait, &ordered), container(&cluster, "other", &other, &json!({}))];
        let task = run(&cluster, &api, family, &containers, more);
        (said(&cluster, &api, &task, "main", "done="), task)
    };
    let space = |lines: &[String], kind: &str| of(lines, kind)[0].rsplit(' ').next().unwrap().to_owned();
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();

    let (shared, task) = both("shared", &json!({"pidMode": "task", "ipcMode": "task"}));
    assert_ne!(of(&shared, "pid"), ["1"], "{shared:?}");
    assert_eq!((of(&shared, "one"), of(&shared, "shm")), (vec!["init"], vec!["mine"]), "{shared:?}");
    assert_ne!(of(&shared, "pids"), ["0"], "it sees the other's process: {shared:?}");
    assert_ne!(space(&shared, "pidns"), own("pid"));

    let (host, host_task) = both("host", &json!({"pidMode": "host", "ipcMode": "host"}));
    assert_eq!((space(&host, "pidns"), space(&host, "ipcns")), (own("pid"), own("ipc")), "{host:?}");
    let _ = std::fs::remove_file("/dev/shm/mine");

    let (none, none_task) = both("none", &json!({"ipcMode": "none"}));
    assert_eq!(of(&none, "pid"), ["1"], "{none:?}");
    assert!(of(&none, "shm")[0].contains("No such file"), "{none:?}");
    assert!(space(&none, "ipcns") != own("ipc") && space(&none, "ipcns") != space(&shared, "ipcns"));

    // Another agent knows who holds what is shared, and takes it away with the task.
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    cluster.until_connected(&api, 1);
    assert_eq!(cluster.task(&task)["lastStatus"], "RUNNING", "{}", cluster.log());
    for task in [&task, &host_task, &none_task] {
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(task, "STOPPED");
    }
    let left = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let id = task.rsplit('/').next().unwrap();
    assert!(!left.contains(&format!("shm-{id}")), "its shared memory is still mounted");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn input_terminal_and_swap_are_as_asked() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let tell = "[ -t 0 ] && echo in=terminal; [ -t 1 ] && echo out=terminal; echo term=$TERM; \
                exec 3<&0; (read x <&3; echo read=ended) & sleep 1; \
                for f in memory.memsw.limit_in_bytes memory.swappiness; do echo $f=$(cat /sys/fs/cgroup/memory/$f 2> /dev/null); done; \
                echo done=1";
    let swap = json!({"linuxParameters": {"maxSwap": 8, "swappiness": 30}});
    let terminal = json!({"pseudoTerminal": true, "interactive": true});
    let containers = [
        container(&cluster, "main", &format!("{tell}; {STAYS}"), &json!({"interactive": true})),
        container(&cluster, "plain", tell, &swap),
        container(&cluster, "terminal", tell, &terminal),
    ];
    let task = run(&cluster, &api, "input", &containers, &json!({}));
    let open = said(&cluster, &api, &task, "main", "done=");
    assert_eq!((of(&open, "read"), of(&open, "out")), (vec![], vec![]), "its input stays open: {open:?}");
    // Only control groups of version 1 can be told how readily a container's memory is swapped out.
    if std::path::Path::new("/sys/fs/cgroup/memory/memory.swappiness").exists() {
        let plain = said(&cluster, &api, &task, "plain", "done=");
        assert_eq!((of(&plain, "read"), of(&plain, "in")), (vec!["ended"], vec![]), "{plain:?}");
        assert_eq!(of(&plain, "memory.memsw.limit_in_bytes"), [(40 << 20).to_string()], "{plain:?}");
        assert_eq!(of(&plain, "memory.swappiness"), ["30"]);
    } else {
        let plain = until("the refusal", || {
            let task = cluster.task(&task);
            task["containers"].as_array()?.iter().find(|c| c["name"] == "plain")?["reason"].as_str().map(str::to_owned)
        });
        assert!(plain.contains("swappiness cannot be set on this machine"), "{plain}");
    }
    let on = said(&cluster, &api, &task, "terminal", "done=");
    assert_eq!(
        (of(&on, "in"), of(&on, "out"), of(&on, "term")),
        (vec!["terminal"], vec!["terminal"], vec!["xterm"]),
        "{on:?}"
    );
    assert_eq!(of(&on, "read"), [""; 0]);
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
