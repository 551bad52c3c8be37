//! Secrets as files in running containers: what they see, that it follows, and that nothing of it is left.

use crate::{
    api::Api,
    harness::{Cluster, key, until},
    secrets::{MARK, digest, found, is_open, secret},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Tells what it finds in its folder once, and then the digest of each value that it sees.
const SCRIPT: &str = r#"
trap 'exit 0' TERM
trap 'echo HUP' HUP
echo "mode=$(busybox stat -L -c '%a %u:%g' /run/secrets/PASSWORD)"
( : > /run/secrets/other ) 2>/dev/null || echo 'read-only'
echo "variable=${PASSWORD+there}"
while :; do
    for name in PASSWORD CONFIG; do
        now=$(busybox sha256sum < /run/secrets/$name)
        eval "last=\$last_$name"
        if [ "$now" != "$last" ]; then
            echo "$name=$now"
            eval "last_$name=\$now"
        fi
    done
    sleep 0.1
done
"#;

/// A task whose container has the password of a secret and a parameter as files.
fn run(cluster: &Cluster, api: &Api, db: &str) -> String {
    let reads = ["secretsmanager:GetSecretValue", "ssm:GetParameters"];
    let role = api.task_role("pulls", &json!([{"Effect": "Allow", "Action": reads, "Resource": "*"}]));
    let container = json!({
        "name": "main", "image": cluster.image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", SCRIPT],
        "secrets": [{"name": "PASSWORD", "valueFrom": format!("{db}:password::")}, {"name": "CONFIG", "valueFrom": "/web/config"}],
        "dockerLabels": {
            "longshore.secret-files": "/run/secrets", "longshore.secret-files.only": "true", "longshore.secret-files.mode": "0440",
            "longshore.secret-files.owner": "1000:2000", "longshore.secret-files.signal": "SIGHUP"},
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "told", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "web", "awslogs-create-group": "true"}},
    });
    let definition = json!({"family": "web", "executionRoleArn": role, "containerDefinitions": [container]});
    api.ecs("RegisterTaskDefinition", &definition);
    let task = cluster.run("web", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    task
}

/// What the task's container has told, once this is among it.
fn tells(api: &Api, task: &str, line: &str) -> Vec<String> {
    let stream = format!("web/main/{}", task.rsplit('/').next().unwrap());
    until(line, || {
        let asked = json!({"logGroupName": "told", "logStreamName": stream, "startFromHead": true});
        let answer = api.try_logs("GetLogEvents", &asked).ok()?;
        let lines: Vec<_> =
            answer["events"].as_array()?.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect();
        lines.iter().any(|told| told == line).then_some(lines)
    })
}

fn shown(name: &str, value: &str) -> String {
    format!("{name}={}  -", digest(value))
}

fn value(what: &str) -> String {
    format!("{what}-{MARK}")
}

fn pair(password: &str) -> String {
    json!({"user": "web", "password": value(password)}).to_string()
}

fn put(api: &Api, db: &str, password: &str) {
    api.secrets("PutSecretValue", &json!({"SecretId": db, "SecretString": pair(password)}));
}

fn configure(api: &Api, text: &str) {
    let input = json!({"Name": "/web/config", "Type": "SecureString", "Value": value(text), "Overwrite": true});
    api.ssm("PutParameter", &input);
}

/// That the values are in memory alone, and nobody else's to read.
fn in_memory(cluster: &Cluster) {
    let places = found(cluster);
    assert!(!places.is_empty());
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    for place in &places {
        let (mount, _) = place.split_once("/..").unwrap_or_else(|| panic!("{places:#?}"));
        assert!(mount.contains("/mounts/secrets-"), "{places:#?}");
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(mount)).unwrap();
        assert!(line.split(' ').nth(2) == Some("tmpfs"), "{line}");
        assert!(!is_open(Path::new(place)), "{place}");
    }
}

fn runtime_id(task: &Value) -> String {
    task["containers"][0]["runtimeId"].as_str().unwrap().to_owned()
}

