//! Lifecycle hooks through the death of the server: what was asked is asked again, and what was run is not run again.

use crate::{
    api::{Api, Trouble},
    awsvpc::{self, Running, Vpc},
    harness::{Cluster, told, until},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

/// Who is asked at a hook. It says nothing at first, as one that hangs; once it is told to, it answers whoever asks.
#[derive(Clone, Default)]
struct Target(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    answers: bool,
    /// What it was asked, in order.
    asked: Vec<Value>,
    /// Those whom it leaves without an answer: a connection that is closed would be one.
    waiting: Vec<TcpStream>,
}

impl Target {
    /// Listens in the test's own network; answers where.
    fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let target = Self::default();
        let inner = target.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                inner.hear(stream.unwrap());
            }
        });
        (target, url)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// Reads one request. A server that dies in the middle of one has asked nothing.
    fn hear(&self, mut stream: TcpStream) {
        let Some(body) = body(&stream) else { return };
        let mut told = self.told();
        told.asked.push(serde_json::from_slice(&body).unwrap());
        if told.answers {
            let said = json!({"hookStatus": "SUCCEEDED"}).to_string();
            // Its caller may be gone by now.
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}", said.len());
        } else {
            told.waiting.push(stream);
        }
    }
}

/// The body of a request, if all of it comes.
fn body(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// A service of one task whose deployments come to those hooks.
fn create(api: &Api, hooks: &[Value]) {
    let how = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": hooks});
    let input =
        json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "deploymentConfiguration": how});
    api.ecs("CreateService", &input);
}

/// The service's newest deployment.
fn story(api: &Api) -> Value {
    let service = api.ecs("DescribeServices", &json!({"services": ["web"]}))["services"][0].clone();
    let deployment = service["currentServiceDeployment"].clone();
    let arns = json!({"serviceDeploymentArns": [deployment]});
    api.ecs("DescribeServiceDeployments", &arns)["serviceDeployments"][0].clone()
}

fn tasks(api: &Api, of: &Value) -> Vec<Value> {
    api.ecs("ListTasks", of)["taskArns"].as_array().unwrap().clone()
}

