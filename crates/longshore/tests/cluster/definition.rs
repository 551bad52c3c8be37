//! What a task definition says, seen from inside the running container: a row for each member.

use crate::{
    api::Api,
    harness::{Cluster, told, until},
};
use serde_json::{Value, json};
use std::os::unix::fs::FileTypeExt;

/// What it says on standard output once it is done: one line for each `NAME=`.
struct Said(String);

impl Said {
    /// All lines of a name.
    fn of(&self, name: &str) -> Vec<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
    }
}

/// Runs a task of one container, a definition's and this script, to its end.
fn said(cluster: &Cluster, api: &Api, family: &str, more: &Value, script: &str) -> Said {
    let mut container = json!({
        "name": "main", "image": cluster.image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", format!("{script}\necho done=yes")],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "said", "awslogs-region": "us-east-1", "awslogs-stream-prefix": family, "awslogs-create-group": "true"}},
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": [container]}));
    let task = cluster.run(family, 1).remove(0);
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}\n{}", cluster.log());
    let stream = format!("{family}/main/{}", task.rsplit('/').next().unwrap());
    Said(until("what it said", || {
        let answer = api
            .try_logs("GetLogEvents", &json!({"logGroupName": "said", "logStreamName": stream, "startFromHead": true}));
        let answer = answer.ok()?;
        let lines = answer["events"].as_array()?.iter().map(|event| event["message"].as_str().unwrap());
        let text = lines.collect::<Vec<_>>().join("\n");
        text.ends_with("done=yes").then_some(text)
    }))
}

#[test]
fn a_container_is_given_names_parameters_and_devices() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let device = json!({"hostPath": "/dev/kmsg", "containerPath": "/dev/mine", "permissions": ["write"]});
    let more = json!({
        "extraHosts": [{"hostname": "db", "ipAddress": "10.9.9.9"}, {"hostname": "six", "ipAddress": "fd00::9"}],
        "dnsServers": ["10.8.8.8", "10.8.8.9"], "dnsSearchDomains": ["corp.example", "example"],
        "dockerSecurityOptions": ["no-new-privileges"],
        "systemControls": [{"namespace": "net.core.somaxconn", "value": "777"}, {"namespace": "kernel.msgmax", "value": "70000"}],
        "linuxParameters": {"devices": [device]},
    });
    let script = "while read a n; do echo hosts=$a $n; done < /etc/hosts
        while read k v; do echo $k=$v; done < /etc/resolv.conf
        echo somaxconn=$(cat /proc/sys/net/core/somaxconn)
        echo msgmax=$(cat /proc/sys/kernel/msgmax)
        while read k v; do case $k in NoNewPrivs:|Seccomp:) echo $k=$v;; esac; done < /proc/self/status
        echo node=$(stat -c %F /dev/mine 2> /dev/null)
        (: > /dev/mine) 2> /dev/null && echo device=write
        (: < /dev/mine) 2> /dev/null && echo device=read
        (: > /dev/kmsg) 2> /dev/null; true";
    let told = said(&cluster, &api, "all", &more, script);
    assert!(told.of("hosts").ends_with(&["10.9.9.9 db", "fd00::9 six"]), "{}", told.0);
    assert_eq!(told.of("nameserver"), ["10.8.8.8", "10.8.8.9"], "{}", told.0);
    assert_eq!(told.of("search"), ["corp.example example"]);
    assert_eq!((told.of("somaxconn"), told.of("msgmax")), (vec!["777"], vec!["70000"]));
    assert_eq!((told.of("NoNewPrivs:"), told.of("Seccomp:")), (vec!["1"], vec!["2"]));
    assert_eq!((told.of("node"), told.of("device")), (vec!["character special file"], vec!["write"]), "{}", told.0);

    // Another one has none of it, and may do what it was let.
    let more = json!({"dockerSecurityOptions": ["seccomp:unconfined", "apparmor:unconfined"]});
    let told = said(&cluster, &api, "none", &more, script);
    assert_eq!((told.of("NoNewPrivs:"), told.of("Seccomp:")), (vec!["0"], vec!["0"]));
    assert_eq!((told.of("somaxconn"), told.of("node")), (vec!["4096"], vec![""]), "{}", told.0);
    assert!(!told.of("search").contains(&"corp.example example"));
}

