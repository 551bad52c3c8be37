//! Links that containers make to be led, or to lead others, out of what is theirs: in a volume that they share, while another container
//! is being started that has something mounted in it; and at the place where they themselves run.

use crate::{
    harness::{Cluster, until},
    sharing::container,
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What only the machine has.
const OF_THE_MACHINE: &str = "of the machine";
/// How often somebody is started meanwhile: so many times all these folders at once.
const ROUNDS: usize = 4;
/// Tasks of a round. Source: RunTask takes no more.
const AT_ONCE: u32 = 10;
/// Folders of the volume in which the others have something.
const FOLDERS: [&str; 5] = ["disk", "memory", "work", "secrets", "deep"];

/// Swaps each folder of the volume for a link out of it and back, as a program in a container that has the volume may. The test does it
/// because a shell, which is all that its containers have, is a thousand times slower; theirs goes on beside it.
fn swap(volume: &Path, outside: &Path, over: &AtomicBool, count: &AtomicU64) {
    let up = "../".repeat(40);
    let ways = [
        outside.display().to_string(),
        format!("{up}{}", outside.display()),
        format!("/proc/1/root{}", outside.display()),
    ];
    for (at, folder) in FOLDERS.iter().enumerate() {
        fs::create_dir_all(volume.join(folder).join("below")).unwrap();
        symlink(&ways[at % ways.len()], volume.join(format!("{folder}.link"))).unwrap();
    }
    while !over.load(Ordering::Relaxed) {
        for folder in FOLDERS {
            let names = (volume.join(folder), volume.join(format!("{folder}.link")));
            match renameat_with(CWD, &names.0, CWD, &names.1, RenameFlags::EXCHANGE) {
                Ok(()) => count.fetch_add(1, Ordering::Relaxed),
                // The container's own shell was here.
                Err(Errno::NOENT) => 0,
                Err(error) => panic!("{folder}: {error}"),
            };
        }
    }
}

/// Ends the swapping, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A container that swaps one folder more, with a shell.
fn swapper(cluster: &Cluster, outside: &Path) -> Value {
    let script = format!(
        "trap 'exit 0' TERM; cd /v; mkdir -p shell; while :; do ln -s {to} next; mv -T shell old; mv -T next shell; rm shell; mv -T old shell; done",
        to = outside.display()
    );
    container(cluster, "main", &script, &json!({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}))
}

/// Containers that have things mounted in the volume; they say whether they see what is the machine's, and write to all of it.
fn started(cluster: &Cluster, secret: &Value) -> [Value; 2] {
    let places = "/v/disk /v/memory /v/work /v/work/below /v/secrets /v/deep/below /v/shell .";
    let script = format!(
        "for at in {places}; do touch $at/mark; mkdir -p $at/made; grep -qs '{OF_THE_MACHINE}' $at/secret && exit 42; done; exit 0"
    );
    let mount = |volume: &str, path: &str| json!({"sourceVolume": volume, "containerPath": path});
    let main = container(
        cluster,
        "main",
        &script,
        &json!({
            "essential": false,
            "mountPoints": [mount("v", "/v"), mount("own", "/v/disk"), mount("own", "/v/deep/below/it"), mount("own", "/v/shell/in")],
            "linuxParameters": {"tmpfs": [{"containerPath": "/v/memory", "size": 1}]},
            "workingDirectory": "/v/work/below",
            "secrets": [{"name": "TOKEN", "valueFrom": secret}],
            "dockerLabels": {"longshore.secret-files": "/v/secrets/in"},
        }),
    );
    let beside = container(
        cluster,
        "beside",
        &script,
        &json!({"essential": true, "volumesFrom": [{"sourceContainer": "main"}], "workingDirectory": "/v/work"}),
    );
    [main, beside]
}

/// The place of a shared volume on the only instance.
fn shared(cluster: &Cluster, name: &str) -> PathBuf {
    let instance = cluster.agents().into_keys().next().unwrap();
    cluster.data().join("instances").join(instance).join("volumes/shared").join(name).join("data")
}

/// A folder that only the machine has, with a file in it.
fn outside(cluster: &Cluster) -> PathBuf {
    let outside = cluster.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), OF_THE_MACHINE).unwrap();
    outside
}

/// Whether this machine's runc makes the folders that something is to be mounted on by a path that may have changed since it looked, as
/// all before 1.1.14 do (CVE-2024-45310). It looks again before it mounts, so an empty folder is all that comes of it.
fn runc_makes_folders_anywhere() -> bool {
    let out = std::process::Command::new("runc").arg("--version").output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let version = said.split_whitespace().nth(2).unwrap().split(['+', '-', '~']).next().unwrap();
    version.split('.').map(|number| number.parse().unwrap()).collect::<Vec<u32>>() < vec![1, 1, 14]
}

/// Nothing was written there, and nothing mounted.
fn assert_untouched(outside: &Path) {
    let mut names = Vec::new();
    for entry in fs::read_dir(outside).unwrap().flatten() {
        let is_empty_folder = fs::read_dir(entry.path()).is_ok_and(|mut folder| folder.next().is_none());
        if !(is_empty_folder && runc_makes_folders_anywhere()) {
            names.push(entry.file_name());
        }
    }
    assert_eq!(names, ["secret"], "something was made outside of the volume");
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), OF_THE_MACHINE);
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let there = outside.display().to_string();
    assert!(!mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with(&there))), "{mounts}");
}

