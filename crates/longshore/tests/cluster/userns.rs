//! Containers with users of their own: root inside is nobody on the machine, and all else is as without.

use crate::{
    awsvpc::{Running, Vpc},
    harness::{Cluster, longshore, processes, until},
    sharing::{container, of, run, said},
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// The numbers of the machine that stand for the containers' users.
const RANGE: &str = "100000-165535";
const ROOT: u32 = 100_000;
/// The first port that any user binds, and the groups that may ping: all that there are.
const RANGES: &str = "cd /proc/sys/net/ipv4; echo ranges=$(cat ip_unprivileged_port_start ping_group_range); cd /";
const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn start(instances: u32) -> Cluster {
    Cluster::start_with(instances, |_| vec![("LONGSHORE_USERNS_REMAP".to_owned(), RANGE.to_owned())])
}

/// The user that the machine knows each process by in whose command line that is, but not the test's own.
fn users(word: &str) -> Vec<u32> {
    let all = processes().into_iter().filter(|(_, words)| words.first().is_some_and(|first| first == "sh"));
    let ours = all.filter(|(_, words)| words.iter().any(|text| text.contains(word)));
    let user = |(pid, _): (u32, Vec<String>)| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.to_owned();
        line.split_whitespace().next()?.parse().ok()
    };
    ours.filter_map(user).collect()
}

fn kill_agent(cluster: &Cluster) {
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    cluster.until_connected(&cluster.api(), 1);
}

/// What a command in a task's container prints.
fn exec(cluster: &Cluster, task: &str, command: &[&str]) -> String {
    let main = format!("{}/main", task.rsplit('/').next().unwrap());
    let mut arguments = vec!["exec", &main, "--"];
    arguments.extend(command);
    let out = cluster.client(longshore(), &arguments);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}\n{}", String::from_utf8_lossy(&out.stderr), cluster.log());
    said
}

fn owner(path: &Path) -> (u32, u32) {
    let about = fs::metadata(path).unwrap();
    (about.uid(), about.gid())
}

