//! Services on real containers: what dies is replaced, also on other instances, and a deployment is not felt by who asks.

use crate::{
    api::Api,
    harness::{Cluster, key, until},
    partition::nft,
    storm::finish,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Longest a request may take: a container that is being stopped says nothing any more.
const ANSWER: Duration = Duration::from_secs(2);

fn service(api: &Api, name: &str) -> Value {
    api.ecs("DescribeServices", &json!({ "services": [name] }))["services"][0].clone()
}

/// Its tasks that are to run, as described.
fn tasks(api: &Api, name: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let listed = api.ecs("ListTasks", &json!({ "serviceName": name }));
    let arns = listed["taskArns"].as_array().cloned().unwrap_or_default();
    if !arns.is_empty() {
        all.extend(api.ecs("DescribeTasks", &json!({ "tasks": arns }))["tasks"].as_array().cloned().unwrap());
    }
    all
}

/// Waits until so many of its tasks run, none of them one of `not`.
fn running(api: &Api, name: &str, count: usize, not: &BTreeSet<String>) -> Vec<Value> {
    until(&format!("{count} new tasks of {name}"), || {
        let run: Vec<_> = tasks(api, name).into_iter().filter(|task| task["lastStatus"] == "RUNNING").collect();
        let fresh = run.iter().all(|task| !not.contains(task["taskArn"].as_str().unwrap()));
        (run.len() == count && fresh).then_some(run)
    })
}

fn arns(tasks: &[Value]) -> BTreeSet<String> {
    tasks.iter().map(|task| task["taskArn"].as_str().unwrap().to_owned()).collect()
}

fn instances_of(tasks: &[Value]) -> BTreeSet<String> {
    tasks.iter().map(|task| task["containerInstanceArn"].as_str().unwrap().to_owned()).collect()
}

fn create(api: &Api, name: &str, family: &str, count: u32) {
    api.ecs("CreateService", &json!({"serviceName": name, "taskDefinition": family, "desiredCount": count}));
}

fn delete(api: &Api, name: &str) {
    api.ecs("DeleteService", &json!({"service": name, "force": true}));
    until(&format!("the end of {name}"), || (service(api, name)["status"] == "INACTIVE").then_some(()));
    until("its last task's stop", || tasks(api, name).is_empty().then_some(()));
}

/// EC2 id and address of every instance, by container instance.
fn addresses(cluster: &Cluster, api: &Api) -> BTreeMap<String, (String, String)> {
    let listed = api.ecs("ListContainerInstances", &json!({}));
    let shown =
        api.ecs("DescribeContainerInstances", &json!({ "containerInstances": listed["containerInstanceArns"] }));
    let out = cluster.client(
        &crate::harness::python(),
        &["-m", "awscli", "ec2", "describe-instances", "--output", "json", "--query", "Reservations[].Instances[]"],
    );
    let machines: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    let address = |id: &Value| {
        let machine = machines.iter().find(|m| m["InstanceId"] == *id).unwrap();
        machine["PrivateIpAddress"].as_str().unwrap().to_owned()
    };
    let all = shown["containerInstances"].as_array().unwrap().iter();
    all.map(|i| {
        let id = &i["ec2InstanceId"];
        (i["containerInstanceArn"].as_str().unwrap().to_owned(), (id.as_str().unwrap().to_owned(), address(id)))
    })
    .collect()
}

/// One instance neither hears nor is heard, until this is dropped.
struct Silenced;

impl Silenced {
    fn new(cluster: &Cluster, address: &str) -> Self {
        let bridge = format!("lsb-{}", key(&cluster.data()));
        nft(&format!(
            "table inet silenced {{
                chain in {{ type filter hook input priority -300; iifname \"{bridge}\" ip saddr {address} drop; }}
                chain out {{ type filter hook output priority -300; oifname \"{bridge}\" ip daddr {address} drop; }}
            }}"
        ));
        Self
    }
}

impl Drop for Silenced {
    fn drop(&mut self) {
        nft("delete table inet silenced");
    }
}

#[test]
fn what_dies_is_replaced_and_what_lives_is_left_alone() {
    let mut cluster = Cluster::start(3);
    let api = cluster.api();
    cluster.define("stays", "sleep 10000");
    cluster.define("ends", "exit 0");
    create(&api, "web", "stays", 3);
    let first = running(&api, "web", 3, &BTreeSet::new());
    assert_eq!(instances_of(&first).len(), 3, "one in each zone");

    // Agents and the server die and come back: no task is touched.
    let ran = |tasks: &[Value]| -> BTreeSet<String> {
        tasks.iter().map(|task| task["containers"][0]["runtimeId"].as_str().unwrap().to_owned()).collect()
    };
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    cluster.kill_server();
    cluster.launch_server();
    cluster.until_connected(&api, 3);
    // What is recorded may be from before. A task of each of them is not.
    let each = json!({"taskDefinition": "ends", "count": 3, "placementConstraints": [{"type": "distinctInstance"}]});
    let ended = api.ecs("RunTask", &each)["tasks"].as_array().unwrap().clone();
    assert_eq!(ended.len(), 3);
    for task in ended {
        cluster.wait(task["taskArn"].as_str().unwrap(), "STOPPED");
    }
    assert_eq!(ran(&running(&api, "web", 3, &BTreeSet::new())), ran(&first));

    // A shim dies, and its container with it.
    let shim = cluster.shims().into_iter().find(|shim| ran(&first).contains(&shim.container)).unwrap();
    Cluster::kill(shim.pid);
    let second = until("its replacement", || {
        let run: Vec<_> = tasks(&api, "web").into_iter().filter(|task| task["lastStatus"] == "RUNNING").collect();
        (run.len() == 3 && !ran(&run).contains(&shim.container)).then_some(run)
    });
    assert_eq!(arns(&second).intersection(&arns(&first)).count(), 2, "the two others are the same");
    assert_eq!(instances_of(&second).len(), 3, "it came to where one was missing");

    // An instance is gone for good: its task is replaced elsewhere.
    let addresses = addresses(&cluster, &api);
    let gone = second[0]["containerInstanceArn"].as_str().unwrap().to_owned();
    cluster.client(
        &crate::harness::python(),
        &["-m", "awscli", "ec2", "terminate-instances", "--instance-ids", &addresses[&gone].0],
    );
    let third = until("three on the other two", || {
        let run: Vec<_> = tasks(&api, "web").into_iter().filter(|task| task["lastStatus"] == "RUNNING").collect();
        (run.len() == 3 && !instances_of(&run).contains(&gone)).then_some(run)
    });

    // One that only falls silent keeps its task for a minute, and then it is replaced too; when it is heard again it has one too many.
    let silent = third[0]["containerInstanceArn"].as_str().unwrap().to_owned();
    let on_silent: BTreeSet<String> =
        arns(&third.iter().filter(|task| task["containerInstanceArn"] == silent.as_str()).cloned().collect::<Vec<_>>());
    let silenced = Silenced::new(&cluster, &addresses[&silent].1);
    let fourth = until("replacements of what is silent", || {
        let run: Vec<_> = tasks(&api, "web").into_iter().filter(|task| task["lastStatus"] == "RUNNING").collect();
        (run.len() == 3 && !instances_of(&run).contains(&silent)).then_some(run)
    });
    assert_eq!(arns(&fourth).intersection(&on_silent).count(), 0);
    drop(silenced);
    for arn in &on_silent {
        let stopped = until(&format!("the stop of {arn}"), || {
            let task = cluster.task(arn);
            (task["lastStatus"] == "STOPPED").then_some(task)
        });
        assert_eq!(stopped["stopCode"], "ServiceSchedulerInitiated", "{stopped:#}");
    }
    assert_eq!(cluster.shims().len(), 3, "nothing runs twice in the end");
    delete(&api, "web");
    finish(&mut cluster);
}

/// Asks whoever serves, again and again, and keeps who answered what.
struct Asker {
    stop: Arc<AtomicBool>,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    asking: std::thread::JoinHandle<Answers>,
}

#[derive(Default)]
struct Answers {
    answered: u32,
    words: BTreeSet<String>,
    /// Requests that none of those who were to serve would answer.
    refused: Vec<String>,
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map(|(head, body)| (head.contains(" 200 "), body));
    match body {
        Some((true, body)) => Ok(body.trim().to_owned()),
        Some((false, _)) | None => Err(std::io::Error::other(text)),
    }
}

impl Asker {
    fn start() -> Self {
        let (stop, endpoints) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<SocketAddr>>>::default());
        let (stopped, known) = (stop.clone(), endpoints.clone());
        let asking = std::thread::spawn(move || {
            let (mut answers, mut turn) = (Answers::default(), 0_usize);
            while !stopped.load(Ordering::Relaxed) {
                let all = known.lock().unwrap().clone();
                if all.is_empty() {
                    std::thread::yield_now();
                    continue;
                }
                turn += 1;
                // As a client behind a list of addresses does: the next one, if one does not answer.
                let tries = (0..all.len()).map(|n| ask(all[(turn + n) % all.len()]));
                let mut errors = Vec::new();
                let mut answer = None;
                for tried in tries {
                    match tried {
                        Ok(words) => {
                            answer = Some(words);
                            break;
                        }
                        Err(error) => errors.push(error.to_string()),
                    }
                }
                match answer {
                    Some(words) => {
                        answers.answered += 1;
                        answers.words.insert(words);
                    }
                    None => answers.refused.push(format!("{all:?}: {errors:?}")),
                }
            }
            answers
        });
        Self { stop, endpoints, asking }
    }

    fn end(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.join().unwrap()
    }
}

#[test]
fn a_rolling_update_of_twenty_is_not_felt_by_who_asks() {
    let mut cluster = Cluster::start(3);
    let api = cluster.api();
    let define = |words: &str| {
        let script = format!("mkdir -p /tmp/w; echo {words} > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w");
        let input = json!({"family": "site", "containerDefinitions": [{
            "name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script],
            "portMappings": [{"containerPort": 80}],
        }]});
        api.ecs("RegisterTaskDefinition", &input)["taskDefinition"]["taskDefinitionArn"].clone()
    };
    define("first");
    create(&api, "site", "site", 20);
    let first = running(&api, "site", 20, &BTreeSet::new());
    let addresses = addresses(&cluster, &api);
    let endpoints = |tasks: &[Value]| -> Vec<SocketAddr> {
        let of = |task: &Value| {
            let instance = task["containerInstanceArn"].as_str().unwrap();
            let port = &task["containers"][0]["networkBindings"][0]["hostPort"];
            format!("{}:{port}", addresses[instance].1).parse().unwrap()
        };
        tasks.iter().filter(|task| task["lastStatus"] == "RUNNING").map(of).collect()
    };
    let asker = Asker::start();
    *asker.endpoints.lock().unwrap() = endpoints(&first);

    let second = define("second");
    api.ecs("UpdateService", &json!({"service": "site", "taskDefinition": second}));
    let mut most = 0;
    until("the deployment's end", || {
        let now = tasks(&api, "site");
        *asker.endpoints.lock().unwrap() = endpoints(&now);
        let shown = service(&api, "site");
        most = most.max(shown["runningCount"].as_u64().unwrap() + shown["pendingCount"].as_u64().unwrap());
        assert!(shown["runningCount"].as_u64().unwrap() >= 20, "never under 100 % by our own hand: {shown:#}");
        let deployments = shown["deployments"].as_array().unwrap();
        (deployments.len() == 1 && deployments[0]["rolloutState"] == "COMPLETED").then_some(())
    });
    let answers = asker.end();
    assert_eq!(answers.refused, Vec::<String>::new(), "of {} requests", answers.answered);
    assert_eq!(answers.words, BTreeSet::from(["first".to_owned(), "second".to_owned()]));
    assert!(most <= 40, "{most} tasks, over 200 %");
    let run = running(&api, "site", 20, &arns(&first));
    assert!(run.iter().all(|task| task["taskDefinitionArn"] == second), "{run:#?}");
    delete(&api, "site");
    finish(&mut cluster);
}

/// How many of the tasks are in each zone.
fn by_zone(tasks: &[Value]) -> BTreeMap<&str, usize> {
    let mut zones = BTreeMap::new();
    for task in tasks {
        *zones.entry(task["availabilityZone"].as_str().unwrap()).or_default() += 1;
    }
    zones
}

#[test]
fn a_zone_that_takes_tasks_again_gets_its_share() {
    let cluster = Cluster::start(3);
    let api = cluster.api();
    cluster.define("web", "trap exit TERM; while :; do sleep 0.1; done");
    let instances = api.ecs("ListContainerInstances", &json!({}))["containerInstanceArns"].clone();
    let set = |status: &str| {
        let input = json!({"containerInstances": [instances[0]], "status": status});
        api.ecs("UpdateContainerInstancesState", &input)
    };
    set("DRAINING");
    create(&api, "web", "web", 4);
    let told = |what: &str| {
        let service = service(&api, "web");
        let events = service["events"].as_array().unwrap();
        events.iter().any(|event| event["message"].as_str().unwrap().contains(what))
    };
    until("the steady state", || told("has reached a steady state").then_some(()));
    let before = running(&api, "web", 4, &BTreeSet::new());
    assert_eq!(by_zone(&before).into_values().collect::<Vec<_>>(), [2, 2], "{before:#?}");
    let back = set("ACTIVE")["containerInstances"][0]["containerInstanceArn"].clone();
    until("the balance", || told("(web) is AZ balanced with").then_some(()));
    let after = running(&api, "web", 4, &BTreeSet::new());
    let mut shares: Vec<_> = by_zone(&after).into_values().collect();
    shares.sort_unstable();
    assert_eq!(shares, [1, 1, 2], "{after:#?}");
    // One was moved, and the others were left alone.
    let (was, is) = (arns(&before), arns(&after));
    assert_eq!(was.intersection(&is).count(), 3, "{was:?} {is:?}");
    assert!(instances_of(&after).contains(back.as_str().unwrap()));
    delete(&api, "web");
}
