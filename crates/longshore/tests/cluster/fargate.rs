//! Tasks of launch type FARGATE on a real machine: that they run as they were asked to, under gVisor and under runc, and what
//! they can not see and reach.

use crate::{
    api::Api,
    awsvpc::{Running, Vpc},
    given::Given,
    harness::{Cluster, until},
};
use serde_json::{Value, json};

/// An agent's flags. What it takes by itself depends on the version that is installed.
pub(crate) const GVISOR: [&str; 2] = ["--runtime", "runsc"];
const RUNC: [&str; 2] = ["--runtime", "runc"];
pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole";

pub(crate) fn container(cluster: &Cluster, name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": cluster.image, "stopTimeout": 2, "command": ["sh", "-c", script],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "fargate", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "f"}},
    })
}

/// Registers a family of a quarter of a core and 512 MiB.
fn define(api: &Api, family: &str, containers: &[Value]) {
    define_more(api, family, containers, &json!({}));
}

/// With more members.
pub(crate) fn define_more(api: &Api, family: &str, containers: &[Value], more: &Value) {
    let mut definition = json!({
        "family": family, "networkMode": "awsvpc", "cpu": "256", "memory": "512", "executionRoleArn": ROLE,
        "requiresCompatibilities": ["FARGATE"], "containerDefinitions": containers,
    });
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.ecs("RegisterTaskDefinition", &definition);
}

