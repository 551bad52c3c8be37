//! An endpoint that writes down what it is asked and answers as a server with one cluster would. What EC2 is asked has a form's
//! fields for a body, and what a script answers to it is XML in a text.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) body: Value,
    /// Whose signature it bears, and for which region.
    pub(crate) key: String,
    pub(crate) region: String,
}

/// What an endpoint answers, by what it is asked and was asked before; `None` leaves the answer to [`reply`].
pub(crate) type Script = fn(&Call, &[Call]) -> Option<(u16, Value)>;

/// The endpoint. Its thread ends with the test's process.
pub(crate) struct Recorder {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        Self::playing(|_, _| None)
    }

    pub(crate) fn playing(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &recorded, script);
            }
        });
        Self { url, calls }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.calls().len()
    }

    pub(crate) fn last(&self) -> Call {
        self.calls().pop().unwrap()
    }

    /// The bodies of all calls of an operation.
    pub(crate) fn all(&self, operation: &str) -> Vec<Value> {
        self.calls().into_iter().filter(|call| call.operation == operation).map(|call| call.body).collect()
    }

    /// The body of the only call of an operation.
    pub(crate) fn one(&self, operation: &str) -> Value {
        let mut all = self.all(operation);
        assert_eq!(all.len(), 1, "{operation}");
        all.remove(0)
    }
}

/// One request of one connection.
fn answer(stream: TcpStream, calls: &Mutex<Vec<Call>>, script: Script) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut operation, mut scope) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim().is_empty() { break } else { continue }
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-amz-target" => operation = value.rsplit('.').next().unwrap().to_owned(),
            "authorization" => scope = value.split_once("Credential=").unwrap().1.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut scope = scope.split('/');
    let (key, region) = (scope.next().unwrap().to_owned(), scope.nth(1).unwrap().to_owned());
    let body = if operation.is_empty() { fields(&body) } else { serde_json::from_slice(&body).unwrap() };
    if let Some(action) = body.get("Action").and_then(Value::as_str) {
        action.clone_into(&mut operation);
    }
    let call = Call { operation, body, key, region };
    let mut calls = calls.lock().unwrap();
    let (status, answer) = script(&call, &calls).unwrap_or_else(|| reply(&call, &calls));
    calls.push(call);
    drop(calls);
    let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    // Who asked may have gone; then nobody misses the answer.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes()));
}

fn fields(form: &[u8]) -> Value {
    form_urlencoded::parse(form).map(|(name, value)| (name.into_owned(), Value::from(value))).collect()
}

/// EC2's answer to an operation, with these members.
pub(crate) fn ec2(operation: &str, members: &str) -> Option<(u16, Value)> {
    Some((200, json!(format!("<{operation}Response><requestId>r</requestId>{members}</{operation}Response>"))))
}

pub(crate) const ARN: &str = "arn:aws:ecs:us-east-1:123456789012:";

