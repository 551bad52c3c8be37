//! Lifecycle hooks through the death of the server: what was asked is asked again, and what was run is not run again.

use crate::{
    api::Api,
    harness::{Cluster, until},
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