/// Starts a task and answers its ARN; its first container may be told more by its environment.
pub(crate) fn run(api: &Api, vpc: &Vpc<'_>, family: &str, groups: &[&str], environment: &[(&str, &str)]) -> String {
    let environment: Vec<_> = environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let asked = json!({
        "taskDefinition": family, "launchType": "FARGATE", "networkConfiguration": vpc.configuration(groups),
        "overrides": {"containerOverrides": [{"name": "main", "environment": environment}]},
    });
    let answer = api.ecs("RunTask", &asked);
    assert_eq!(answer["failures"], json!([]), "{answer:#}");
    answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

/// What the tasks' containers of that name have printed, once it holds a line.
pub(crate) fn printed(api: &Api, task: &str, container: &str, line: &str) -> String {
    let stream = format!("f/{container}/{}", task.rsplit('/').next().unwrap());
    until(&format!("{line:?} in {stream}"), || {
        let asked = json!({"logGroupName": "fargate", "logStreamNames": [stream]});
        // The stream is there once something was printed.
        let answer = api.try_logs("FilterLogEvents", &asked).ok()?;
        let lines =
            answer["events"].as_array()?.iter().map(|event| format!("{}\n", event["message"].as_str().unwrap()));
        let text: String = lines.collect();
        text.lines().any(|told| told == line).then_some(text)
    })
}

pub(crate) fn log_group(api: &Api) {
    api.logs("CreateLogGroup", &json!({"logGroupName": "fargate"}));
}

pub(crate) fn nothing_left(machine: &Given<'_>, tasks: &[String]) {
    let mut left = Vec::new();
    until("nothing is left of the tasks", || {
        left = machine.left_of_tasks(tasks);
        left.is_empty().then_some(())
    });
}

/// A task of two containers that share a network runs, tells, is found and ends with its code.
fn runs_under(runtime: &str, flags: &[&str], kernel: impl Fn(&str) -> bool) {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut machine = Given::start(&cluster, flags);
    let instance = machine.describe(&api).unwrap();
    let attribute = json!({"name": "longshore.runtime", "value": runtime});
    assert!(instance["attributes"].as_array().unwrap().contains(&attribute), "{instance:#}");
    log_group(&api);
    let script = "echo kernel=$(busybox uname -r); echo $AWS_EXECUTION_ENV; \
        until test \"$(busybox wget -q -O - http://127.0.0.1:8000/file)\" = beside; do busybox sleep 0.2; done; \
        until test -e /shared/file; do busybox sleep 0.2; done; echo shared=$(cat /shared/file) $(ls /shared); \
        echo declared=$(cat /more/data/file) $(busybox stat -c %u:%g:%a /more/data /more/own); \
        for at in / /more/data /more/own; do (echo x > $at/mine) 2> /dev/null && echo wrote=$at; done; \
        size() { set -- $(busybox df -k $1 | busybox tail -n 1); echo $2; }; \
        for at in /more/data /more/own; do test $(size $at) = $(size /shared) && echo on-disk=$at; done; \
        echo met; exit 7";
    let aside = "echo beside > /shared/file; exec busybox httpd -f -p 8000 -h /shared";
    let mut aside = container(&cluster, "aside", aside);
    aside["essential"] = json!(false);
    // Volumes on the task's disk: one of the definition, one that is declared by the image and one by the other container's.
    let more = cluster.path("more");
    for folder in ["data", "own"] {
        std::fs::create_dir_all(more.join(folder)).unwrap();
        std::fs::write(more.join(folder).join("file"), "image").unwrap();
    }
    std::os::unix::fs::chown(more.join("data"), Some(7), Some(8)).unwrap();
    aside["image"] = json!(cluster.image_declaring("data", &more, &["/more/data"]));
    let mut main = container(&cluster, "main", script);
    main["image"] = json!(cluster.image_declaring("own", &more, &["/more/own"]));
    main["readonlyRootFilesystem"] = json!(true);
    main["volumesFrom"] = json!([{"sourceContainer": "aside", "readOnly": true}]);
    for container in [&mut main, &mut aside] {
        container["mountPoints"] = json!([{"sourceVolume": "shared", "containerPath": "/shared"}]);
    }
    define_more(&api, "job", &[main, aside], &json!({"volumes": [{"name": "shared"}]}));
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    let task = run(&api, &vpc, "job", &[&group], &[]);
    let stopped = cluster.wait(&task, "STOPPED");
    let containers = stopped["containers"].as_array().unwrap();
    let main = containers.iter().find(|container| container["name"] == "main").unwrap();
    assert_eq!(main["exitCode"], 7, "{stopped:#}\n{}", machine.log());
    assert_eq!((&stopped["launchType"], &stopped["platformVersion"]), (&json!("FARGATE"), &json!("1.4.0")));
    assert_eq!(stopped.get("containerInstanceArn"), None, "{stopped:#}");
    let address = Running::of(&stopped).address;
    assert!(address.starts_with("10.7."), "{address}");
    assert_eq!(main["networkInterfaces"][0]["privateIpv4Address"], json!(address));
    let told = printed(&api, &task, "main", "met");
    let of_kernel = told.lines().find_map(|line| line.strip_prefix("kernel=")).unwrap_or_default();
    assert!(kernel(of_kernel), "{told}");
    assert!(told.contains("\nAWS_ECS_FARGATE\n") && told.contains("\nshared=beside file\n"), "{told}");
    assert!(told.contains("\ndeclared=image 7:8:755 0:0:755\nwrote=/more/own\n"), "{told}");
    assert!(told.contains("\non-disk=/more/data\non-disk=/more/own\n"), "{told}");
    nothing_left(&machine, &[task]);
    machine.let_go();
}

#[test]
fn dev_gives_fargate_a_machine_that_no_cluster_shows() {
    let cluster = Cluster::start_with(1, |_| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())]);
    let api = cluster.api();
    log_group(&api);
    define(&api, "job", &[container(&cluster, "main", "echo kernel=$(busybox uname -r); echo here; exit 5")]);
    let subnets = api.ec2("DescribeSubnets", &json!({}))["Subnets"].clone();
    let subnets: Vec<_> = subnets.as_array().unwrap().iter().map(|subnet| subnet["SubnetId"].clone()).collect();
    let configuration = json!({"awsvpcConfiguration": {"subnets": subnets}});
    let asked = json!({"taskDefinition": "job", "launchType": "FARGATE", "networkConfiguration": configuration});
    // Until its agent has joined there is no room.
    let task = until("room on Fargate", || {
        let answer = api.ecs("RunTask", &asked);
        answer["tasks"][0]["taskArn"].as_str().map(str::to_owned)
    });
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 5, "{stopped:#}\n{}", cluster.log());
    let told = printed(&api, &task, "main", "here");
    let own = format!("kernel={}\n", own_kernel());
    // gVisor, where nobody says what else and it does not break programs.
    let gvisor = runtime::Gvisor::installed();
    let has_own_kernel = gvisor == runtime::Gvisor::Fine;
    assert!(told.starts_with("kernel=") && told.starts_with(&own) != has_own_kernel, "{gvisor:?}: {told}");
    let warned = cluster.log().matches("apt-get install -t bookworm-backports runsc").count();
    assert_eq!(warned, usize::from(gvisor.fault().is_some()), "{gvisor:?}");
    assert_eq!(api.ecs("ListContainerInstances", &json!({}))["containerInstanceArns"].as_array().unwrap().len(), 1);
}