#[test]
fn a_container_runs_as_whom_where_and_with_what_it_says() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let script = "echo id=$(id); echo pwd=$(pwd); echo host=$(hostname) mine=$MINE; echo files=$(ulimit -n) $(ulimit -Hn)
        echo shm=$(df -k /dev/shm | tail -n 1); echo scratch=$(df -k /scratch | tail -n 1); echo one=$(cat /proc/1/comm)
        (: > /scratch/x) 2> /dev/null && echo wrote=scratch; (: > /x) 2> /dev/null && echo wrote=root
        while read k v; do case $k in CapBnd:) echo chown=$((0x$v & 1)) net_admin=$(((0x$v >> 12) & 1));; esac; done < /proc/self/status
        group=/sys/fs/cgroup; cat $group/cpu/cpu.shares $group/cpu.weight 2> /dev/null | while read n; do echo cpu=$n; done
        cat $group/memory/memory.limit_in_bytes $group/memory.max 2> /dev/null | while read n; do echo limit=$n; done
        cat $group/memory/memory.soft_limit_in_bytes $group/memory.low 2> /dev/null | while read n; do echo soft=$n; done";
    let more = json!({
        "entryPoint": ["sh", "-c"], "command": [format!("{script}\necho done=yes")], "environment": [{"name": "MINE", "value": "a b"}],
        "user": "app", "workingDirectory": "/home/app", "hostname": "inside", "readonlyRootFilesystem": true,
        "cpu": 128, "memory": 24, "memoryReservation": 12, "ulimits": [{"name": "nofile", "softLimit": 123, "hardLimit": 456}],
        "linuxParameters": {
            "initProcessEnabled": true, "sharedMemorySize": 3, "capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]},
            "tmpfs": [{"containerPath": "/scratch", "size": 2, "mountOptions": ["mode=1777"]}],
        },
    });
    let told = said(&cluster, &api, "told", &more, "");
    assert_eq!(told.of("id"), ["uid=1000(app) gid=1001(app) groups=27(video),1001(app)"], "{}", told.0);
    assert_eq!((told.of("pwd"), told.of("host")), (vec!["/home/app"], vec!["inside mine=a b"]));
    assert_eq!((told.of("files"), told.of("one")), (vec!["123 456"], vec!["init"]));
    assert!(told.of("shm")[0].contains(" 3072 ") && told.of("scratch")[0].contains(" 2048 "), "{}", told.0);
    assert_eq!((told.of("wrote"), told.of("chown")), (vec!["scratch"], vec!["0 net_admin=1"]), "{}", told.0);
    assert!(matches!(told.of("cpu")[..], ["128" | "5"]), "shares, or the weight that they are: {}", told.0);
    let mib = |n: u64| (n << 20).to_string();
    assert_eq!((told.of("limit"), told.of("soft")), (vec![&*mib(24)], vec![&*mib(12)]));

    // A privileged container has all the machine has.
    let script = "mkdir /m && mount -t tmpfs none /m && echo mounted=yes; [ -e /dev/kmsg ] && echo kmsg=yes";
    let told = said(&cluster, &api, "privileged", &json!({"privileged": true}), script);
    assert_eq!((told.of("mounted"), told.of("kmsg")), (vec!["yes"], vec!["yes"]), "{}", told.0);
}

/// A device node: the kernel's of memory devices, with that minor number.
fn node(at: &std::path::Path, minor: u32) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, at, FileType::CharacterDevice, Mode::empty(), makedev(1, minor)).unwrap();
    std::os::unix::fs::chown(at, Some(0), Some(27)).unwrap();
    std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
}