/// The exit codes of a task's containers, once it has stopped; why it did not start where there is none.
fn ended(cluster: &Cluster, task: &str) -> Vec<Result<i64, String>> {
    let task = cluster.wait(task, "STOPPED");
    let of = |container: &Value| match container["exitCode"].as_i64() {
        Some(code) => Ok(code),
        None => Err(container["reason"].as_str().unwrap_or_default().to_owned()),
    };
    task["containers"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_container_that_swaps_folders_for_links_leads_nobody_out_of_their_volume() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let outside = outside(&cluster);
    let volumes = json!([
        {"name": "v", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true}},
        {"name": "own"},
    ]);
    let define = |family: &str, containers: &[Value], more: Value| {
        let mut definition = json!({"family": family, "volumes": volumes, "containerDefinitions": containers});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.ecs("RegisterTaskDefinition", &definition);
    };
    let token = api.secrets("CreateSecret", &json!({"Name": "token", "SecretString": "hunter2"}))["ARN"].clone();
    let reads = json!([{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]);
    let role = api.task_role("reads", &reads);
    define("swapper", &[swapper(&cluster, &outside)], json!({}));
    define("started", &started(&cluster, &token), json!({"executionRoleArn": role, "memory": "128"}));
    let swapper = cluster.run("swapper", 1).remove(0);
    cluster.wait(&swapper, "RUNNING");
    let volume = shared(&cluster, "v");
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let _ends = Over(&over);
        let swapping = scope.spawn(|| swap(&volume, &outside, &over, &count));
        for _ in 0..ROUNDS {
            for task in cluster.run("started", AT_ONCE) {
                all.extend(ended(&cluster, &task));
            }
            assert_untouched(&outside);
        }
        assert!(!swapping.is_finished(), "nobody swapped anything");
    });
    eprintln!("{} swaps; {all:#?}", count.into_inner());
    assert!(!all.contains(&Ok(42)), "a container saw what is the machine's");
    let started = all.iter().filter(|end| **end == Ok(0)).count();
    assert!(started > 0, "nobody was started: {all:#?}");
    // They wrote to their volume or to their own files, whatever the links said.
    api.ecs("StopTask", &json!({"task": swapper}));
    cluster.wait(&swapper, "STOPPED");
    assert_untouched(&outside);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// The runtime that makes a container has folders of the machine open while it does. A working directory that names one of them, or is a
/// link to one by the time that a further command is run there, must not let the container's process begin in it.
#[test]
fn no_working_directory_is_a_folder_that_the_runtime_has_open() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let outside = outside(&cluster);
    let up = format!("{}{}", "../".repeat(20), outside.join("secret").display());
    let looks = format!("grep -qs '{OF_THE_MACHINE}' {up} && exit 42; [ -e /bin/sh ] || exit 43; exit 0");
    let mut tasks = Vec::new();
    for descriptor in 3..=12 {
        let cwd = format!("/proc/self/fd/{descriptor}");
        let main = container(&cluster, "main", &looks, &json!({"workingDirectory": cwd}));
        let family = format!("begins-{descriptor}");
        api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": [main]}));
        tasks.push(cluster.run(&family, 1).remove(0));
    }
    for task in &tasks {
        for end in ended(&cluster, task) {
            assert!(!matches!(end, Ok(42 | 43)), "{task}: {end:?}");
        }
    }
    // The same of further commands: health checks are run where the container says its working directory is, which it has made a link.
    let check = format!("CMD-SHELL grep -qs '{OF_THE_MACHINE}' {up} && touch /found; touch /tried; exit 0");
    let (kind, command) = check.split_once(' ').unwrap();
    let mut checked = Vec::new();
    for descriptor in 3..=12 {
        let script = format!(
            "mkdir -p /w; cd /; rmdir /w; ln -s /proc/self/fd/{descriptor} /w; i=0; \
             until [ -e /tried ] || [ $i -gt 80 ]; do i=$((i+1)); sleep 0.1; done; [ -e /found ] && exit 42; exit 0"
        );
        let health = json!({"command": [kind, command], "interval": 5, "timeout": 5, "retries": 1});
        let main = container(&cluster, "main", &script, &json!({"workingDirectory": "/w", "healthCheck": health}));
        let family = format!("goes-on-{descriptor}");
        api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": [main]}));
        checked.push(cluster.run(&family, 1).remove(0));
    }
    for task in &checked {
        assert_eq!(ended(&cluster, task), [Ok(0)], "{task}");
        // It was checked, or could not be.
        let health = cluster.task(task)["containers"][0]["healthStatus"].clone();
        assert!(health == "HEALTHY" || health == "UNHEALTHY", "{task}: {health}");
    }
    assert_untouched(&outside);
    until("the instance to be free", || (api.ecs("ListTasks", &json!({}))["taskArns"] == json!([])).then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