#[test]
fn a_target_that_hangs_while_the_server_is_killed_is_asked_again() {
    let mut cluster = Cluster::start(1);
    cluster.define("web", "trap exit TERM; while :; do sleep 0.1; done");
    let (target, url) = Target::start();
    let api = cluster.api();
    let hook = json!({"hookTargetArn": url, "lifecycleStages": ["POST_SCALE_UP"], "hookDetails": {"suite": "smoke"}});
    create(&api, &[hook]);
    until("the question", || (target.told().asked.len() == 1).then_some(()));
    let before = story(&api);
    assert_eq!(
        (&before["lifecycleStage"], &before["lifecycleHookDetails"][0]["status"]),
        (&json!("POST_SCALE_UP"), &json!("IN_PROGRESS")),
        "{before:#}"
    );
    let of_service = json!({"serviceName": "web"});
    let running = tasks(&api, &of_service);
    assert_eq!(running.len(), 1);

    cluster.kill_server();
    {
        let mut told = target.told();
        assert_eq!(told.asked.len(), 1, "nobody asks twice while the first has no answer: {:#?}", told.asked);
        told.answers = true;
    }
    cluster.start_server();
    let after = until("the end of the deployment", || {
        let story = story(&api);
        (story["status"] == "SUCCESSFUL").then_some(story)
    });
    assert_eq!(after["serviceDeploymentArn"], before["serviceDeploymentArn"]);
    assert_eq!(after["lifecycleHookDetails"][0]["status"], "SUCCEEDED", "{after:#}");
    {
        let told = target.told();
        assert_eq!(told.asked.len(), 2, "{:#?}", told.asked);
        assert_eq!(told.asked[0], told.asked[1], "it is the same question");
        assert_eq!(told.asked[0]["resourceArn"], before["serviceDeploymentArn"]);
        assert_eq!(told.asked[0]["hookDetails"], json!({"suite": "smoke"}));
    }
    assert_eq!(tasks(&api, &of_service), running, "the service's task has a hand in none of it");
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Tasks that hooks started, of any status.
fn started(api: &Api, story: &Value) -> Vec<Value> {
    let id = story["serviceDeploymentArn"].as_str().unwrap().rsplit('/').next().unwrap();
    // Its turn may be yet to come.
    let Some(hook) = story["lifecycleHookDetails"][0]["hookId"].as_str() else { return Vec::new() };
    let of = |status: &str| tasks(api, &json!({"startedBy": format!("{id}/{hook}"), "desiredStatus": status}));
    [of("RUNNING"), of("STOPPED")].concat()
}

#[test]
fn a_hook_that_is_a_task_runs_once_whoever_is_killed_and_its_exit_code_counts() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    cluster.define("web", "trap exit TERM; while :; do sleep 0.1; done");
    // It waits to be told, and then says whether it was told what it is asked.
    let script = &format!(
        "case $LONGSHORE_LIFECYCLE_HOOK in *smoke*POST_SCALE_UP*) good=0;; *) good=9;; esac
        trap 'exit $good' TERM; trap 'exit 3' USR1; : {}; while :; do sleep 0.1; done",
        told()
    );
    let container = json!({"name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 2,
        "command": ["sh", "-c", script]});
    let made = api.ecs("RegisterTaskDefinition", &json!({"family": "smoke", "containerDefinitions": [container]}));
    let definition = made["taskDefinition"]["taskDefinitionArn"].clone();
    let hook = json!({"hookTargetArn": definition, "lifecycleStages": ["POST_SCALE_UP"],
        "hookDetails": {"suite": "smoke"}});
    create(&api, &[hook]);
    let task = until("the hook's task", || {
        let story = story(&api);
        started(&api, &story).first().cloned()
    });
    let task = task.as_str().unwrap().to_owned();
    let described = cluster.wait(&task, "RUNNING");
    assert_eq!(described["group"], "family:smoke", "{described:#}");

    cluster.kill_server();
    cluster.start_server();
    cluster.until_connected(&api, 1);
    let before = story(&api);
    assert_eq!(before["lifecycleHookDetails"][0]["status"], "IN_PROGRESS", "{before:#}");
    assert_eq!(started(&api, &before), [json!(task)]);
    end_hook(rustix::process::Signal::TERM);
    let after = until("the end of the deployment", || {
        let story = story(&api);
        (story["status"] != "IN_PROGRESS").then_some(story)
    });
    assert_eq!(after["status"], "SUCCESSFUL", "{after:#}");
    assert_eq!(after["lifecycleHookDetails"][0]["status"], "SUCCEEDED", "{after:#}");
    assert_eq!(started(&api, &after), [json!(task)], "it ran once");

    // The next one ends otherwise, and the deployment goes back.
    api.ecs("UpdateService", &json!({"service": "web", "forceNewDeployment": true}));
    let second = until("the next hook's task", || {
        let story = story(&api);
        started(&api, &story).first().cloned()
    });
    cluster.wait(second.as_str().unwrap(), "RUNNING");
    end_hook(rustix::process::Signal::USR1);
    let back = until("the way back", || {
        let story = story(&api);
        (story["status"] == "ROLLBACK_SUCCESSFUL").then_some(story)
    });
    assert_eq!(back["lifecycleHookDetails"][0]["status"], "FAILED", "{back:#}");
    let service = api.ecs("DescribeServices", &json!({"services": ["web"]}))["services"][0].clone();
    assert!(service["events"].to_string().contains("exited with code 3."), "{service:#}");

    // One that is overtaken by another deployment leaves no task behind.
    api.ecs("UpdateService", &json!({"service": "web", "forceNewDeployment": true}));
    let third = until("one more task of the hook", || {
        let story = story(&api);
        started(&api, &story).first().cloned()
    });
    cluster.wait(third.as_str().unwrap(), "RUNNING");
    let none = json!({"service": "web", "forceNewDeployment": true, "deploymentConfiguration": {"lifecycleHooks": []}});
    api.ecs("UpdateService", &none);
    let stopped = cluster.wait(third.as_str().unwrap(), "STOPPED");
    assert_eq!(stopped["stoppedReason"], "The lifecycle hook of the task is over.", "{stopped:#}");
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_hooks_task_with_an_interface_is_in_the_services_subnets_and_gives_its_address_back() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    awsvpc::define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.9");
    let (services, hooks) = (vpc.group("services"), vpc.group("hooks"));
    // It agrees before traffic is shifted and refuses after, and says otherwise if it has no address of the service's subnets.
    let script = "for address in $(ip -o -4 addr show | grep -o '10[.]9[.][0-9.]*' | head -1); do
        case $LONGSHORE_LIFECYCLE_HOOK in *POST_SCALE_UP*) exit 0;; *) exit 7;; esac; done; exit 4";
    let container = json!({"name": "main", "image": cluster.image, "memory": 16, "command": ["sh", "-c", script]});
    let made = api.ecs(
        "RegisterTaskDefinition",
        &json!({"family": "smoke", "networkMode": "awsvpc", "containerDefinitions": [container]}),
    );
    let hook = json!({"hookTargetArn": made["taskDefinition"]["taskDefinitionArn"],
        "lifecycleStages": ["POST_SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT"]});
    let how = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [hook]});
    let mut input = json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1,
        "deploymentConfiguration": how});
    // Where the service has no subnets, its hooks have none.
    cluster.define("plain", "trap exit TERM; while :; do sleep 0.1; done");
    let plain = json!({"serviceName": "plain", "taskDefinition": "plain", "desiredCount": 1,
        "deploymentConfiguration": how});
    match api.try_ecs("CreateService", &plain) {
        Err(Trouble::Refused(error)) => assert!(error.message.contains("hookTargetArn"), "{error:?}"),
        other => panic!("{other:?}"),
    }
    input["networkConfiguration"] = vpc.configuration(&[&services, &hooks]);
    api.ecs("CreateService", &input);
    let back = until("the way back", || {
        let story = story(&api);
        (story["status"] != "IN_PROGRESS" && story["status"] != "PENDING").then_some(story)
    });
    let turns: Vec<_> = back["lifecycleHookDetails"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| (&turn["status"], &turn["hookId"]))
        .collect();
    assert_eq!(turns.iter().map(|(status, _)| *status).collect::<Vec<_>>(), ["SUCCEEDED", "FAILED"], "{back:#}");
    let service = api.ecs("DescribeServices", &json!({"services": ["web"]}))["services"][0].clone();
    assert!(service["events"].to_string().contains("exited with code 7."), "{service:#}");
    let id = back["serviceDeploymentArn"].as_str().unwrap().rsplit('/').next().unwrap();
    for (_, hook) in turns {
        let by = format!("{id}/{}", hook.as_str().unwrap());
        let ran = tasks(&api, &json!({"startedBy": by, "desiredStatus": "STOPPED"}));
        assert_eq!(ran.len(), 1, "{by}");
        let task = api.ecs("DescribeTasks", &json!({"tasks": ran}))["tasks"][0].clone();
        let address = Running::of(&task).address;
        assert!(address.starts_with("10.9."), "{task:#}");
        until("no interface of the hook's task", || {
            let filter = json!([{"Name": "addresses.private-ip-address", "Values": [address]}]);
            let left = api.ec2("DescribeNetworkInterfaces", &json!({"Filters": filter}));
            left["NetworkInterfaces"].as_array().is_none_or(Vec::is_empty).then_some(())
        });
    }
}

/// Signals the hook's process from outside: nobody of the cluster has a hand in it. Its trap may not be set yet, so until it is gone.
fn end_hook(signal: rustix::process::Signal) {
    until("the end of the hook's process", || {
        let of_hook = |(pid, words): (u32, Vec<String>)| {
            let is = words.first().is_some_and(|word| word == "sh") && words.iter().any(|word| word.contains(&told()));
            is.then_some(pid)
        };
        let found: Vec<u32> = crate::harness::processes().into_iter().filter_map(of_hook).collect();
        for pid in &found {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
        found.is_empty().then_some(())
    });
}