#[test]
fn root_of_a_container_is_nobody_on_the_machine() {
    let mut cluster = start(1);
    let api = cluster.api();
    let attributes =
        api.ecs("ListContainerInstances", &json!({"filter": "attribute:longshore.capability.userns-remap exists"}));
    assert_eq!(attributes["containerInstanceArns"].as_array().unwrap().len(), 1, "{attributes:#}");
    let (more, host, made) = (cluster.path("more"), cluster.path("host"), cluster.path("made"));
    for folder in ["own", "declared"] {
        let file = more.join(folder).join("file");
        fs::create_dir_all(more.join(folder)).unwrap();
        fs::write(&file, "of 7").unwrap();
        std::os::unix::fs::chown(&file, Some(7), Some(8)).unwrap();
    }
    let image = cluster.image_declaring("declares", &more, &["/more/declared"]);
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("of-root"), "kept").unwrap();
    let volumes = json!([
        {"name": "both"}, {"name": "host", "host": {"sourcePath": host}}, {"name": "made", "host": {"sourcePath": made}},
        {"name": "memory", "dockerVolumeConfiguration": {"scope": "task", "driver": "local",
            "driverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=755,noexec,nosuid"}}},
    ]);
    let mount = |volume: &str, path: &str| json!({"sourceVolume": volume, "containerPath": path});
    let points =
        json!([mount("both", "/both"), mount("host", "/host"), mount("made", "/made"), mount("memory", "/memory")]);
    let tell = "echo user=$(id -u):$(id -g); while read line; do echo map=$line; done < /proc/self/uid_map; \
                echo image=$(stat -c %u:%g /more/own/file) root=$(stat -c %u / /bin/busybox /etc/hosts | sort -u); \
                echo new > /more/own/file && echo written=$(stat -c %u:%g /more/own/file); \
                (echo x > /host/of-root) 2> /dev/null && echo broke=1; (echo x > /host/mine) 2> /dev/null && echo broke=2; \
                echo seen=$(stat -c %u /host/of-root); \
                touch /both/file /made/file /memory/file && echo touched=$(stat -c %u /both/file /made/file /memory/file | sort -u); \
                echo out > /dev/stdout; (: < /dev/zero) && echo device=1; \
                mknod /tmp/kmsg c 1 11 2> /dev/null && echo broke=3; \
                touch /more/declared/mine && echo declared=$(stat -c %u:%g /more/declared /more/declared/file /more/declared/mine); \
                chown 1000:1000 /both/file && echo given=$(stat -c %u:%g /both/file); echo done=1";
    let main =
        container(&cluster, "main", &format!("{tell}; {STAYS}"), &json!({"image": image, "mountPoints": points}));
    let other = "until [ -e /both/file ] && [ \"$(stat -c %u /both/file)\" = 1000 ]; do sleep 0.1; done; \
                 echo user=$(id -u); (echo x >> /both/file) && echo wrote=1; \
                 for f in /read/memory /read/made; do touch $f/file 2>&1 | grep -o 'Read-only'; done; \
                 echo taken=$(stat -c %u:%g /more/declared/file /more/declared/mine) $(touch /more/declared/more 2>&1 | grep -o 'Read-only fi'); \
                 echo done=1";
    // What cannot be written is so also where the mount has flags that may not be taken away.
    let read =
        |volume: &str| json!({"sourceVolume": volume, "containerPath": format!("/read/{volume}"), "readOnly": true});
    let points = json!({"mountPoints": [mount("both", "/both"), read("memory"), read("made")], "user": "1000",
        "volumesFrom": [{"sourceContainer": "main", "readOnly": true}]});
    let other = container(&cluster, "other", &format!("{other}; {STAYS}"), &points);
    let definition = json!({"family": "users", "containerDefinitions": [main, other], "volumes": volumes});
    api.ecs("RegisterTaskDefinition", &definition);
    let answer = api.ecs("RunTask", &json!({"taskDefinition": "users", "enableExecuteCommand": true}));
    let task = answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
    let lines = said(&cluster, &api, &task, "main", "done=");
    assert_eq!(of(&lines, "user"), ["0:0"], "{lines:?}");
    let map: Vec<&str> = of(&lines, "map")[0].split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"], "{lines:?}");
    assert_eq!(of(&lines, "image"), ["7:8 root=0"], "{lines:?}");
    assert_eq!((of(&lines, "written"), of(&lines, "touched")), (vec!["7:8"], vec!["0"]), "{lines:?}");
    assert_eq!(of(&lines, "declared"), ["0:0 7:8 0:0"], "{lines:?}");
    assert_eq!((of(&lines, "broke"), of(&lines, "seen")), (vec![], vec!["65534"]), "{lines:?}");
    assert_eq!((of(&lines, "device"), of(&lines, "given")), (vec!["1"], vec!["1000:1000"]), "{lines:?}");
    assert!(lines.iter().any(|line| line == "out"), "{lines:?}");
    assert_eq!(fs::read_to_string(host.join("of-root")).unwrap(), "kept");
    assert_eq!((owner(&made), owner(&made.join("file"))), ((ROOT, ROOT), (ROOT, ROOT)));
    let lines = said(&cluster, &api, &task, "other", "done=");
    assert_eq!((of(&lines, "user"), of(&lines, "wrote")), (vec!["1000"], vec!["1"]), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == "Read-only").count(), 2, "{lines:?}");
    assert_eq!(of(&lines, "taken"), ["7:8 0:0 Read-only fi"], "{lines:?}");

    // On the machine they are who they are to be, and what they share is as for everybody.
    cluster.wait(&task, "RUNNING");
    assert_eq!((users("written="), users("wrote=")), (vec![ROOT], vec![ROOT + 1000]));
    let instance = cluster.agents().into_keys().next().unwrap();
    let own =
        cluster.data().join("instances").join(instance).join("volumes/tasks").join(task.rsplit('/').next().unwrap());
    assert_eq!((owner(&own.join("both/data")), owner(&own.join("both/data/file"))), ((0, 0), (1000, 1000)));
    assert_eq!(users_of_exec(&cluster, &task), ["0", "100000"]);

    kill_agent(&cluster);
    assert_eq!(cluster.task(&task)["lastStatus"], "RUNNING", "{}", cluster.log());
    assert_eq!(users_of_exec(&cluster, &task), ["0", "100000"]);
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert_eq!(mounts(&cluster), Vec::<String>::new());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Who a command in a task's container is, inside and on the machine.
fn users_of_exec(cluster: &Cluster, task: &str) -> Vec<String> {
    let text = exec(cluster, task, &["sh", "-c", "id -u; read a b c < /proc/self/uid_map; echo $b"]);
    text.split_whitespace().map(str::to_owned).collect()
}