#[test]
fn folders_of_devices_and_those_of_privileged_containers_are_shown_as_docker_does() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let folder = cluster.path("devices");
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    node(&folder.join("kmsg"), 11);
    node(&folder.join("deep/full"), 7);
    std::fs::write(folder.join("file"), "").unwrap();
    std::os::unix::fs::symlink("/dev", folder.join("way")).unwrap();
    let script = "for at in /dev/mine/* /dev/mine/*/* /dev/xx /dev/full; do [ -e $at ] && echo at=$at $(stat -c %t:%T:%g $at); done
        (: > /dev/mine/kmsg) 2> /dev/null && echo kmsg=write
        (: < /dev/mine/kmsg) 2> /dev/null && echo kmsg=read
        true";
    let devices = json!([{"hostPath": folder, "containerPath": "/dev/mine", "permissions": ["write"]}]);
    // Whom the machine lets use it by a group may use it inside by that group.
    let more = json!({"user": "app", "linuxParameters": {"devices": devices}});
    let told = said(&cluster, &api, "folder", &more, script);
    let found = told.of("at");
    let usual = found.iter().filter(|line| !line.starts_with("/dev/full "));
    let nodes = ["/dev/mine/deep/full 1:7:27", "/dev/mine/kmsg 1:b:27"];
    let mut shown: Vec<_> = usual.copied().filter(|line| !line.starts_with("/dev/mine/deep ")).collect();
    shown.sort_unstable();
    assert_eq!(shown, nodes, "{}", told.0);
    assert_eq!(told.of("kmsg"), ["write"], "{}", told.0);

    let devices = json!([
        {"hostPath": folder, "containerPath": "/dev/mine"}, {"hostPath": "/dev/null", "containerPath": "/dev/xx"},
        {"hostPath": "/dev/full", "containerPath": "/dev/full"}]);
    let more = json!({"privileged": true, "linuxParameters": {"devices": devices}});
    let told = said(&cluster, &api, "allowed", &more, script);
    for node in nodes.iter().copied().chain(["/dev/xx 1:3:0", "/dev/full 1:7:0"]) {
        assert!(told.of("at").contains(&node), "{node}: {}", told.0);
    }
}