fn reply(call: &Call, before: &[Call]) -> (u16, Value) {
    let earlier = |operation: &str| before.iter().filter(|c| c.operation == operation).count();
    let body = &call.body;
    let definition =
        |arn: String| json!({"taskDefinition": {"taskDefinitionArn": arn, "status": "ACTIVE", "registeredAt": 5.0}});
    let task = |status: &str| {
        let run = before.iter().rfind(|c| c.operation == "RunTask").unwrap_or(call);
        json!({
            "taskArn": format!("{ARN}task/demo/{:040}", earlier("RunTask").max(1)),
            "taskDefinitionArn": run.body["taskDefinition"], "lastStatus": status, "desiredStatus": "RUNNING",
            "containers": [{"name": "app", "lastStatus": status}],
        })
    };
    match call.operation.as_str() {
        "DescribeClusters" => {
            let cluster = |name: &Value| json!({"clusterName": name, "status": "ACTIVE"});
            (200, json!({"clusters": body["clusters"].as_array().unwrap().iter().map(cluster).collect::<Vec<_>>()}))
        }
        "RegisterTaskDefinition" => {
            let revision = earlier("RegisterTaskDefinition") + 1;
            (200, definition(format!("{ARN}task-definition/{}:{revision}", body["family"].as_str().unwrap())))
        }
        "DescribeTaskDefinition" => (200, definition(body["taskDefinition"].as_str().unwrap().to_owned())),
        "ListTasks" => (200, json!({"taskArns": []})),
        "ListAccountSettings" => (200, json!({"settings": [{"name": "taskLongArnFormat", "value": "enabled"}]})),
        "RunTask" => {
            // This call is not among the earlier ones yet.
            let mut task = task("PENDING");
            task["taskArn"] = json!(format!("{ARN}task/demo/{:040}", earlier("RunTask") + 1));
            (200, json!({"tasks": [task], "failures": []}))
        }
        // First it is pending, then it runs.
        "DescribeTasks" => {
            let runs = before.iter().rev().take_while(|c| c.operation == "DescribeTasks").count() > 0;
            (200, json!({"tasks": [task(if runs { "RUNNING" } else { "PENDING" })], "failures": []}))
        }
        "CreateLogGroup" | "TagResource" => (200, json!({})),
        "CreateService" | "UpdateService" | "DeleteService" => (200, json!({})),
        "DescribeServices" => (200, services(body["services"][0].as_str().unwrap(), before)),
        other => (400, json!({"__type": "UnknownOperationException", "message": other})),
    }
}

/// A service as the calls so far made it. It is where it was at the first look after each of them, and where it shall be at
/// the second; one that is named `stuck` never gets there.
fn services(name: &str, before: &[Call]) -> Value {
    let is_about = |call: &&Call| call.body["serviceName"] == name || call.body["service"] == name;
    let changes: Vec<_> = before.iter().filter(is_about).collect();
    let Some(made) = changes.iter().rposition(|c| c.operation == "CreateService") else {
        return json!({"services": [], "failures": [{"arn": format!("{ARN}service/demo/{name}"), "reason": "MISSING"}]});
    };
    let looks = before.iter().rev().take_while(|c| c.operation == "DescribeServices").count();
    let (mut counts, mut definitions) = (vec![json!(0)], Vec::new());
    let mut status = "ACTIVE";
    for change in &changes[made..] {
        let deleted = change.operation == "DeleteService";
        let wanted = if deleted { json!(0) } else { change.body["desiredCount"].clone() };
        counts.extend((!wanted.is_null()).then_some(wanted));
        definitions.extend(change.body["taskDefinition"].as_str());
        status = if !deleted {
            status
        } else if looks > 0 {
            "INACTIVE"
        } else {
            "DRAINING"
        };
    }
    let there = looks > 0 && name != "stuck";
    let (desired, was) = (counts.last().unwrap(), &counts[counts.len().saturating_sub(2)]);
    let running = if name == "stuck" {
        &json!(0)
    } else if there {
        desired
    } else {
        was
    };
    let arn = |definition: &&str| format!("{ARN}task-definition/{definition}");
    let deployment = |status: &str, definition: &&str| json!({"id": definition, "status": status, "taskDefinition": arn(definition)});
    let mut deployments = vec![deployment("PRIMARY", definitions.last().unwrap())];
    if !there && definitions.len() > 1 {
        deployments.push(deployment("ACTIVE", &definitions[definitions.len() - 2]));
    }
    json!({"failures": [], "services": [{
        "serviceName": name, "serviceArn": format!("{ARN}service/demo/{name}"), "status": status,
        "taskDefinition": arn(definitions.last().unwrap()), "desiredCount": desired, "runningCount": running,
        "deployments": deployments, "schedulingStrategy": changes[made].body["schedulingStrategy"],
        "events": [
            {"id": "2", "createdAt": 4_000_000_000_u32, "message": format!("(service {name}) has started 1 tasks: (task 1).")},
            {"id": "1", "createdAt": 1, "message": "long ago"},
        ],
    }]})
}
