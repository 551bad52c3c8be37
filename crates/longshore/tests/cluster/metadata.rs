//! What tasks ask their instance, asked from inside real containers: themselves, what they use, their protection.

use crate::{
    api::Api,
    harness::{Cluster, key, until},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
};

/// Says what is answered to a request, in one line that begins with a word. `wget` of a static busybox dies of a missing nss.
const SAY: &str = "ask() { printf \"$1 /${2#http://*/} HTTP/1.0\\r\\nContent-Length: ${#3}\\r\\n\\r\\n$3\" | nc 169.254.170.2 80; }; \
                   say() { echo \"$1 $(ask GET $2 | tail -n 1)\"; }; ";

/// Runs a script as a task; answers the task's ARN.
fn run(cluster: &Cluster, api: &Api, family: &str, mode: &str, script: &str) -> String {
    let options = json!({"awslogs-group": family, "awslogs-create-group": "true", "awslogs-stream-prefix": "p"});
    let container = json!([{
        "name": "main", "image": cluster.image, "memory": 32, "cpu": 128, "stopTimeout": 2,
        "command": ["sh", "-c", format!("{SAY}{script}; trap 'exit 0' TERM; while :; do sleep 0.1; done")],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }]);
    let definition = json!({"family": family, "networkMode": mode, "containerDefinitions": container, "memory": "64"});
    api.ecs("RegisterTaskDefinition", &definition);
    cluster.run(family, 1).remove(0)
}

/// What a family's script has said, by its first word, once it has said the last of them.
fn said(api: &Api, family: &str, last: &str) -> BTreeMap<String, String> {
    until(&format!("{family} to say {last}"), || {
        let groups = api.logs("DescribeLogGroups", &json!({"logGroupNamePrefix": family}));
        groups["logGroups"].as_array()?.first()?;
        let events = api.logs("FilterLogEvents", &json!({"logGroupName": family}))["events"].clone();
        let lines = events.as_array()?.iter().filter_map(|event| event["message"].as_str()?.split_once(' '));
        let said: BTreeMap<_, _> = lines.map(|(word, rest)| (word.to_owned(), rest.to_owned())).collect();
        said.contains_key(last).then_some(said)
    })
}

fn parsed(said: &BTreeMap<String, String>, word: &str) -> Value {
    serde_json::from_str(&said[word]).unwrap_or_else(|_| panic!("{word}: {said:#?}"))
}

/// Asks in the network of the cluster's instance.
fn ask(cluster: &Cluster, address: &str, request: &str) -> String {
    let instance = cluster.agents().into_keys().next().unwrap();
    let netns = Path::new("/run/longshore").join(key(&cluster.data())).join("netns").join(instance);
    let (address, request) = (address.parse::<SocketAddr>().unwrap(), request.to_owned());
    let work = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Ok(answer)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(network::NetContext::at(netns).enter(work)).unwrap()
}

