//! What a container has of a network that is not the machine's: each of its users binds each port, as under Docker, unless the
//! definition says otherwise; and there is a loopback, also where there is nothing else.

use crate::{
    api::Api,
    awsvpc::{Running, Vpc},
    fargate::{GVISOR, image_with_program},
    given::Given,
    harness::{Cluster, until},
    sharing::{container, of, run, said},
};
use serde_json::{Value, json};

const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// Listens at a port that only root has on a machine, and asks itself there.
const SERVES: &str = "echo user=$(id -u); (nc -ll -p 80 -e echo answer 2>&1 | while read line; do echo why=$line; done) & \
    n=0; until echo ask | nc -w 2 127.0.0.1 80 2> /dev/null | grep -q answer; do n=$((n+1)); [ $n = 50 ] && break; sleep 0.1; done; \
    echo heard=$(echo ask | nc -w 2 127.0.0.1 80)";
/// Whether it may make a socket for pings that is not raw: Debian's BusyBox has no other.
const PINGS: &str = r#"
    #include <netinet/in.h>
    #include <stdio.h>
    #include <sys/socket.h>
    int main(void) {
        printf("pings=%d\n", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) >= 0);
    }
"#;
const RANGES: &str = "cd /proc/sys/net/ipv4; echo ranges=$(cat ip_unprivileged_port_start ping_group_range)";

/// Runs a task with an interface of its own.
fn run_own(cluster: &Cluster, api: &Api, vpc: &Vpc<'_>, group: &str, family: &str, containers: &[Value]) -> Running {
    let definition = json!({"family": family, "networkMode": "awsvpc", "containerDefinitions": containers});
    api.ecs("RegisterTaskDefinition", &definition);
    vpc.run(cluster, family, &[group])
}

#[test]
fn any_user_binds_any_port_and_what_the_definition_says_wins() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let vpc = Vpc::new(&api, "10.7");
    let group = vpc.group("all");
    let user = json!({"user": "1000", "image": image_with_program(&cluster, "pings", PINGS)});
    let serves = container(&cluster, "main", &format!("{RANGES}; {SERVES}; /more/pings; echo done=1; {STAYS}"), &user);
    let mut tasks = Vec::new();
    for mode in ["bridge", "none", "awsvpc"] {
        let only = std::slice::from_ref(&serves);
        let task = match mode {
            "awsvpc" => run_own(&cluster, &api, &vpc, &group, mode, only).arn,
            _ => run(&cluster, &api, mode, only, &json!({"networkMode": mode})),
        };
        let lines = said(&cluster, &api, &task, "main", "done=");
        let heard = (of(&lines, "user"), of(&lines, "heard"), of(&lines, "pings"), of(&lines, "ranges"));
        assert_eq!(heard, (vec!["1000"], vec!["answer"], vec!["1"], vec!["0 0 2147483647"]), "{mode}: {lines:?}");
        tasks.push(task);
    }

    // One container's word holds for all that share its network, also for those that come later and whatever the agent does.
    let controls = json!({"systemControls": [{"namespace": "net.ipv4.ip_unprivileged_port_start", "value": "81"},
                                             {"namespace": "net.ipv4.ping_group_range", "value": "7 9"}]});
    let first = container(&cluster, "main", &format!("{RANGES}; echo done=1; {STAYS}"), &controls);
    let tell =
        "n=0; while :; do n=$((n+1)); echo round$n=$(cat ip_unprivileged_port_start ping_group_range); sleep 0.5; done";
    let more = json!({"user": "1000", "dependsOn": [{"containerName": "main", "condition": "START"}]});
    let second = container(&cluster, "second", &format!("{SERVES}; {RANGES}; {tell}"), &more);
    let shared = run_own(&cluster, &api, &vpc, &group, "told", &[first, second]);
    let lines = said(&cluster, &api, &shared.arn, "second", "round1=");
    let told = (of(&lines, "heard"), of(&lines, "ranges"), of(&lines, "round1"));
    assert_eq!(told, (vec![""], vec!["81 7 9"], vec!["81 7 9"]), "{lines:?}");
    assert!(of(&lines, "why")[0].contains("Permission denied"), "{lines:?}");
    // An instance has two interfaces for tasks.
    let before = tasks.pop().unwrap();
    api.ecs("StopTask", &json!({"task": before}));
    cluster.wait(&before, "STOPPED");
    cluster.kill_its_agent();
    // Once another one has an interface, the agent has looked at all of them.
    tasks.push(vpc.run(&cluster, "awsvpc", &[&group]).arn);
    let rounds = |lines: &[String]| lines.iter().filter(|line| line.starts_with("round")).count();
    let seen = rounds(&said(&cluster, &api, &shared.arn, "second", "round1="));
    let lines = said(&cluster, &api, &shared.arn, "second", &format!("round{}=", seen + 3));
    assert!(lines.iter().filter(|line| line.starts_with("round")).all(|line| line.ends_with("=81 7 9")), "{lines:?}");

    tasks.push(shared.arn);
    for task in &tasks {
        api.ecs("StopTask", &json!({"task": task}));
    }
    for task in &tasks {
        cluster.wait(task, "STOPPED");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

const POOL: &str = "sandboxed";

/// gVisor takes the sockets of the network that it is given, and so what holds in that.
#[test]
fn under_gvisor_too_any_user_binds_any_port_and_there_is_a_loopback() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    api.ecs("CreateCluster", &json!({"clusterName": POOL}));
    let mut machine =
        Given::start_in(&cluster, POOL, &[&GVISOR[..], &["--insecure-registry", &cluster.registry()]].concat());
    let main = container(&cluster, "main", &format!("{SERVES}; echo done=1; {STAYS}"), &json!({"user": "1000"}));
    let mut deaf = main.clone();
    deaf["name"] = json!("deaf");
    deaf["disableNetworking"] = json!(true);
    let mut tasks = Vec::new();
    for (mode, containers) in [("none", vec![main.clone()]), ("bridge", vec![main, deaf])] {
        let definition = json!({"family": mode, "networkMode": mode, "containerDefinitions": containers});
        api.ecs("RegisterTaskDefinition", &definition);
        let answer = api.ecs("RunTask", &json!({"cluster": POOL, "taskDefinition": mode}));
        let task = answer["tasks"][0]["taskArn"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned();
        for container in &containers {
            let name = container["name"].as_str().unwrap();
            let lines = said(&cluster, &api, &task, name, "done=");
            let heard = (of(&lines, "user"), of(&lines, "heard"));
            assert_eq!(heard, (vec!["1000"], vec!["answer"]), "{mode} {name}: {lines:?}\n{}", machine.log());
        }
        tasks.push(task);
    }
    for task in &tasks {
        api.ecs("StopTask", &json!({"cluster": POOL, "task": task}));
    }
    let own = machine.path("run").display().to_string();
    until("nothing is left of their networks", || {
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
        let left = mounts.lines().any(|line| line.starts_with("nsfs ") && line.contains(&own));
        (machine.sandboxes().is_empty() && !left).then_some(())
    });
    machine.let_go();
}
