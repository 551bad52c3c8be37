//! Roles seen from inside containers: boto3 finds the credentials of its task by itself, reaches the server by its agent, and may
//! do what the role may and no more.

use crate::{
    api::Api,
    awsvpc::Vpc,
    harness::{Cluster, key, processes, until},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

/// What a container needs of the machine's Python and boto3: the image has nothing of it.
const SERVICES: [&str; 3] = ["ecs", "secretsmanager", "sts"];
/// Runs below the loader that comes with it, because the image has none.
const PYTHON: &str = "/more/lib/ld.so --library-path /more/lib /more/python/bin/python3";

fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap();
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A Python with boto3, in a folder that is put into an image.
fn python(at: &Path) {
    let (lib, home) = (at.join("lib"), at.join("python"));
    for folder in [&lib, &home.join("bin"), &home.join("lib")] {
        fs::create_dir_all(folder).unwrap();
    }
    let told = run(
        &crate::harness::python(),
        &[
            "-c",
            "import sys, sysconfig, os, boto3; print(os.path.realpath(sys.executable)); print(sysconfig.get_paths()['stdlib']); print(os.path.dirname(os.path.dirname(boto3.__file__)))",
        ],
    );
    let told: Vec<PathBuf> = told.lines().map(PathBuf::from).collect();
    let [program, standard, packages] = &told[..] else { panic!("{told:?}") };
    let version = standard.file_name().unwrap();
    let target = home.join("lib").join(version);
    let text = |path: &Path| path.display().to_string();
    fs::copy(program, home.join("bin/python3")).unwrap();
    let left_out = [
        "test",
        "__pycache__",
        "idlelib",
        "tkinter",
        "ensurepip",
        "lib2to3",
        "config-*",
        "site-packages",
        "*.a",
        "turtledemo",
    ];
    let excluded = left_out.map(|name| format!("--exclude={name}"));
    let tar = format!("tar -C '{}' {} -cf - . | tar -C '{}' -xf -", text(standard), excluded.join(" "), text(&target));
    fs::create_dir_all(target.join("site-packages")).unwrap();
    run("sh", &["-c", &tar]);
    let into = target.join("site-packages");
    for package in ["boto3", "botocore", "jmespath", "dateutil", "s3transfer", "urllib3", "six.py"] {
        run("cp", &["-r", &text(&packages.join(package)), &text(&into)]);
    }
    // Of botocore's 400 services those that are asked.
    let data = into.join("botocore/data");
    for entry in fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() && !SERVICES.contains(&name.as_str()) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let modules = run("find", &[&text(&target.join("lib-dynload")), "-name", "*.so"]);
    let program = text(&home.join("bin/python3"));
    for needs in modules.lines().chain([program.as_str()]) {
        for line in run("ldd", &[needs]).lines() {
            let path = line.split_whitespace().find(|word| word.starts_with('/')).map(Path::new);
            let Some(path) = path.filter(|path| path.exists()) else { continue };
            let name = path.file_name().unwrap().to_str().unwrap();
            let name = if name.starts_with("ld-linux") { "ld.so" } else { name };
            if !lib.join(name).exists() {
                fs::copy(path, lib.join(name)).unwrap();
            }
        }
    }
}

/// What the tasks do: every call is one line of what came of it.
const SCRIPT: &str = r#"
import boto3, botocore, json, os
def tell(word, call):
    try:
        answer = call()
        answer.pop("ResponseMetadata")
        print(word, json.dumps(answer, default=str), flush=True)
    except botocore.exceptions.ClientError as error:
        print(word, json.dumps(error.response["Error"]), flush=True)
tell("who", boto3.client("sts").get_caller_identity)
secrets = boto3.client("secretsmanager")
tell("own", lambda: secrets.get_secret_value(SecretId="own"))
tell("foreign", lambda: secrets.get_secret_value(SecretId="foreign"))
tell("ecs", boto3.client("ecs").list_clusters)
credentials = boto3.Session().get_credentials()
print("method", json.dumps([credentials.method, os.environ["AWS_ENDPOINT_URL"]]), flush=True)
# Backwards, so that they can be looked for elsewhere.
print("keys", json.dumps([text[::-1] for text in (credentials.access_key, credentials.secret_key, credentials.token)]), flush=True)
print("end null", flush=True)
"#;

/// What a family has told, by its first word, once it has told all.
fn told(api: &Api, stream: &str) -> serde_json::Map<String, Value> {
    until(&format!("all that {stream} tells"), || {
        let asked = json!({"logGroupName": "told", "logStreamNames": [stream]});
        let events = api.try_logs("FilterLogEvents", &asked).ok()?["events"].clone();
        let lines = events.as_array()?.iter().filter_map(|event| event["message"].as_str()?.split_once(' '));
        let all: serde_json::Map<_, _> =
            lines.filter_map(|(word, rest)| Some((word.to_owned(), serde_json::from_str(rest).ok()?))).collect();
        all.contains_key("end").then_some(all)
    })
}

#[test]
fn a_container_acts_as_its_tasks_role_with_boto3() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let folder = tempfile::tempdir().unwrap();
    python(folder.path());
    fs::write(folder.path().join("ask.py"), SCRIPT).unwrap();
    let image = cluster.image_with(folder.path());
    api.logs("CreateLogGroup", &json!({"logGroupName": "told"}));
    let own = api.secrets("CreateSecret", &json!({"Name": "own", "SecretString": "hunter2"}))["ARN"].clone();
    api.secrets("CreateSecret", &json!({"Name": "foreign", "SecretString": "no"}));
    let may = json!([{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": own}]);
    let arn = api.task_role("web", &may);
    let vpc = Vpc::new(&api, "10.9");
    let group = vpc.group("web");
    for mode in ["bridge", "host", "awsvpc"] {
        let container = json!({
            "name": "main", "image": image, "stopTimeout": 2,
            "command": ["sh", "-c", format!("{PYTHON} /more/ask.py; trap 'exit 0' TERM; while :; do sleep 0.1; done")],
            "environment": [{"name": "PYTHONHOME", "value": "/more/python"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "told", "awslogs-region": "us-east-1", "awslogs-stream-prefix": mode}},
        });
        let definition = json!({
            "family": mode, "networkMode": mode, "taskRoleArn": arn, "memory": "256", "containerDefinitions": [container],
        });
        api.ecs("RegisterTaskDefinition", &definition);
        let task = match mode {
            "awsvpc" => vpc.run(&cluster, mode, &[&group]).arn,
            _ => cluster.run(mode, 1).remove(0),
        };
        let id = task.rsplit('/').next().unwrap();
        let all = told(&api, &format!("{mode}/main/{id}"));
        let session = format!("arn:aws:sts::000000000000:assumed-role/web/{id}");
        assert_eq!(all["who"]["Arn"], json!(session), "{all:#?}");
        assert_eq!(all["own"]["SecretString"], "hunter2", "{all:#?}");
        for (word, action) in [("foreign", "secretsmanager:GetSecretValue"), ("ecs", "ecs:ListClusters")] {
            assert_eq!(all[word]["Code"], "AccessDeniedException", "{all:#?}");
            let words = format!("User: {session} is not authorized to perform: {action}");
            assert!(all[word]["Message"].as_str().unwrap().starts_with(&words), "{all:#?}");
        }
        assert_eq!(all["method"], json!(["container-role", "http://169.254.170.2:51680"]));
        let keys = all["keys"].as_array().unwrap().iter();
        let keys: Vec<String> = keys.map(|key| key.as_str().unwrap().chars().rev().collect()).collect();
        let path = nothing_is_told(&cluster, &task, &keys);
        if mode == "bridge" {
            asks_again(&cluster, &api, &path, &arn);
        }
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(&task, "STOPPED");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Neither what a task asks with nor where it asks is in a file of the server's and the agents', or in an argument.
fn nothing_is_told(cluster: &Cluster, task: &str, keys: &[String]) -> String {
    let id = task.rsplit('/').next().unwrap();
    let environment = processes().into_iter().find_map(|(pid, words)| {
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let is_it = group.contains(id) && !words.is_empty();
        is_it.then(|| String::from_utf8_lossy(&environment).into_owned())
    });
    let environment = environment.expect("the container's process");
    let path = environment.split('\0').find_map(|line| line.strip_prefix("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="));
    let path = path.expect("a container of a task with a role is told where to ask");
    let id = path.strip_prefix("/v2/credentials/").unwrap();
    // The beginning of a token names its key and is in many.
    let wanted: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[key.len() - 20..]).chain([id.as_bytes()]).collect();
    let holds = |bytes: &[u8]| wanted.iter().any(|what| bytes.windows(what.len()).any(|window| window == *what));
    let mut found = Vec::new();
    holding(&cluster.data(), &holds, &mut found);
    holding(&Path::new("/run/longshore").join(key(&cluster.data())), &holds, &mut found);
    // In memory, and nobody else's to read: see docs/secrets.md.
    found.retain(|file| !file.ends_with("/config.json"));
    assert_eq!(found, Vec::<String>::new());
    assert!(!holds(cluster.log().as_bytes()), "the log tells it");
    let arguments = processes().into_iter().filter(|(_, words)| holds(words.join(" ").as_bytes()));
    assert_eq!(arguments.count(), 0);
    path.to_owned()
}

/// Another run of the agent has no credentials left, and has others for whoever knows the path.
fn asks_again(cluster: &Cluster, api: &Api, path: &str, role: &str) {
    let (instance, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    cluster.until_connected(api, 1);
    let netns = Path::new("/run/longshore").join(key(&cluster.data())).join("netns").join(instance);
    let get = |path: &str| in_network(&netns, "169.254.170.2:80", &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let answer = until("credentials", || Some(get(path)).filter(|answer| answer.starts_with("HTTP/1.1 200")));
    assert!(answer.contains(&format!("\"RoleArn\":\"{role}\"")), "{answer}");
    let other = get("/v2/credentials/00000000-0000-0000-0000-000000000000");
    assert!(other.starts_with("HTTP/1.1 400") && other.contains("InvalidIdInRequest"), "{other}");
}

fn holding(folder: &Path, holds: &impl Fn(&[u8]) -> bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            // What images and containers hold is theirs.
            if !path.ends_with("io.containerd.snapshotter.v1.overlayfs") && !path.ends_with("rootfs") {
                holding(&path, holds, found);
            }
        } else if kind.is_file() && fs::read(&path).is_ok_and(|bytes| holds(&bytes)) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn an_instance_has_the_credentials_of_its_profile() {
    let mut cluster = Cluster::start(0);
    let api = cluster.api();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]});
    api.iam("CreateRole", &json!({"RoleName": "machine", "AssumeRolePolicyDocument": trust.to_string()}));
    api.iam("CreateInstanceProfile", &json!({"InstanceProfileName": "machines"}));
    api.iam("AddRoleToInstanceProfile", &json!({"InstanceProfileName": "machines", "RoleName": "machine"}));
    let made = api.ec2(
        "RunInstances",
        &json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.medium", "IamInstanceProfile": {"Name": "machines"}}),
    );
    let instance = made["Instances"][0]["InstanceId"].as_str().unwrap().to_owned();
    let profile = &made["Instances"][0]["IamInstanceProfile"];
    assert_eq!(profile["Arn"], "arn:aws:iam::000000000000:instance-profile/machines", "{made:#}");
    cluster.until_connected(&api, 1);
    let netns = Path::new("/run/longshore").join(key(&cluster.data())).join("netns").join(&instance);
    let get = |path: &str| {
        let request = format!("GET /latest/meta-data/iam/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = in_network(&netns, "169.254.169.254:80", &request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.starts_with("HTTP/1.1 200"), body.to_owned())
    };
    assert_eq!(until("its session", || Some(get("security-credentials/")).filter(|(found, _)| *found)).1, "machine");
    let (_, document) = get("security-credentials/machine");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["Code"], &document["Type"]), (&json!("Success"), &json!("AWS-HMAC")));
    let member = |name: &str| document[name].as_str().unwrap().to_owned();
    let own = api.with(member("AccessKeyId"), member("SecretAccessKey"), member("Token"));
    let session = format!("arn:aws:sts::000000000000:assumed-role/machine/{instance}");
    assert_eq!(own.sts("GetCallerIdentity", &json!({}))["Arn"], json!(session));

    // What the profile does not hold any more, the instance has no more of.
    api.iam("RemoveRoleFromInstanceProfile", &json!({"InstanceProfileName": "machines", "RoleName": "machine"}));
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    cluster.until_connected(&api, 1);
    until("nothing", || (!get("security-credentials/").0).then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Asks in the network of an instance.
pub(crate) fn in_network(netns: &Path, address: &str, request: &str) -> String {
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