fn own_kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

#[test]
fn a_task_of_fargate_runs_under_gvisor_where_it_is_installed() {
    runs_under("runsc", &GVISOR, |kernel| !kernel.is_empty() && kernel != own_kernel());
}

#[test]
fn a_task_of_fargate_runs_under_runc_where_that_is_asked_for() {
    runs_under("runc", &RUNC, |kernel| kernel == own_kernel());
}

/// What the nosy task tries. What it says with `CAN` is something that it must not be able to do.
const NOSY: &str = "
    exec 2>&1
    m=$((MARK + 1))
    for p in /proc/[0-9]*/cmdline; do
        while read -r line || test -n \"$line\"; do
            case \"$line\" in *$m*) echo 'CAN processes of the machine';; *MARK*) echo own-process;; esac
        done < $p
    done
    kill -0 $OUTSIDE && echo 'CAN signal to a process of the machine'
    for p in $OUTSIDE $OTHERS; do
        cat /proc/$p/mem > /dev/null && echo 'CAN memory of a process of the machine'
        echo 1 > /proc/$p/mem && echo 'CAN write to a process of the machine'
    done
    /more/trace $OUTSIDE $OTHERS
    echo kernel=$(busybox uname -r)
    busybox dmesg
    mkdir -p /m
    mount -t tmpfs none /m && echo 'CAN mount'
    mount -t proc none /m && echo 'CAN mount of proc'
    busybox mknod /disk b 254 0 && cat /disk > /dev/null && echo 'CAN disk of the machine'
    ping -c1 -W1 127.0.0.1 && echo raw-socket
    test $(busybox head -c 1 /proc/kcore | busybox wc -c) = 0 || echo 'CAN memory of the machine'
    echo 1 > /proc/sys/kernel/panic && echo 'CAN kernel parameter'
    for f in $FILES; do test -e $f && echo \"CAN see $f\"; done
    ask() { echo ask | nc -w 3 $1 $2; }
    test \"$(ask $OPEN 80)\" = answer && echo open-task
    test \"$(ask $CLOSED 80)\" = answer && echo 'CAN task that lets nobody in'
    get() { busybox timeout 5 busybox wget -q -O - $1; }
    get http://169.254.169.254/latest/meta-data/instance-id && echo 'CAN metadata of the instance'
    get http://$NODE:51678/v1/metadata && echo 'CAN introspection of the agent'
    get $ECS_CONTAINER_METADATA_URI_V4/task | grep -q TaskARN && echo own-metadata
    get http://169.254.170.2/v4/0123456789/task && echo 'CAN metadata of others'
    echo the-end
";

/// Tries to trace the processes of these numbers in all the ways there are, and first, to know that it can, one of its own.
const TRACE: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/ptrace.h>
    #include <sys/uio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int count, char **words) {
        setbuf(stdout, 0);
        pid_t own = fork();
        if (own == 0) for (;;) pause();
        if (ptrace(PTRACE_ATTACH, own, 0, 0) == 0 && waitpid(own, 0, 0) == own) puts("own-traced");
        kill(own, SIGKILL);
        for (int i = 1; i < count; i++) {
            pid_t pid = atoi(words[i]);
            char byte;
            struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
            if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) puts("CAN attach to a process of others");
            if (errno != ESRCH && errno != EPERM) printf("CAN not tell: %s\n", strerror(errno));
            if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) puts("CAN seize a process of others");
            if (process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0) puts("CAN read a process of others");
            if (errno == EFAULT) puts("CAN reach the memory of a process of others");
        }
        puts("traces-tried");
    }
"#;

/// The usual image and the program that tries to trace.
fn image_that_traces(cluster: &Cluster) -> String {
    image_with_program(cluster, "trace", TRACE)
}

