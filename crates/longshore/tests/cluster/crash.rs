//! Processes that hold secrets and crash: what is left of them tells nobody a secret.

use crate::{
    api::Trouble,
    harness::{Cluster, until},
    secrets::{MARK, found, secret},
    sharing::{container, said},
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use std::{fs, os::unix::process::ExitStatusExt, path::PathBuf};

const SIGABRT: i32 = 6;
/// Calls to a server that gets no memory.
const CALLS: usize = 20;

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// A process may write as large a file of its memory as it likes, if it writes one. Answers the folder it would be written to.
fn let_dump(of: u32) -> PathBuf {
    prlimit(Some(pid(of)), Resource::Core, Rlimit { current: None, maximum: None }).unwrap();
    fs::read_link(format!("/proc/{of}/cwd")).unwrap()
}

/// Files that a kernel writes the memory of a process to, in a folder.
fn dumps(folder: &PathBuf) -> Vec<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let stem = pattern.trim().rsplit('/').next().unwrap().split('%').next().unwrap().to_owned();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let is_one = |name: &str| !stem.is_empty() && (name == stem || name.starts_with(&format!("{stem}.")));
    files.filter(|file| file.file_name().to_str().is_some_and(is_one)).map(|file| file.path()).collect()
}

/// Processes other than the task's own that have the mark in their environment.
fn told_by_environment(task: &str) -> Vec<u32> {
    let id = task.rsplit('/').next().unwrap();
    let all = crate::harness::processes().into_iter().map(|(pid, _)| pid);
    let is_task = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|group| group.contains(id));
    let tells = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(MARK.len()).any(|window| window == MARK.as_bytes())
    };
    all.filter(|pid| tells(pid) && !is_task(pid)).collect()
}

#[test]
fn who_crashes_with_secrets_tells_nobody() {
    let mut cluster = Cluster::start_with(1, |_| vec![("RUST_BACKTRACE".to_owned(), "full".to_owned())]);
    let api = cluster.api();
    let value = |what: &str| format!("{what}-{MARK}");
    let db = secret(&api, "db", &value("variable"));
    let file = secret(&api, "file", &value("file"));
    let reads = json!([{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]);
    let (role, own) = (api.task_role("pulls", &reads), api.task_role("own", &reads));
    let script = "trap 'exit 0' TERM; echo given=${#TOKEN}; while :; do sleep 0.1; done";
    let main = container(&cluster, "main", script, &json!({"secrets": [{"name": "TOKEN", "valueFrom": db}]}));
    let files = json!({
        "secrets": [{"name": "FILE", "valueFrom": file}],
        "dockerLabels": {"longshore.secret-files": "/run/secrets", "longshore.secret-files.only": "true"},
    });
    let beside = container(&cluster, "beside", script, &files);
    let definition =
        json!({"family": "web", "executionRoleArn": role, "taskRoleArn": own, "containerDefinitions": [main, beside]});
    api.ecs("RegisterTaskDefinition", &definition);
    let task = cluster.run("web", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    let given = format!("given={}", value("variable").len());
    said(&cluster, &api, &task, "main", &given);
    assert_eq!(told_by_environment(&task), Vec::<u32>::new());
    // A bundle in memory and the container's own file, which nobody else can read: see docs/secrets.md.
    let places = found(&cluster);
    assert_eq!(places.len(), 2, "{places:#?}");

    // The agent, which has been told all of them.
    let (_, agent) = cluster.agents().into_iter().next().unwrap();
    let folder = let_dump(agent);
    let before = dumps(&folder);
    Cluster::crash(agent);
    until("another agent", || cluster.agents().into_values().find(|now| *now != agent));
    cluster.until_connected(&api, 1);
    assert_eq!(dumps(&folder), before, "the memory of the agent was written down");

    // The server, with secrets on their way to it and no memory left for them, and then at once.
    let server = cluster.server_pid();
    let folder = let_dump(server);
    let before = dumps(&folder);
    prlimit(Some(pid(server)), Resource::As, Rlimit { current: Some(1), maximum: None }).unwrap();
    let refused = (0..CALLS)
        .filter(|number| {
            let input = json!({"Name": format!("more-{number}"), "SecretString": value("on its way").repeat(5000)});
            matches!(api.try_secrets("CreateSecret", &input), Err(Trouble::NoAnswer(_) | Trouble::Refused(_)))
        })
        .count();
    eprintln!("{refused} of {CALLS} calls came to nothing");
    let status = cluster.crash_server();
    assert_eq!((status.signal(), status.core_dumped()), (Some(SIGABRT), false), "{status}");
    assert_eq!(dumps(&folder), before, "the memory of the server was written down");

    cluster.start_server();
    assert_eq!(cluster.task(&task)["lastStatus"], "RUNNING");
    assert_eq!(found(&cluster), places, "it is somewhere else too");
    assert_eq!(told_by_environment(&task), Vec::<u32>::new());
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || found(&cluster).is_empty().then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