/// Mounts that are there for containers with users of their own alone.
fn mounts(cluster: &Cluster) -> Vec<String> {
    let all = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let key = crate::harness::key(&cluster.data());
    let ours = format!("/run/longshore/{key}/");
    // By where they are: what a container's file system was made of it goes on telling.
    let places = all.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&ours));
    places.filter(|place| place.contains("-user-") || place.contains("/clones/")).map(str::to_owned).collect()
}

/// A task whose containers share processes and IPC, in a network interface of its own: one user namespace for all of it.
#[test]
fn a_task_shares_one_user_namespace_and_its_network_is_its_own() {
    let mut cluster = start(1);
    let api = cluster.api();
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    vpc.rule("AuthorizeSecurityGroupIngress", &group, 80, &group);
    let space = "for kind in user net pid ipc; do echo $kind=$(ls -l /proc/self/ns/$kind | tail -c 13); done; \
                 echo links=$(ls /sys/class/net | sort); ip link set lo down 2> /dev/null && echo broke=1; \
                 echo number=$(cat /proc/sys/net/core/somaxconn); echo shm=$(ls /dev/shm)";
    // Its first process listens at a port that only root may have.
    let serve = format!("{space}; {RANGES}; nc -ll -p 80 -e echo answer & touch /dev/shm/mine; echo done=1; {STAYS}");
    let more = json!({"systemControls": [{"namespace": "net.core.somaxconn", "value": "77"}],
                      "healthCheck": {"command": ["CMD-SHELL", "[ $(id -u) = 0 ]"], "interval": 5, "retries": 3}});
    let main = container(&cluster, "main", &serve, &more);
    let beside = format!(
        "until [ -e /dev/shm/mine ]; do sleep 0.1; done; {space}; \
                          until nc 127.0.0.1 80 < /dev/null | grep -q answer; do sleep 0.1; done; echo done=1; {STAYS}"
    );
    let beside = container(&cluster, "beside", &beside, &json!({}));
    let definition = json!({"family": "web", "networkMode": "awsvpc", "pidMode": "task", "ipcMode": "task",
                            "containerDefinitions": [main, beside]});
    api.ecs("RegisterTaskDefinition", &definition);
    let one = vpc.run(&cluster, "web", &[&group]);
    let lines = [said(&cluster, &api, &one.arn, "main", "done="), said(&cluster, &api, &one.arn, "beside", "done=")];
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for kind in ["user", "net", "pid", "ipc"] {
        let [first, second] = [of(&lines[0], kind), of(&lines[1], kind)];
        assert_eq!(first, second, "{kind}: {lines:?}");
        assert!(!own(kind).ends_with(first[0].trim_start()), "{kind}: {lines:?}");
    }
    assert_eq!((of(&lines[1], "links"), of(&lines[1], "shm")), (vec!["eth0 lo"], vec!["mine"]), "{lines:?}");
    assert_eq!((of(&lines[0], "number"), of(&lines[0], "broke")), (vec!["77"], vec![]), "{lines:?}");
    assert_eq!(of(&lines[0], "ranges"), ["0 0 65535"], "{lines:?}");
    until("its health", || {
        let task = cluster.task(&one.arn);
        let healthy = |c: &Value| c["name"] == "main" && c["healthStatus"] == "HEALTHY";
        task["containers"].as_array().unwrap().iter().any(healthy).then_some(())
    });

    kill_agent(&cluster);
    let two = vpc.run(&cluster, "web", &[&group]);
    said(&cluster, &api, &two.arn, "beside", "done=");
    assert_eq!(asks(&two, &one), Some("answer\n".to_owned()), "{}", cluster.log());
    for task in [&one, &two] {
        api.ecs("StopTask", &json!({"task": task.arn}));
        cluster.wait(&task.arn, "STOPPED");
    }
    assert_eq!(mounts(&cluster), Vec::<String>::new());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// What one task's port 80 says to another's command.
fn asks(task: &Running, other: &Running) -> Option<String> {
    task.inside(&["sh", "-c", &format!("echo ask | busybox nc -w 5 {} 80", other.address)])
}

#[test]
fn what_cannot_be_in_a_user_namespace_is_refused_and_says_what_to_do() {
    let mut cluster = start(1);
    let api = cluster.api();
    let main = |more: &Value| container(&cluster, "main", "echo ran=1", more);
    // Of the one an attribute tells.
    let definition = json!({"family": "privileged", "containerDefinitions": [main(&json!({"privileged": true}))]});
    api.ecs("RegisterTaskDefinition", &definition);
    let answer = api.ecs("RunTask", &json!({"taskDefinition": "privileged"}));
    assert_eq!(answer["failures"][0]["reason"], "ATTRIBUTE", "{answer:#}");
    // proc is a file system that has no idmapped mounts.
    let proc = json!([{"name": "v", "dockerVolumeConfiguration": {"scope": "task", "driver": "local",
                       "driverOpts": {"type": "proc", "device": "proc"}}}]);
    let devices = json!({"linuxParameters": {"devices": [{"hostPath": "/dev/null", "containerPath": "/dev/mine"}]}});
    let none = json!({});
    let rows = [
        ("network", none.clone(), json!({"networkMode": "host"}), "cannot share the host's network namespace"),
        ("pid", none.clone(), json!({"pidMode": "host"}), "cannot share the host PID namespace"),
        ("ipc", none, json!({"ipcMode": "host"}), "cannot share the host IPC namespace"),
        ("devices", devices, json!({}), "devices of the host cannot be used"),
        (
            "volume",
            json!({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}),
            json!({"volumes": proc}),
            "cannot be shown to containers in user namespaces",
        ),
    ];
    for (family, of_container, of_task, why) in rows {
        let task = run(&cluster, &api, family, &[main(&of_container)], &of_task);
        let stopped = cluster.wait(&task, "STOPPED");
        let reason = stopped["containers"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("CannotCreateContainerError: ") && reason.contains(why), "{family}: {stopped:#}");
        assert!(
            family == "volume" || reason.contains("attribute:longshore.capability.userns-remap !exists"),
            "{reason}"
        );
        assert_eq!(stopped["stopCode"], "TaskFailedToStart", "{stopped:#}");
    }
    assert!(api.try_logs("DescribeLogStreams", &json!({"logGroupName": "said"})).is_err(), "one has run");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// A container that is started again finds what it wrote, under its own name; and what a killed agent or containerd leaves half made
/// is made whole or goes.
#[test]
fn users_stay_who_they_are_whatever_dies() {
    let mut cluster = start(1);
    let api = cluster.api();
    let script = "n=0; [ -e /runs ] && read n < /runs; n=$((n+1)); echo $n > /runs; \
                  echo run=$n owner=$(stat -c %u /runs) user=$(id -u) space=$(ls -l /proc/self/ns/user | tail -c 13); \
                  [ $n = 1 ] && { sleep 61; exit 3; }";
    let policy = json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 60}});
    let task = run(
        &cluster,
        &api,
        "again",
        &[container(&cluster, "main", &format!("{script}; {STAYS}"), &policy)],
        &json!({}),
    );
    cluster.wait(&task, "RUNNING");
    // Meanwhile others come and go, and so do those who make them.
    for round in 0..4 {
        let family = format!("short{round}");
        let short = container(&cluster, "main", &format!("{RANGES}; echo user=$(id -u); {STAYS}"), &json!({}));
        let mode = if round % 2 == 0 { "bridge" } else { "none" };
        let arn = run(&cluster, &api, &family, &[short], &json!({"networkMode": mode}));
        if round % 2 == 0 {
            kill_agent(&cluster);
        } else {
            let containerd = cluster.containerd().unwrap();
            Cluster::kill(containerd);
            until("another containerd", || cluster.containerd().filter(|pid| *pid != containerd));
        }
        cluster.wait(&arn, "RUNNING");
        let lines = said(&cluster, &api, &arn, "main", "user=");
        assert_eq!((of(&lines, "user"), of(&lines, "ranges")), (vec!["0"], vec!["0 0 65535"]), "{mode}: {lines:?}");
        api.ecs("StopTask", &json!({"task": arn}));
        cluster.wait(&arn, "STOPPED");
    }
    let lines = said(&cluster, &api, &task, "main", "run=2");
    let told: Vec<&str> = lines.iter().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest).collect();
    assert!(told.len() == 2 && told[0] == told[1] && told[0].starts_with("owner=0 user=0 "), "{lines:?}");
    let left: Vec<String> = mounts(&cluster).into_iter().filter(|line| line.contains("/clones/")).collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(mounts(&cluster).len(), 1, "the task's own: {:?}", mounts(&cluster));
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert_eq!(mounts(&cluster), Vec::<String>::new());
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