#[test]
fn files_follow_their_secrets_also_when_the_agent_is_killed_and_go_with_their_task() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let db = secret(&api, "prod/db", &pair("first"));
    configure(&api, "small");
    let task = run(&cluster, &api, &db);
    let began = tells(&api, &task, &shown("PASSWORD", &value("first")));
    assert_eq!(began[..3], ["mode=440 1000:2000", "read-only", "variable="]);
    tells(&api, &task, &shown("CONFIG", &value("small")));
    in_memory(&cluster);

    put(&api, &db, "second");
    tells(&api, &task, &shown("PASSWORD", &value("second")));
    tells(&api, &task, "HUP");
    configure(&api, "large");
    tells(&api, &task, &shown("CONFIG", &value("large")));
    api.secrets("UpdateSecret", &json!({"SecretId": db, "SecretString": pair("third")}));
    tells(&api, &task, &shown("PASSWORD", &value("third")));

    // While nobody is there to hear of it. Its container has the old value until then, and loses it at no moment.
    let before = cluster.task(&task);
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    put(&api, &db, "fourth");
    tells(&api, &task, &shown("PASSWORD", &value("fourth")));
    cluster.until_connected(&api, 1);
    cluster.kill_server();
    cluster.start_server();
    let api = cluster.api();
    cluster.until_connected(&api, 1);
    put(&api, &db, "fifth");
    let all = tells(&api, &task, &shown("PASSWORD", &value("fifth")));
    let passwords: Vec<_> = all.into_iter().filter(|line| line.starts_with("PASSWORD=")).collect();
    let want = ["first", "second", "third", "fourth", "fifth"].map(|it| shown("PASSWORD", &value(it)));
    assert_eq!(passwords, want);
    let after = cluster.task(&task);
    assert_eq!((runtime_id(&after), &after["lastStatus"]), (runtime_id(&before), &json!("RUNNING")));
    in_memory(&cluster);

    // What the role may not read any more stays as it was; the log says so, and no value.
    let statement = json!([{"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*"}]);
    let document = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    api.iam("PutRolePolicy", &json!({"RoleName": "pulls", "PolicyName": "own", "PolicyDocument": document}));
    put(&api, &db, "sixth");
    until("the refusal", || cluster.log().contains("a task's files keep the secrets they have").then_some(()));
    in_memory(&cluster);

    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || found(&cluster).is_empty().then_some(()));
    // Another test's cluster may have such mounts on this machine too.
    let (left, own) = (fs::read_to_string("/proc/mounts").unwrap(), key(&cluster.data()));
    let mut left = left.lines().filter(|line| line.contains(&own) && line.contains("/mounts/secrets-"));
    assert_eq!(left.next(), None);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Of two containers of a task: neither a value that cannot be had nor files that cannot be written keep the other's from following.
#[test]
fn files_of_one_container_follow_whatever_becomes_of_anothers() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let reads = json!([{"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*"}]);
    let role = api.task_role("pulls", &reads);
    let put = |name: &str, what: &str| {
        let input = json!({"Name": name, "Type": "SecureString", "Value": value(what), "Overwrite": true});
        api.ssm("PutParameter", &input);
    };
    let container = |name: &str| {
        json!({"name": name, "image": cluster.image, "memory": 32, "stopTimeout": 2,
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
            "secrets": [{"name": "KEY", "valueFrom": format!("/key/{name}")}],
            "dockerLabels": {"longshore.secret-files": "/run/secrets", "longshore.secret-files.only": "true"}})
    };
    put("/key/first", "small");
    put("/key/second", "one");
    let containers = [container("first"), container("second")];
    api.ecs(
        "RegisterTaskDefinition",
        &json!({"family": "two", "executionRoleArn": role, "containerDefinitions": containers}),
    );
    let task = cluster.run("two", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    // Where each has its files, by what is in them.
    let mount = |what: &str| {
        let places = found(&cluster);
        let place = places.iter().find(|place| fs::read_to_string(place).is_ok_and(|held| held == value(what)));
        place.map(|place| place.split_once("/..").unwrap().0.to_owned())
    };
    let (first, second) = (mount("small").unwrap(), mount("one").unwrap());
    let shows = |mount: &str, what: &str| {
        let path = Path::new(mount).join("KEY");
        until(what, || (fs::read_to_string(&path).ok()? == value(what)).then_some(()));
    };

    api.ssm("DeleteParameter", &json!({"Name": "/key/first"}));
    put("/key/second", "two");
    shows(&second, "two");
    shows(&first, "small");

    // No room is left in the first one's.
    let filler = Path::new(&first).join("filler");
    let filled = fs::write(&filler, vec![0_u8; 32 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    put("/key/first", "large");
    put("/key/second", "three");
    shows(&second, "three");
    shows(&first, "small");
    until("its failure", || cluster.log().contains("the files of its secrets cannot be made").then_some(()));
    fs::remove_file(&filler).unwrap();
    put("/key/first", "larger");
    shows(&first, "larger");

    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || found(&cluster).is_empty().then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_sandboxed_container_sees_its_files_follow_too() {
    let mut cluster = Cluster::start_with(1, |_| vec![("LONGSHORE_RUNTIME".to_owned(), "runsc".to_owned())]);
    let api = cluster.api();
    let db = secret(&api, "prod/db", &pair("first"));
    configure(&api, "small");
    let task = run(&cluster, &api, &db);
    tells(&api, &task, &shown("PASSWORD", &value("first")));
    put(&api, &db, "second");
    tells(&api, &task, &shown("PASSWORD", &value("second")));
    configure(&api, "large");
    tells(&api, &task, &shown("CONFIG", &value("large")));
    in_memory(&cluster);
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || found(&cluster).is_empty().then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