/// The usual image and a program in C.
pub(crate) fn image_with_program(cluster: &Cluster, name: &str, text: &str) -> String {
    let folder = cluster.path("more");
    std::fs::create_dir_all(&folder).unwrap();
    let source = cluster.path("program.c");
    std::fs::write(&source, text).unwrap();
    let built = std::process::Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .args([folder.join(name), source])
        .output()
        .expect("gcc is missing: scripts/setup test");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    cluster.image_with(&folder)
}

#[test]
fn a_task_of_fargate_sees_and_reaches_nothing_that_is_not_its_own_under_gvisor() {
    let told = sees_and_reaches_its_own(&GVISOR);
    assert!(!told.contains(&own_kernel()) && !told.contains("raw-socket"), "{told}");
    assert!(told.contains("gVisor"), "its own kernel's messages are shown: {told}");
}

#[test]
fn a_task_of_fargate_sees_and_reaches_nothing_that_is_not_its_own_under_runc() {
    sees_and_reaches_its_own(&RUNC);
}

/// Answers what it told.
fn sees_and_reaches_its_own(runtime: &[&str; 2]) -> String {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    // The machine has metadata of its own, as a local instance has, and its own processes may read it.
    let of_instance = cluster.agents().into_keys().next().unwrap();
    let facts = cluster.instance_metadata(&of_instance);
    let mut machine =
        Given::start(&cluster, &[runtime[0], runtime[1], "--instance-metadata", &facts.display().to_string()]);
    let told = machine.on_it(&["busybox", "wget", "-qO-", "http://169.254.169.254/latest/meta-data/instance-id"]);
    assert_eq!(told, of_instance);
    log_group(&api);
    let serve = "trap exit TERM; nc -ll -p 80 -e echo answer & echo up; wait";
    define(&api, "web", &[container(&cluster, "main", serve)]);
    let mark = 1_000_000 + std::process::id();
    let script = NOSY.replace("MARK", &(mark - 1).to_string());
    let mut nosy = container(&cluster, "main", &script);
    nosy["image"] = json!(image_that_traces(&cluster));
    define(&api, "nosy", &[nosy]);
    let vpc = Vpc::new(&api, "10.7");
    let [nosy, open, closed] = ["nosy", "open", "closed"].map(|name| vpc.group(name));
    vpc.rule("AuthorizeSecurityGroupIngress", &open, 80, &nosy);
    let servers = [&open, &closed].map(|group| run(&api, &vpc, "web", &[group], &[]));
    let [at_open, at_closed] = servers.clone().map(|task| {
        let address = Running::of(&cluster.wait(&task, "RUNNING")).address;
        printed(&api, &task, "main", "up");
        address
    });
    // Bound, so that it ends with the test.
    let mut outside = std::process::Command::new("sleep");
    outside.arg(mark.to_string());
    let mut outside = testkit::spawn_bound(outside, 9).unwrap();
    let files = ["data/identity/joined.json", "data/containerd", "run/containerd/containerd.sock", "agent.log"];
    let mut files: Vec<_> = files.iter().map(|name| machine.path(name)).collect();
    files.extend(["/run/containerd", "/run/netns"].map(Into::into));
    for file in &files {
        assert!(file.exists(), "{} is looked for in vain", file.display());
    }
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let others: Vec<_> = servers.iter().flat_map(|task| machine.processes_of(task)).collect();
    assert!(others.len() >= 2, "{others:?}");
    let environment = [
        ("OUTSIDE", outside.id().to_string()),
        ("OTHERS", others.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        ("FILES", files.join(" ")),
        ("OPEN", at_open),
        ("CLOSED", at_closed),
        ("NODE", crate::given::ADDRESS.to_owned()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let task = run(&api, &vpc, "nosy", &[&nosy], &environment);
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}");
    let told = printed(&api, &task, "main", "the-end");
    outside.kill().unwrap();
    outside.wait().unwrap();
    let could: Vec<_> = told.lines().filter(|line| line.contains("CAN ")).collect();
    assert_eq!(could, Vec::<&str>::new(), "{told}");
    assert!(!told.contains("not found"), "something was not tried: {told}");
    for line in ["own-process", "own-traced", "traces-tried", "open-task", "own-metadata"] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    for server in &servers {
        api.ecs("StopTask", &json!({"task": server}));
        cluster.wait(server, "STOPPED");
    }
    nothing_left(&machine, &[servers.as_slice(), &[task]].concat());
    machine.let_go();
    told
}

/// As machines are given to Fargate: whatever makes containers then, it does not break programs.
#[test]
fn an_ordinary_server_on_fargate_is_read_whole_by_an_ordinary_client() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut machine = Given::start(&cluster, &[]);
    log_group(&api);
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    vpc.rule("AuthorizeSecurityGroupIngress", &group, 80, &group);
    let serve = "trap exit TERM; busybox mkdir /srv; busybox dd if=/dev/urandom of=/srv/big bs=1M count=30; \
        busybox httpd -p 80 -h /srv && echo sum=$(busybox md5sum < /srv/big); echo up; while :; do busybox sleep 0.2; done";
    define(&api, "serves", &[container(&cluster, "main", serve)]);
    let fetch = "busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4 | busybox grep -o '\"DockerName\"'; \
        busybox wget -q -O /got http://$AT/big; echo code=$? sum=$(busybox md5sum < /got); echo fetched; exit 7";
    define(&api, "fetches", &[container(&cluster, "main", fetch)]);
    let server = run(&api, &vpc, "serves", &[&group], &[]);
    let address = Running::of(&cluster.wait(&server, "RUNNING")).address;
    let told = printed(&api, &server, "main", "up");
    let sum = told.lines().find(|line| line.starts_with("sum=")).unwrap().to_owned();
    let client = run(&api, &vpc, "fetches", &[&group], &[("AT", &address)]);
    let stopped = cluster.wait(&client, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 7, "{stopped:#}\n{}", machine.log());
    let told = printed(&api, &client, "main", "fetched");
    assert!(told.contains(&format!("code=0 {sum}\n")), "{sum}: {told}");
    assert!(told.contains("\"DockerName\""), "its metadata: {told}");
    api.ecs("StopTask", &json!({"task": server}));
    cluster.wait(&server, "STOPPED");
    nothing_left(&machine, &[server, client]);
    machine.let_go();
}

#[test]
fn a_task_of_fargate_has_what_it_asked_for_and_is_checked_and_stopped() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut machine = Given::start(&cluster, &GVISOR);
    log_group(&api);
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    let forever = "trap 'echo told; exit 5' TERM; busybox grep MemTotal /proc/meminfo; echo up; while :; do busybox sleep 0.2; done";
    let mut main = container(&cluster, "main", forever);
    // Good at first, bad from the third time on.
    let check = "n=$(cat /n 2>/dev/null); n=$((n+1)); echo $n > /n; test $n -lt 3";
    main["healthCheck"] = json!({"command": ["CMD-SHELL", check], "interval": 5, "timeout": 5, "retries": 1});
    let mut deaf = container(&cluster, "deaf", "trap '' TERM; echo up; while :; do busybox sleep 0.2; done");
    deaf["essential"] = json!(false);
    define(&api, "kept", &[main, deaf]);
    let kept = run(&api, &vpc, "kept", &[&group], &[]);
    cluster.wait(&kept, "RUNNING");
    // A quarter of a core, in microseconds of a tenth of a second, and 512 MiB, around all of the task.
    let quota = machine.task_group(&kept, "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert_eq!(quota.split(' ').next(), Some("25000"));
    let memory = machine.task_group(&kept, "memory", ["memory.limit_in_bytes", "memory.max"]);
    assert_eq!(memory, (512 << 20).to_string());
    assert_eq!(machine.sandboxes().len(), 2);
    for health in ["HEALTHY", "UNHEALTHY"] {
        until(health, || (cluster.task(&kept)["healthStatus"] == health).then_some(()));
    }
    printed(&api, &kept, "deaf", "up");
    let shown = printed(&api, &kept, "main", "up");
    let shown: Vec<_> = shown.lines().find(|line| line.starts_with("MemTotal")).unwrap().split_whitespace().collect();
    assert_eq!(shown, ["MemTotal:", "524288", "kB"], "the task's memory, not the machine's");
    api.ecs("StopTask", &json!({"task": kept}));
    let stopped = cluster.wait(&kept, "STOPPED");
    let code = |name: &str| {
        let mut all = stopped["containers"].as_array().unwrap().iter();
        all.find(|container| container["name"] == name).unwrap()["exitCode"].clone()
    };
    assert_eq!((code("main"), code("deaf")), (json!(5), json!(137)), "{stopped:#}");
    printed(&api, &kept, "main", "told");

    let mut eats = container(&cluster, "main", "busybox dd if=/dev/zero of=/dev/null bs=200M count=1");
    eats["memory"] = json!(96);
    define(&api, "eats", &[eats]);
    let eats = run(&api, &vpc, "eats", &[&group], &[]);
    let stopped = cluster.wait(&eats, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 137, "{stopped:#}");
    let reason = stopped["containers"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("OutOfMemoryError: Container killed due to memory usage"), "{stopped:#}");
    nothing_left(&machine, &[kept, eats]);
    machine.let_go();
}

#[test]
fn an_image_is_on_the_machine_before_a_task_needs_it() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut lost = container(&cluster, "main", "true");
    lost["image"] = json!(cluster.image.replace("busybox:1", "busybox:lost"));
    define(&api, "lost", &[lost]);
    let mut machine = Given::start(&cluster, &[]);
    let said = until("word of the one that is nowhere", || {
        machine.log().lines().find(|line| line.contains("could not be fetched ahead")).map(str::to_owned)
    });
    assert!(said.contains("not found"), "{said}");
    assert_eq!(machine.images(), Vec::<String>::new());
    // Nobody is kept from the rest by that.
    define(&api, "job", &[container(&cluster, "main", "true")]);
    until("the image", || (machine.images() == [cluster.image.as_str()]).then_some(()));
    machine.let_go();
}

