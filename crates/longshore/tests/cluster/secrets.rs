//! Secrets, parameters, environment files and credentials of registries, seen from inside running containers; and that none of
//! them lies where it should not.

use crate::{
    api::Api,
    harness::{Cluster, key, longshore, processes, until},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use testkit::registry::{PASSWORD, Registry, USER};

const ROLE: &str = "arn:aws:iam::000000000000:role/pulls";
/// In every value that must not be found anywhere.
pub(crate) const MARK: &str = "fLoEs7Qz";

/// The digest of a value, which is all that a container says of it.
pub(crate) fn digest(value: &str) -> String {
    hex::encode(Sha256::digest(value))
}

/// Registers a definition of one container that tells digests of these variables and stays.
fn define(cluster: &Cluster, api: &Api, family: &str, names: &[&str], more: &Value) {
    let tell = |name: &&str| format!("echo {name}=$(printf %s \"${name}\" | busybox sha256sum)");
    let script = names.iter().map(tell).collect::<Vec<_>>().join("\n");
    let stay = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut container = json!({
        "name": "main", "image": cluster.image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", format!("{script}\n{stay}")],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "told", "awslogs-region": "us-east-1", "awslogs-stream-prefix": family, "awslogs-create-group": "true"}},
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reads = ["secretsmanager:GetSecretValue", "ssm:GetParameters", "s3:GetObject"];
    let role = api.task_role("pulls", &json!([{"Effect": "Allow", "Action": reads, "Resource": "*"}]));
    let definition = json!({"family": family, "executionRoleArn": role, "containerDefinitions": [container]});
    api.ecs("RegisterTaskDefinition", &definition);
}

/// Waits until a task's container has told all these digests.
fn tells(api: &Api, family: &str, task: &str, want: &[(&str, &str)]) {
    let stream = format!("{family}/main/{}", task.rsplit('/').next().unwrap());
    let lines: Vec<String> = until("what it tells", || {
        let asked = json!({"logGroupName": "told", "logStreamName": stream, "startFromHead": true});
        let answer = api.try_logs("GetLogEvents", &asked).ok()?;
        let lines = answer["events"].as_array()?.iter();
        let lines: Vec<_> = lines.map(|event| event["message"].as_str().unwrap().to_owned()).collect();
        (lines.len() >= want.len()).then_some(lines)
    });
    for (name, value) in want {
        let line = format!("{name}={} -", digest(value));
        assert!(lines.contains(&line), "{name} is not what it should be: {lines:#?}");
    }
}

/// Files below a folder that hold the mark.
fn holding(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            holding(&path, found);
        } else if kind.is_file() && fs::read(&path).is_ok_and(|bytes| contains(&bytes)) {
            found.push(path.display().to_string());
        }
    }
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// Where the mark is: on disk, in what is in memory below `/run`, and in arguments of processes.
pub(crate) fn found(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    holding(&cluster.data(), &mut found);
    holding(&Path::new("/run/longshore").join(key(&cluster.data())), &mut found);
    if contains(cluster.log().as_bytes()) {
        found.push("the log".to_owned());
    }
    let arguments = processes().into_iter().filter(|(_, words)| contains(words.join(" ").as_bytes()));
    found.extend(arguments.map(|(pid, words)| format!("process {pid}: {words:?}")));
    found
}

pub(crate) fn secret(api: &Api, name: &str, value: &str) -> String {
    api.secrets("CreateSecret", &json!({"Name": name, "SecretString": value}))["ARN"].as_str().unwrap().to_owned()
}

#[test]
fn a_container_is_given_secrets_that_lie_nowhere() {
    let mut cluster = Cluster::start_with(1, |dir| {
        let bucket = dir.join("bucket");
        fs::create_dir(&bucket).unwrap();
        fs::write(bucket.join("web.env"), format!("MODE=file-{MARK}\nOWN=file\n")).unwrap();
        vec![("LONGSHORE_BUCKETS".to_owned(), format!("config={}", bucket.display()))]
    });
    let api = cluster.api();
    let value = |what: &str| format!("{what}-{MARK}");
    let db = secret(&api, "prod/db", &json!({"password": value("first"), "port": 5432}).to_string());
    let put = json!({"SecretId": db, "SecretString": json!({"password": value("second"), "port": 5432}).to_string()});
    api.secrets("PutSecretValue", &put);
    api.ssm(
        "PutParameter",
        &json!({"Name": "/web/key", "Type": "SecureString", "Value": value("key \"quoted\" \\ and\nmore")}),
    );
    let names = [
        ("WHOLE", db.clone()),
        ("PASSWORD", format!("{db}:password::")),
        ("BEFORE", format!("{db}:password:AWSPREVIOUS:")),
        ("KEY", "/web/key".to_owned()),
    ];
    let secrets: Vec<_> = names.iter().map(|(name, from)| json!({"name": name, "valueFrom": from})).collect();
    let more = json!({
        "secrets": secrets, "environment": [{"name": "OWN", "value": "own"}],
        "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::config/web.env"}],
        // A further process of the container has them too.
        "healthCheck": {"command": ["CMD-SHELL", "case $KEY in key*) exit 0;; esac; exit 1"], "interval": 5, "retries": 1},
    });
    let told = ["WHOLE", "PASSWORD", "BEFORE", "KEY", "MODE", "OWN"];
    define(&cluster, &api, "web", &told, &more);
    let task = cluster.run("web", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    let whole = json!({"password": value("second"), "port": 5432}).to_string();
    let want = [
        ("WHOLE", whole.as_str()),
        ("PASSWORD", &value("second")),
        ("BEFORE", &value("first")),
        ("KEY", &value("key \"quoted\" \\ and\nmore")),
        ("MODE", &value("file")),
        ("OWN", "own"),
    ];
    tells(&api, "web", &task, &want);
    until("its health", || (cluster.task(&task)["healthStatus"] == "HEALTHY").then_some(()));

    // While it runs, its bundle in memory alone has them, and that is nobody else's to read.
    let places = found(&cluster);
    let [bundle] = &places[..] else { panic!("{places:#?}") };
    assert!(bundle.ends_with("/config.json") && bundle.starts_with("/run/longshore/"), "{bundle}");
    assert_eq!(fs::metadata(bundle).unwrap().permissions().mode() & 0o777, 0o600);

    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || found(&cluster).is_empty().then_some(()));

    // An agent that is killed has forgotten them; its next run asks again for a container that it still has to make.
    let waits = format!("waits-for-{}", std::process::id());
    let first = json!({
        "name": "first", "image": cluster.image, "memory": 16, "essential": false,
        "command": ["sh", "-c", format!("trap 'exit 0' TERM; : {waits}; while :; do sleep 0.1; done")],
    });
    let mut later =
        api.ecs("DescribeTaskDefinition", &json!({"taskDefinition": "web"}))["taskDefinition"]["containerDefinitions"]
            [0]
        .clone();
    later["dependsOn"] = json!([{"containerName": "first", "condition": "SUCCESS"}]);
    let definition = json!({"family": "web", "executionRoleArn": ROLE, "containerDefinitions": [first, later]});
    api.ecs("RegisterTaskDefinition", &definition);
    let task = cluster.run("web", 1).remove(0);
    let shell = until("the first container", || {
        let mut all = processes().into_iter();
        all.find(|(_, words)| words.first().is_some_and(|w| w == "sh") && words.join(" ").contains(&waits))
    });
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    cluster.until_connected(&api, 1);
    let shell = rustix::process::Pid::from_raw(i32::try_from(shell.0).unwrap()).unwrap();
    rustix::process::kill_process(shell, rustix::process::Signal::TERM).unwrap();
    cluster.wait(&task, "RUNNING");
    tells(&api, "web", &task, &want);
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");

    // What is not there: the task never starts, and says why.
    let more = json!({"secrets": [{"name": "A", "valueFrom": db.replace("prod/db", "prod/no")}]});
    define(&cluster, &api, "lost", &["A"], &more);
    let stopped = cluster.wait(&cluster.run("lost", 1).remove(0), "STOPPED");
    assert_eq!(stopped["stopCode"], "TaskFailedToStart", "{stopped:#}");
    let reason = stopped["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("ResourceInitializationError: unable to pull secrets or registry auth: "), "{reason}");
    assert!(
        reason.ends_with("ResourceNotFoundException: Secrets Manager can't find the specified secret."),
        "{reason}"
    );
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn keys_are_rotated_while_the_server_runs_and_is_killed() {
    let mut cluster = Cluster::start(0);
    let api = cluster.api();
    let arns: Vec<String> = (0..120).map(|n| secret(&api, &format!("s{n}"), &format!("{n}-{MARK}"))).collect();
    let keys =
        || -> Value { serde_json::from_slice(&fs::read(cluster.data().join("secrets-keys.json")).unwrap()).unwrap() };
    let current = || keys()["keys"]["current"].as_str().unwrap().to_owned();
    let opens = |api: &Api| {
        for (n, arn) in arns.iter().enumerate() {
            let read = api.secrets("GetSecretValue", &json!({"SecretId": arn}));
            assert_eq!(read["SecretString"], format!("{n}-{MARK}"));
        }
    };
    // A user's access key is sealed by the same keys.
    api.iam("CreateUser", &json!({"UserName": "ada"}));
    let admin = json!({"UserName": "ada", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    api.iam("AttachUserPolicy", &admin);
    let key = api.iam("CreateAccessKey", &json!({"UserName": "ada"}))["AccessKey"].clone();
    let ada = |api: &Api| api.with_key(key["AccessKeyId"].as_str().unwrap(), key["SecretAccessKey"].as_str().unwrap());
    let rotate = |data: &Path| {
        let out = Command::new(longshore()).args(["secrets", "rotate-key", "--data-dir"]).arg(data).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let first = current();
    let said = rotate(&cluster.data());
    let second = current();
    assert_eq!(said, format!("All secrets are sealed with key {second}; the older keys are gone.\n"));
    assert_ne!(first, second);
    assert_eq!(keys()["keys"]["all"].as_object().unwrap().len(), 1);
    opens(&api);

    // Killed at once, it goes on where it was.
    let data = cluster.data();
    let rotating = std::thread::spawn(move || rotate(&data));
    until("the new key", || (current() != second).then_some(()));
    cluster.kill_server();
    let said = rotating.join().unwrap();
    assert!(said.starts_with("New secrets are sealed with key ") || said.starts_with("All secrets"), "{said}");
    cluster.start_server();
    let api = cluster.api();
    opens(&api);
    let keys =
        || -> Value { serde_json::from_slice(&fs::read(cluster.data().join("secrets-keys.json")).unwrap()).unwrap() };
    until("the old key's end", || (keys()["keys"]["all"].as_object()?.len() == 1).then_some(()));
    opens(&ada(&api));
    let sound = Command::new(longshore()).args(["state", "check", "--data-dir"]).arg(cluster.data()).output().unwrap();
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stdout));
    assert_eq!(found(&cluster), Vec::<String>::new());
    assert!(cluster.stop_server());
}

#[test]
fn an_image_is_pulled_with_the_credentials_that_a_secret_holds() {
    let mut cluster = Cluster::start(1);
    let guarded = Registry::start_guarded().unwrap();
    cluster.image = guarded.busybox_image().unwrap();
    let api = cluster.api();
    let login = secret(&api, "registry", &json!({"username": USER, "password": PASSWORD}).to_string());
    let wrong = secret(&api, "wrong", &json!({"username": USER, "password": "no"}).to_string());
    for (family, more) in
        [("without", json!({})), ("wrong", json!({"repositoryCredentials": {"credentialsParameter": wrong}}))]
    {
        define(&cluster, &api, family, &[], &more);
        let stopped = cluster.wait(&cluster.run(family, 1).remove(0), "STOPPED");
        let reason = stopped["containers"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("CannotPullContainerError: "), "{stopped:#}");
    }
    define(&cluster, &api, "with", &["HOME"], &json!({"repositoryCredentials": {"credentialsParameter": login}}));
    let task = cluster.run("with", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    tells(&api, "with", &task, &[("HOME", "/root")]);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Whether somebody who is not root can come to a file.
pub(crate) fn is_open(path: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |file| file.permissions().mode());
    mode(path) & 0o044 != 0 && path.ancestors().skip(1).all(|folder| mode(folder) & 0o011 != 0)
}

#[test]
fn a_sandboxed_container_is_given_them_too_and_its_sandbox_shows_them_to_nobody() {
    let mut cluster = Cluster::start_with(1, |_| vec![("LONGSHORE_RUNTIME".to_owned(), "runsc".to_owned())]);
    let api = cluster.api();
    let value = format!("key-{MARK}");
    api.ssm("PutParameter", &json!({"Name": "/web/key", "Type": "SecureString", "Value": value}));
    let more = json!({
        "secrets": [{"name": "KEY", "valueFrom": "/web/key"}],
        "healthCheck": {"command": ["CMD-SHELL", "case $KEY in key*) exit 0;; esac; exit 1"], "interval": 5, "retries": 1},
    });
    define(&cluster, &api, "web", &["KEY"], &more);
    let task = cluster.run("web", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    tells(&api, "web", &task, &[("KEY", &value)]);
    until("its health", || (cluster.task(&task)["healthStatus"] == "HEALTHY").then_some(()));
    let mut places = found(&cluster);
    holding(Path::new("/run/containerd/runsc"), &mut places);
    assert!(!places.is_empty() && places.iter().all(|place| place.starts_with("/run/")), "{places:#?}");
    assert_eq!(places.iter().filter(|place| is_open(Path::new(place))).collect::<Vec<_>>(), Vec::<&String>::new());
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    until("their removal", || {
        let mut places = found(&cluster);
        holding(Path::new("/run/containerd/runsc"), &mut places);
        places.is_empty().then_some(())
    });
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
