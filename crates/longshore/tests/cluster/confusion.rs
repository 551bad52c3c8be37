//! Tasks that want to be taken for others: by another's path, address, token or cluster, or for their own execution role.

use crate::{
    api::{Api, Trouble},
    awsvpc::{Running, Vpc},
    harness::{Cluster, key, processes, python},
    roles::in_network,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const METADATA: &str = "169.254.170.2:80";

/// The first process of one of a task's containers, and where it is told to ask for credentials.
fn process(task: &str) -> (u32, String) {
    let id = task.rsplit('/').next().unwrap();
    let found = processes().into_iter().find_map(|(pid, _)| {
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let path =
            environment.split('\0').find_map(|line| line.strip_prefix("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="))?;
        group.contains(id).then(|| (pid, path.to_owned()))
    });
    found.expect("a process of the task")
}

/// The network of a task.
fn network(task: &str) -> PathBuf {
    format!("/proc/{}/ns/net", process(task).0).into()
}

/// What is answered there, and the code of a refusal.
fn ask(netns: &Path, path: &str) -> (u16, Value) {
    let answer = in_network(netns, METADATA, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn member(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// A client with what a task was told.
fn acting(api: &Api, told: &Value) -> Api {
    api.with(member(told, "AccessKeyId"), member(told, "SecretAccessKey"), member(told, "Token"))
}

fn code(answer: Result<Value, Trouble>) -> String {
    match answer {
        Err(Trouble::Refused(error)) => error.code.into_owned(),
        other => format!("{other:?}"),
    }
}

fn define(cluster: &Cluster, api: &Api, family: &str, mode: &str, execution: &str) {
    let script = "trap exit TERM; while :; do echo answer > /dev/null; sleep 0.1; done";
    let container = json!({"name": "main", "image": cluster.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script]});
    let definition = json!({
        "family": family, "networkMode": mode, "taskRoleArn": family, "executionRoleArn": execution, "containerDefinitions": [container],
    });
    api.ecs("RegisterTaskDefinition", &definition);
}

/// Says in a task's network that an address is its own too, and what is answered to who asks from there.
fn asks_from(netns: &Path, address: &str) -> String {
    let net = format!("--net={}", netns.display());
    let _ = Command::new("nsenter").args([&net, "ip", "addr", "add", &format!("{address}/32"), "dev", "lo"]).output();
    let script = format!(
        "import urllib.request, http.client\n\
         try:\n  c = http.client.HTTPConnection('169.254.170.2', 80, timeout=3, source_address=('{address}', 0))\n  \
         c.request('GET', '/v2/metadata')\n  print(c.getresponse().read().decode())\n\
         except OSError as error:\n  print('nothing:', error)"
    );
    let out = Command::new("nsenter").args([&net, &python(), "-c", &script]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn no_task_has_what_is_anothers() {
    let mut cluster = Cluster::start_as(1, "t3.xlarge");
    let api = cluster.api();
    let execution = api
        .task_role("pulls", &json!([{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]));
    let cluster_arn = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let own_cluster = json!([{"Effect": "Allow", "Action": "ecs:*", "Resource": "*", "Condition": {"ArnEquals": {"ecs:cluster": cluster_arn}}}]);
    for family in ["a", "beside", "other", "bridged"] {
        api.task_role(family, &own_cluster);
        define(&cluster, &api, family, if family == "bridged" { "bridge" } else { "awsvpc" }, &execution);
    }
    let (one, two) = (Vpc::new(&api, "10.9"), Vpc::new(&api, "10.11"));
    let (first, second) = (one.group("g"), two.group("g"));
    let a = one.run(&cluster, "a", &[&first]);
    let beside = one.run(&cluster, "beside", &[&first]);
    let other = two.run(&cluster, "other", &[&second]);
    let bridged = cluster.run("bridged", 1).remove(0);
    cluster.wait(&bridged, "RUNNING");
    let instance = Path::new("/run/longshore").join(key(&cluster.data())).join("netns");
    let instance = instance.join(cluster.agents().into_keys().next().unwrap());
    let path = |task: &str| process(task).1;
    let role = |netns: &Path, path: &str| ask(netns, path).1["RoleArn"].as_str().unwrap_or_default().to_owned();
    let arn = |name: &str| format!("arn:aws:iam::000000000000:role/{name}");

    // Each has its own, asked for from where it is.
    for (task, name) in [(&a.arn, "a"), (&beside.arn, "beside"), (&other.arn, "other")] {
        assert_eq!(role(&network(task), &path(task)), arn(name));
    }
    assert_eq!(role(&network(&bridged), &path(&bridged)), arn("bridged"));

    // A path that has been learnt opens nothing elsewhere: not in the same VPC, not in another one, not outside of any.
    let theirs = [&beside.arn, &other.arn, &bridged].map(|task| path(task));
    for path in &theirs {
        assert_eq!((ask(&network(&a.arn), path).0, role(&network(&a.arn), path)), (400, String::new()), "{path}");
    }
    for path in [path(&a.arn), path(&other.arn)] {
        assert_eq!(ask(&instance, &path).0, 400, "{path}");
        assert_eq!(ask(&network(&bridged), &path).0, 400, "{path}");
    }
    mangled(&a, &path(&a.arn), &theirs[1]);

    // Nor is somebody told of another by that one's address, whose answers go to whom it belongs.
    let itself = asks_from(&network(&a.arn), &a.address);
    assert!(itself.contains(&a.arn), "{itself}");
    let spoofed = asks_from(&network(&a.arn), &beside.address);
    assert!(spoofed.starts_with("nothing:") && !spoofed.contains(&beside.arn), "{spoofed}");

    sessions(&cluster, &api, &a, &beside);

    // A path ends with its task, for the next one of its kind too.
    let old = path(&beside.arn);
    api.ecs("StopTask", &json!({"task": beside.arn}));
    cluster.wait(&beside.arn, "STOPPED");
    let next = one.run(&cluster, "beside", &[&first]);
    for netns in [network(&next.arn), network(&a.arn), instance] {
        assert_eq!(ask(&netns, &old).0, 400);
    }
    assert_eq!(role(&network(&next.arn), &path(&next.arn)), arn("beside"));
    for task in [&a.arn, &other.arn, &next.arn, &bridged] {
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(task, "STOPPED");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Other ways to write the path of another task, or of none.
fn mangled(a: &Running, own: &str, theirs: &str) {
    let id = theirs.rsplit('/').next().unwrap();
    let netns = network(&a.arn);
    for path in [
        format!("{own}/../{id}"),
        format!("/v2/credentials/../credentials/{id}"),
        format!("/v2/credentials/%2e%2e/{id}"),
        format!("//v2//credentials//{id}"),
        format!("/v2/credentials/{id}?id={}", own.rsplit('/').next().unwrap()),
        format!("/v1/credentials?id={id}"),
        format!("/v1/credentials?id=&id={id}"),
        format!("http://169.254.170.2/v2/credentials/{id}"),
        format!("/v2/credentials/{}", id.to_uppercase()),
        format!("/v2/credentials/{}", &id[..id.len() - 1]),
        "/v2/credentials/*".to_owned(),
        "/v2/credentials/".to_owned(),
        "/v2/credentials".to_owned(),
    ] {
        let (status, told) = ask(&netns, &path);
        assert!(status >= 400 && told["AccessKeyId"].is_null(), "{path}: {status} {told}");
    }
}

/// What one task was told, used for what is another's.
fn sessions(cluster: &Cluster, api: &Api, a: &Running, beside: &Running) {
    let told = |task: &Running| ask(&network(&task.arn), &process(&task.arn).1).1;
    let (mine, theirs) = (told(a), told(beside));
    let own = acting(api, &mine);
    let id = a.arn.rsplit('/').next().unwrap();
    let who = own.sts("GetCallerIdentity", &json!({}))["Arn"].clone();
    assert_eq!(who, format!("arn:aws:sts::000000000000:assumed-role/a/{id}"));

    // Parts of two sessions are none.
    for (key, secret, token) in [(&mine, &mine, &theirs), (&theirs, &mine, &mine), (&mine, &theirs, &mine)] {
        let mixed = api.with(member(key, "AccessKeyId"), member(secret, "SecretAccessKey"), member(token, "Token"));
        let refused = code(mixed.try_sts("GetCallerIdentity", &json!({})));
        assert!(["InvalidClientTokenId", "SignatureDoesNotMatch"].contains(&refused.as_str()), "{refused}");
    }
    let without = api.with_key(&member(&mine, "AccessKeyId"), &member(&mine, "SecretAccessKey"));
    assert_eq!(code(without.try_sts("GetCallerIdentity", &json!({}))), "InvalidClientTokenId");

    // What the execution role may is not the task's, nor may the task become it, or another task's role.
    let secret = api.secrets("CreateSecret", &json!({"Name": "for-pulls", "SecretString": "hunter2"}))["ARN"].clone();
    assert_eq!(code(own.try_secrets("GetSecretValue", &json!({"SecretId": secret}))), "AccessDeniedException");
    for role in ["pulls", "beside", "a"] {
        let input = json!({"RoleArn": format!("arn:aws:iam::000000000000:role/{role}"), "RoleSessionName": "me"});
        assert_eq!(code(own.try_sts("AssumeRole", &input)), "AccessDenied", "{role}");
    }

    // A cluster that the role does not name, by whatever way it is named, and another account's.
    api.ecs("CreateCluster", &json!({"clusterName": "foreign"}));
    let foreign = "arn:aws:ecs:us-east-1:000000000000:cluster/foreign";
    let elsewhere = "arn:aws:ecs:us-east-1:111111111111:cluster/default";
    assert!(own.try_ecs("ListTasks", &json!({})).is_ok());
    for named in ["foreign", foreign] {
        for operation in ["ListTasks", "ListContainerInstances", "ListServices"] {
            let refused = code(own.try_ecs(operation, &json!({"cluster": named})));
            assert_eq!(refused, "AccessDeniedException", "{operation} {named}");
        }
        let input = json!({"cluster": named, "tasks": [a.arn]});
        assert_eq!(code(own.try_ecs("DescribeTasks", &input)), "AccessDeniedException");
        let run = json!({"cluster": named, "taskDefinition": "bridged"});
        assert_eq!(code(own.try_ecs("RunTask", &run)), "AccessDeniedException");
    }
    for operation in ["ListTasks", "ListServices"] {
        let refused = code(own.try_ecs(operation, &json!({"cluster": elsewhere})));
        assert!(["AccessDeniedException", "ClusterNotFoundException"].contains(&refused.as_str()), "{refused}");
    }
    // The cluster that it may, and the task of one that it may not.
    let (_, there) = a.arn.split_once("task/").unwrap();
    let foreign_task = a.arn.replace(there, &format!("foreign/{id}"));
    let refused = code(own.try_ecs("StopTask", &json!({"cluster": "default", "task": foreign_task})));
    assert!(["AccessDeniedException", "InvalidParameterException"].contains(&refused.as_str()), "{refused}");
    // It may start tasks, but not give them a role that it has not been given the right to pass.
    assert_eq!(code(own.try_ecs("RunTask", &json!({"taskDefinition": "bridged"}))), "AccessDeniedException");
    assert_eq!(cluster.task(&a.arn)["lastStatus"], "RUNNING");
}