#[test]
fn a_tmpfs_is_mounted_as_its_options_say() {
    /// All that are a word and can be of a tmpfs.
    const WORDS: &str = "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync mand nomand atime noatime diratime \
        nodiratime unbindable runbindable private rprivate shared rshared slave rslave relatime norelatime strictatime nostrictatime";
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let values = ["mode=1750", "uid=7", "gid=8", "nr_inodes=99", "nr_blocks=4", "mpol=local"];
    let options: Vec<&str> = WORDS.split_whitespace().chain(values).collect();
    let mount = |option: &&str| json!({"containerPath": format!("/t/{option}"), "size": 1, "mountOptions": [option]});
    let more = json!({"linuxParameters": {"tmpfs": options.iter().map(mount).collect::<Vec<_>>()}});
    let script =
        "while read a b c d at rest; do case $at in /t/*) echo mount=$at $rest;; esac; done < /proc/self/mountinfo
        for at in /t/*; do echo stat=$at $(stat -c %a:%u:%g $at) $(df -k $at | tail -n 1); done";
    let told = said(&cluster, &api, "memory", &more, script);
    let find = |name: &str, option: &str| {
        let line = told.of(name).into_iter().find_map(|line| line.strip_prefix(&format!("/t/{option} ")));
        line.unwrap_or_else(|| panic!("{name} of {option}: {}", told.0))
    };
    for option in &options {
        assert!(find("mount", option).contains("- tmpfs "), "{option}: {}", told.0);
    }
    let flags = |option: &str| find("mount", option).split(' ').next().unwrap().to_owned();
    assert!(flags("defaults").starts_with("rw,nosuid,nodev,noexec"), "{}", told.0);
    assert!(flags("ro").starts_with("ro,") && !flags("exec").contains("noexec") && !flags("suid").contains("nosuid"));
    assert!(
        find("mount", "shared").contains(" shared:") && find("mount", "rshared").contains(" shared:"),
        "{}",
        told.0
    );
    assert!(find("mount", "unbindable").contains(" unbindable ") && !find("mount", "private").contains(" shared:"));
    assert!(find("stat", "mode=1750").starts_with("1750:0:0 "), "{}", told.0);
    assert!(find("stat", "uid=7").contains(":7:0 ") && find("stat", "gid=8").contains(":0:8 "), "{}", told.0);
    assert!(find("stat", "defaults").contains(" 1024 ") && find("stat", "nr_blocks=4").contains(" 16 "), "{}", told.0);
}

#[test]
fn a_device_that_is_not_there_is_said() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    for (number, (path, words)) in
        [("/dev/nothing", "No such file"), ("/etc/hostname", "not a device node")].iter().enumerate()
    {
        let container = json!({
            "name": "main", "image": cluster.image, "memory": 16, "command": ["true"],
            "linuxParameters": {"devices": [{"hostPath": path}]},
        });
        let family = format!("lost{number}");
        api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": [container]}));
        let stopped = cluster.wait(&cluster.run(&family, 1).remove(0), "STOPPED");
        let reason = stopped["containers"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("CannotCreateContainerError") && reason.contains(words), "{reason}");
    }
}

/// A container that tells by the machine's uptime when it did what.
fn telling(cluster: &Cluster, name: &str, script: &str, more: &Value) -> Value {
    let tell = "tell() { read up rest < /proc/uptime; echo $1=$up; };";
    let mut container = json!({
        "name": name, "image": cluster.image, "memory": 16, "stopTimeout": 5, "essential": name == "app",
        "command": ["sh", "-c", format!("{tell} {script}")],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "order", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "o", "awslogs-create-group": "true"}},
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// When a container did something, in seconds of the machine's uptime.
fn when(api: &Api, task: &str, container: &str, what: &str) -> f64 {
    let stream = format!("o/{container}/{}", task.rsplit('/').next().unwrap());
    until(&format!("{what} of {container}"), || {
        let asked = json!({"logGroupName": "order", "logStreamName": stream, "startFromHead": true});
        let answer = api.try_logs("GetLogEvents", &asked).ok()?;
        let lines = answer["events"].as_array()?.iter().map(|event| event["message"].as_str().unwrap());
        lines.filter_map(|line| line.strip_prefix(what)?.strip_prefix('=')).find_map(|up| up.parse().ok())
    })
}

#[test]
fn containers_begin_and_end_in_their_order() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let stays = "trap 'tell told; sleep 0.3; tell ended; exit 0' TERM; tell began; while :; do sleep 0.1; done";
    let db =
        json!({"healthCheck": {"command": ["CMD-SHELL", "test -e /ready"], "interval": 5, "timeout": 2, "retries": 3}});
    let app = json!({"dependsOn": [
        {"containerName": "init", "condition": "SUCCESS"}, {"containerName": "db", "condition": "HEALTHY"}]});
    let containers = [
        telling(&cluster, "app", stays, &app),
        telling(&cluster, "db", &format!("sleep 1; : > /ready; tell ready; {stays}"), &db),
        telling(&cluster, "init", "sleep 1; tell ended", &json!({})),
    ];
    api.ecs("RegisterTaskDefinition", &json!({"family": "order", "containerDefinitions": containers}));
    let task = cluster.run("order", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    let began = when(&api, &task, "app", "began");
    assert!(began > when(&api, &task, "db", "ready"), "it waited for health");
    assert!(began > when(&api, &task, "init", "ended"), "it waited for the end");
    api.ecs("StopTask", &json!({"task": task}));
    let stopped = cluster.wait(&task, "STOPPED");
    assert!(when(&api, &task, "db", "told") >= when(&api, &task, "app", "ended"), "{stopped:#}");

    // What is waited for fails: the task never starts, and says why.
    let mut containers = containers;
    containers[2] = telling(&cluster, "init", "exit 7", &json!({}));
    api.ecs("RegisterTaskDefinition", &json!({"family": "broken", "containerDefinitions": containers}));
    let stopped = cluster.wait(&cluster.run("broken", 1).remove(0), "STOPPED");
    assert_eq!(stopped["stopCode"], "TaskFailedToStart", "{stopped:#}");
    let app = stopped["containers"].as_array().unwrap().iter().find(|c| c["name"] == "app").unwrap();
    let words =
        "ContainerDependencyError: container 'init', waited for as SUCCESS, did not exit successfully (exit code 7)";
    assert_eq!(app["reason"], words, "{stopped:#}");
}

/// Runs a task of these containers; answers its ARN.
fn task_of(cluster: &Cluster, api: &Api, family: &str, containers: &[Value]) -> String {
    api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": containers}));
    cluster.run(family, 1).remove(0)
}

fn container<'a>(task: &'a Value, name: &str) -> &'a Value {
    task["containers"].as_array().unwrap().iter().find(|container| container["name"] == name).unwrap()
}

#[test]
fn the_essential_one_ends_its_task_and_times_hold() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    // The one that is not essential ends and nothing comes of it. The deaf one is told to end with the task, and killed once its
    // own time is over, not the half minute that others have.
    let deaf = "trap 'tell told' TERM; tell began; while :; do sleep 0.1; done";
    let waits = format!("trap 'exit 3' TERM; : {}; while :; do sleep 0.1; done", told());
    let task = task_of(
        &cluster,
        &api,
        "essential",
        &[
            telling(&cluster, "app", &waits, &json!({})),
            telling(&cluster, "aside", "exit 5", &json!({})),
            telling(&cluster, "deaf", deaf, &json!({"stopTimeout": 2})),
        ],
    );
    let aside = until("the end of the one aside", || {
        let told = cluster.task(&task);
        (container(&told, "aside")["lastStatus"] == "STOPPED").then_some(told)
    });
    assert_eq!((&container(&aside, "aside")["exitCode"], &aside["desiredStatus"]), (&json!(5), &json!("RUNNING")));
    cluster.end_told();
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(stopped["stopCode"], "EssentialContainerExited", "{stopped:#}");
    let codes = ["app", "aside", "deaf"].map(|name| container(&stopped, name)["exitCode"].clone());
    assert_eq!(codes, [json!(3), json!(5), json!(137)], "{stopped:#}");
    when(&api, &task, "deaf", "told");

    // What does not come to be healthy within the time that its start may take fails what waits for it.
    let never = json!({
        "startTimeout": 3,
        "healthCheck": {"command": ["CMD-SHELL", "exit 1"], "interval": 60, "timeout": 2, "retries": 10},
    });
    let app = json!({"dependsOn": [{"containerName": "db", "condition": "HEALTHY"}]});
    let task = task_of(
        &cluster,
        &api,
        "late",
        &[telling(&cluster, "app", "exit 0", &app), telling(&cluster, "db", "exec sleep 1000", &never)],
    );
    let reason = container(&cluster.wait(&task, "STOPPED"), "app")["reason"].clone();
    let words = "ContainerDependencyError: container 'db' was not HEALTHY within its startTimeout of 3 s";
    assert_eq!(reason, words, "{}", cluster.log());
}

#[test]
fn a_range_of_ports_is_published_and_told() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let script =
        "for p in 7001 7002; do mkdir /$p; echo $p > /$p/index.html; httpd -p $p -h /$p; done; exec sleep 1000";
    let task = task_of(
        &cluster,
        &api,
        "range",
        &[telling(
            &cluster,
            "app",
            script,
            &json!({"portMappings": [{"containerPortRange": "7001-7002"}], "stopTimeout": 2}),
        )],
    );
    let running = cluster.wait(&task, "RUNNING");
    let bound = &container(&running, "app")["networkBindings"][0];
    assert_eq!((&bound["containerPortRange"], &bound["hostPort"]), (&json!("7001-7002"), &Value::Null), "{bound}");
    let (first, last) = bound["hostPortRange"].as_str().unwrap().split_once('-').unwrap();
    let first: u16 = first.parse().unwrap();
    assert_eq!(last.parse(), Ok(first + 1));
    let instance =
        api.ecs("DescribeContainerInstances", &json!({"containerInstances": [running["containerInstanceArn"]]}));
    let id = instance["containerInstances"][0]["ec2InstanceId"].clone();
    let machines = api.ec2("DescribeInstances", &json!({"InstanceIds": [id]}));
    let machine = &machines["Reservations"][0]["Instances"][0];
    let address = machine["PrivateIpAddress"].as_str().unwrap();
    for (port, want) in [(first, "7001"), (first + 1, "7002")] {
        let answer = until("an answer", || {
            let mut stream = std::net::TcpStream::connect((address, port)).ok()?;
            std::io::Write::write_all(&mut stream, b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
            text.contains(" 200 ").then_some(text)
        });
        assert!(answer.trim().ends_with(want), "{port}: {answer}");
    }
}