#[test]
fn whoever_is_killed_tasks_of_fargate_go_on_or_end_and_leave_nothing() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let mut machine = Given::start(&cluster, &GVISOR);
    log_group(&api);
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    let waits = "trap 'exit 6' TERM; echo up; while :; do busybox sleep 0.2; done";
    define(&api, "waits", &[container(&cluster, "main", waits)]);
    let tasks: Vec<_> = (0..2).map(|_| run(&api, &vpc, "waits", &[&group], &[])).collect();
    for task in &tasks {
        cluster.wait(task, "RUNNING");
        printed(&api, task, "main", "up");
    }
    let before = machine.sandboxes();
    assert_eq!(before.len(), 2);
    // containerd and agent: sandboxes run on, and those who come back know them.
    Cluster::kill(machine.containerd().unwrap());
    machine.kill_agent();
    machine.launch();
    until("containerd again", || machine.containerd());
    let last = |task: &String| cluster.task(task)["lastStatus"].clone();
    // What it is told comes to it only when all work again.
    api.ecs("StopTask", &json!({"task": tasks[0]}));
    let stopped = cluster.wait(&tasks[0], "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 6, "{stopped:#}\n{}", machine.log());
    assert_eq!(last(&tasks[1]), "RUNNING");
    let after = machine.sandboxes();
    assert!(after.len() == 1 && before.contains(&after[0]), "{before:?} {after:?}");
    // The sandbox: its task ends.
    Cluster::kill(after[0].0);
    let stopped = cluster.wait(&tasks[1], "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 137, "{stopped:#}\n{}", machine.log());
    nothing_left(&machine, &tasks);
    machine.let_go();
}

#[test]
fn local_instances_use_the_runtime_that_dev_was_told() {
    let gvisor = |_: &std::path::Path| vec![("LONGSHORE_RUNTIME".to_owned(), "runsc".to_owned())];
    let cluster = Cluster::start_with(1, gvisor);
    let api = cluster.api();
    // Sees the check begin and end, and then tells by its code which kernel it is on. The pattern does not match itself.
    let script = "hangs() { busybox ps | grep -q 's[l]eep 98[7]'; }; until hangs; do busybox sleep 0.2; done; \
        while hangs; do busybox sleep 0.2; done; test $(busybox uname -r) = 4.4.0 && exit 9; exit 8";
    let check = json!({"command": ["CMD-SHELL", "sleep 987; true"], "interval": 5, "timeout": 3, "retries": 1});
    let container = json!({"name": "main", "image": cluster.image, "memory": 96, "stopTimeout": 2,
                           "command": ["sh", "-c", script], "healthCheck": check});
    api.ecs("RegisterTaskDefinition", &json!({"family": "checked", "containerDefinitions": [container]}));
    let task = cluster.run("checked", 1).remove(0);
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 9, "{stopped:#}");
    until("nothing is left", || cluster.left_of_tasks().is_empty().then_some(()));
}

/// What a new socket is like: all of it the kernel takes from the parameters of the socket's network.
const FELT: &str = r#"
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <stdio.h>
    #include <sys/socket.h>
    int main(void) {
        int at = socket(AF_INET, SOCK_STREAM, 0), keepalive = -1, ttl = -1;
        socklen_t size = sizeof(int);
        getsockopt(at, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive, &size);
        getsockopt(at, IPPROTO_IP, IP_TTL, &ttl, &size);
        struct sockaddr_in own = {.sin_family = AF_INET};
        bind(at, (struct sockaddr *)&own, sizeof(own));
        size = sizeof(own);
        getsockname(at, (struct sockaddr *)&own, &size);
        printf("keepalive=%d ttl=%d port=%d\n", keepalive, ttl, ntohs(own.sin_port));
    }
"#;

/// What a task says of its network its sockets feel, whichever container says it; and what they would not feel is refused.
fn feels_its_parameters(flags: &[&str], others: Result<(), &str>) {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let image = image_with_program(&cluster, "felt", FELT);
    let mut machine = Given::start(&cluster, flags);
    log_group(&api);
    let controls = |pairs: &[(&str, &str)]| {
        let one = |(name, value): &(&str, &str)| json!({"namespace": name, "value": value});
        Value::Array(pairs.iter().map(one).collect())
    };
    let mut main = container(&cluster, "main", "/more/felt; echo told; exec sleep 1000");
    main["systemControls"] =
        controls(&[("net.ipv4.tcp_keepalive_time", "55"), ("net.ipv4.ip_local_port_range", "41000 41001")]);
    let mut aside = container(&cluster, "aside", "/more/felt; echo told; exec sleep 1000");
    aside["systemControls"] = controls(&[("net.ipv4.ip_default_ttl", "33")]);
    aside["dependsOn"] = json!([{"containerName": "main", "condition": "START"}]);
    for container in [&mut main, &mut aside] {
        container["image"] = json!(image);
    }
    define(&api, "controlled", &[main, aside]);
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    let task = run(&api, &vpc, "controlled", &[&group], &[]);
    // What main says is there when it starts, and what the other one says when that does.
    let in_range = |told: &str| told.contains(" port=41000\n") || told.contains(" port=41001\n");
    let told = printed(&api, &task, "main", "told");
    assert!(told.starts_with("keepalive=55 ") && in_range(&told), "{told}");
    let told = printed(&api, &task, "aside", "told");
    assert!(told.starts_with("keepalive=55 ttl=33 ") && in_range(&told), "{told}");
    for (family, name, value) in
        [("many", "net.core.somaxconn", "4000"), ("ports", "net.ipv4.ip_unprivileged_port_start", "81")]
    {
        let mut other = container(&cluster, "main", "exit 0");
        other["systemControls"] = controls(&[(name, value)]);
        define(&api, family, &[other]);
        let task = run(&api, &vpc, family, &[&group], &[]);
        let stopped = cluster.wait(&task, "STOPPED");
        let container = &stopped["containers"][0];
        match others {
            Ok(()) => assert_eq!(container["exitCode"], 0, "{stopped:#}"),
            Err(why) => {
                let reason = container["reason"].as_str().unwrap_or_default();
                assert!(reason.contains(&format!("{name}={value} {why}")), "{stopped:#}");
            }
        }
    }
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    nothing_left(&machine, &[task]);
    machine.let_go();
}

#[test]
fn a_task_of_fargate_feels_the_parameters_of_its_network_under_gvisor() {
    feels_its_parameters(&GVISOR, Err("cannot be had under the runtime runsc"));
}

#[test]
fn a_task_of_fargate_feels_the_parameters_of_its_network_under_runc() {
    feels_its_parameters(&RUNC, Ok(()));
}