#[test]
fn containers_are_told_about_themselves() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    // It may ask sooner than its agent has heard that it runs.
    let script = "until ask GET $ECS_CONTAINER_METADATA_URI_V4 | grep -q '\"KnownStatus\":\"RUNNING\"'; do sleep 0.1; done; \
                  echo \"id ${ECS_CONTAINER_METADATA_URI_V4##*/}\"; echo \"agent $ECS_AGENT_URI\"; \
                  echo \"env $AWS_EXECUTION_ENV\"; \
                  say own $ECS_CONTAINER_METADATA_URI_V4; say task $ECS_CONTAINER_METADATA_URI_V4/task; \
                  say third $ECS_CONTAINER_METADATA_URI/task; say first $ECS_CONTAINER_METADATA_URI_V4/stats; sleep 1; \
                  say second $ECS_CONTAINER_METADATA_URI_V4/stats; say both $ECS_CONTAINER_METADATA_URI_V4/task/stats; \
                  say credentials http://169.254.170.2/v2/credentials/none; say end http://169.254.170.2/v2/metadata";
    for mode in ["bridge", "host"] {
        let arn = run(&cluster, &api, mode, mode, script);
        let said = said(&api, mode, "end");
        let task = cluster.wait(&arn, "RUNNING");
        let told = parsed(&said, "task");
        assert_eq!((told["TaskARN"].as_str(), told["Family"].as_str()), (Some(arn.as_str()), Some(mode)));
        assert_eq!((told["LaunchType"].as_str(), told["Cluster"].as_str()), (Some("EC2"), Some("default")));
        assert_eq!(told["AvailabilityZone"], task["availabilityZone"]);
        assert!(told["VPCID"].as_str().is_some_and(|vpc| vpc.starts_with("vpc-")), "{told}");
        assert_eq!(told["Limits"], json!({"Memory": 64}));
        let own = parsed(&said, "own");
        assert_eq!(own["ContainerARN"], task["containers"][0]["containerArn"]);
        assert_eq!(own["DockerId"], task["containers"][0]["runtimeId"]);
        assert_eq!(
            (&own["KnownStatus"], &own["Name"], &own["LogDriver"]),
            (&json!("RUNNING"), &json!("main"), &json!("awslogs"))
        );
        assert_eq!(own["Networks"][0]["NetworkMode"], mode);
        assert!(own["ImageID"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{own}");
        assert_eq!(parsed(&said, "third")["Containers"][0]["Name"], "main");
        assert_eq!((said["env"].as_str(), said["agent"].contains("/api/")), ("AWS_ECS_EC2", true));
        assert_eq!(parsed(&said, "credentials")["code"], "InvalidIdInRequest");
        assert!(said["end"].contains("unable to associate"), "{}", said["end"]);

        let (first, second) = (parsed(&said, "first"), parsed(&said, "second"));
        let cpu = |stats: &Value, which: &str| stats[which]["cpu_usage"]["total_usage"].as_u64().unwrap();
        assert!(cpu(&first, "cpu_stats") > 0, "{first}");
        assert_eq!(second["preread"], first["read"]);
        assert_eq!(cpu(&second, "precpu_stats"), cpu(&first, "cpu_stats"));
        assert!(cpu(&second, "cpu_stats") > cpu(&first, "cpu_stats"), "wget has cost something");
        assert_eq!(second["memory_stats"]["limit"], 32 << 20);
        assert!(second["memory_stats"]["usage"].as_u64().unwrap() > 0);
        assert!(second["pids_stats"]["current"].as_u64().unwrap() > 0);
        let received = second["networks"]["eth0"]["rx_bytes"].as_u64();
        assert_eq!(received.is_some_and(|bytes| bytes > 500), mode == "bridge", "{second}");
        assert_eq!(parsed(&said, "both").as_object().unwrap().len(), 1);
    }

    // Another agent of the instance knows the same ids.
    let id = said(&api, "bridge", "id")["id"].clone();
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    cluster.until_connected(&api, 1);
    let get = |path: &str| ask(&cluster, "169.254.170.2:80", &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(get(&format!("/v4/{id}")).starts_with("HTTP/1.1 200"));
    // What can be seen of a task from outside does not open it, and who asks too often has to wait.
    let runtime = parsed(&said(&api, "bridge", "end"), "own")["DockerId"].as_str().unwrap().to_owned();
    assert!(get(&format!("/v4/{runtime}")).starts_with("HTTP/1.1 404"));
    let refused = (0..5000).any(|_| get(&format!("/v4/{id}")).starts_with("HTTP/1.1 429"));
    assert!(refused, "the burst is 60, and 40 more come each second");

    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_task_protects_itself() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let state = "$ECS_AGENT_URI/task-protection/v1/state";
    let put = |word: &str, body: &str| format!("echo \"{word} $(ask PUT {state} '{body}' | tail -n 1)\"");
    let script = [
        put("protected", r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#),
        format!("say asked {state}"),
        put("long", r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2881}"#),
        put("vague", "{}"),
        put("garbled", "no"),
        "echo \"foreign $(ask PUT http://x/api/nobody/task-protection/v1/state '{\"ProtectionEnabled\":true}' | tail -n 1)\"".into(),
        "say tags $ECS_CONTAINER_METADATA_URI_V4/taskWithTags".into(),
        "echo end now".into(),
    ];
    // Alone, it is no task of a service.
    let alone = run(&cluster, &api, "alone", "bridge", &script.join("; "));
    let told = said(&api, "alone", "end");
    let failure = json!({"failure": {"Arn": alone, "Detail": null, "Reason": "TASK_NOT_VALID"}});
    assert_eq!((parsed(&told, "protected"), parsed(&told, "asked")), (failure.clone(), failure));
    let refused =
        |arn: &str, code: &str, message: &str| json!({"error": {"Arn": arn, "Code": code, "Message": message}});
    let invalid = "InvalidParameterException";
    assert_eq!(parsed(&told, "long"), refused(&alone, invalid, "expiresInMinutes must be between 1 and 2880."));
    let vague = "Invalid request: does not contain 'ProtectionEnabled' field";
    assert_eq!(parsed(&told, "vague"), refused(&alone, invalid, vague));
    let garbled = "UpdateTaskProtection: failed to decode request";
    assert_eq!(parsed(&told, "garbled"), json!({"error": {"Code": invalid, "Message": garbled}}));
    let foreign =
        json!({"error": {"Code": "ResourceNotFoundException", "Message": "Failed to find a task for the request"}});
    assert_eq!(parsed(&told, "foreign"), foreign);

    // In a service the same script protects its task, as boto3 and the rest of the world then see.
    let options = json!({"awslogs-group": "kept", "awslogs-create-group": "true", "awslogs-stream-prefix": "p"});
    let container = json!([{
        "name": "main", "image": cluster.image, "memory": 32, "stopTimeout": 2,
        "command": ["sh", "-c", format!("{SAY}{}; trap 'exit 0' TERM; while :; do sleep 0.1; done", script.join("; "))],
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }]);
    api.ecs("RegisterTaskDefinition", &json!({"family": "kept", "containerDefinitions": container}));
    let tags = json!([{"key": "team", "value": "blue"}]);
    let service = json!({
        "serviceName": "web", "taskDefinition": "kept", "desiredCount": 1, "propagateTags": "SERVICE", "tags": tags,
    });
    api.ecs("CreateService", &service);
    let told = said(&api, "kept", "end");
    let task = api.ecs("ListTasks", &json!({"serviceName": "web"}))["taskArns"][0].as_str().unwrap().to_owned();
    let protection = parsed(&told, "protected")["protection"].clone();
    assert_eq!((&protection["ProtectionEnabled"], protection["TaskArn"].as_str()), (&json!(true), Some(task.as_str())));
    assert_eq!(parsed(&told, "asked")["protection"], protection);
    let until: jiff::Timestamp = protection["ExpirationDate"].as_str().unwrap().parse().unwrap();
    let seen =
        api.ecs("GetTaskProtection", &json!({"cluster": "default", "tasks": [task]}))["protectedTasks"][0].clone();
    assert_eq!(seen["protectionEnabled"], true, "{seen}");
    let shown = seen["expirationDate"].as_f64().unwrap();
    assert!((shown - until.as_millisecond() as f64 / 1000.0).abs() < 0.01, "{shown} {until}");
    assert_eq!(parsed(&told, "tags")["TaskTags"]["team"], "blue", "{}", told["tags"]);
    assert_eq!(parsed(&told, "tags")["ServiceName"], "web");
    let filter = json!({"cluster": "default", "service": "web", "desiredCount": 0});
    api.ecs("UpdateService", &filter);
    api.ecs("UpdateTaskProtection", &json!({"cluster": "default", "tasks": [task], "protectionEnabled": false}));
    until_stopped(&cluster, &task);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

fn until_stopped(cluster: &Cluster, task: &str) {
    until("its end", || (cluster.task(task)["lastStatus"] == "STOPPED").then_some(()));
}

/// One request to the instance metadata service, as `method path` and header lines; status and last line of the answer.
fn ask_instance(cluster: &Cluster, request: &str, headers: &str) -> (String, String) {
    let answer = ask(cluster, "169.254.169.254:80", &format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[test]
fn an_instance_is_told_about_itself() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let id = cluster.agents().into_keys().next().unwrap();
    let out =
        cluster.client(&crate::harness::python(), &["-m", "awscli", "ec2", "describe-instances", "--output", "json"]);
    let known: Value = serde_json::from_slice(&out.stdout).unwrap();
    let known = known["Reservations"][0]["Instances"][0].clone();
    assert_eq!(known["MetadataOptions"]["HttpTokens"], "optional", "{known}");
    let get = |path: &str| ask_instance(&cluster, &format!("GET /latest/{path}"), "");
    for (path, want) in [
        ("meta-data/instance-id", known["InstanceId"].as_str().unwrap()),
        ("meta-data/instance-type", known["InstanceType"].as_str().unwrap()),
        ("meta-data/local-ipv4", known["PrivateIpAddress"].as_str().unwrap()),
        ("meta-data/hostname", known["PrivateDnsName"].as_str().unwrap()),
        ("meta-data/placement/availability-zone", known["Placement"]["AvailabilityZone"].as_str().unwrap()),
        ("meta-data/security-groups", "default"),
    ] {
        assert_eq!(get(path), ("200".to_owned(), want.to_owned()), "{path}");
    }
    assert_eq!(get("meta-data/instance-id").1, id);
    let mac = get("meta-data/mac").1;
    let link = get(&format!("meta-data/network/interfaces/macs/{mac}/vpc-id"));
    assert_eq!(link.1, known["VpcId"].as_str().unwrap());
    let (_, document) = get("dynamic/instance-identity/document");
    assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["instanceId"], id.as_str());
    let (status, token) =
        ask_instance(&cluster, "PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n");
    assert_eq!(status, "200");
    let with = ask_instance(&cluster, "GET /latest/meta-data/mac", &format!("X-aws-ec2-metadata-token: {token}\r\n"));
    assert_eq!(with, ("200".to_owned(), mac));
    assert_eq!(ask_instance(&cluster, "GET /latest/meta-data/mac", "X-aws-ec2-metadata-token: no\r\n").0, "401");

    // A task behind the bridge is told, but gets no token: its answer has one hop to live. One of mode host is the instance.
    let request = "imds() { printf \"$1 HTTP/1.0\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n\" | nc 169.254.169.254 80 | tail -n 1; }; ";
    let script = format!(
        "{request}echo \"id $(imds 'GET /latest/meta-data/instance-id')\"; \
                          echo \"token $(imds 'PUT /latest/api/token')\"; echo end now"
    );
    for mode in ["bridge", "host"] {
        run(&cluster, &api, mode, mode, &script);
        let told = said(&api, mode, "end");
        assert_eq!(told["id"], id);
        assert_eq!(told.get("token").is_some_and(|token| token.len() == 48), mode == "host", "{told:?}");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
