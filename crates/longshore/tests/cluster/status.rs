//! What people see: `status` of a cluster where an agent is dead and tasks have failed, and what it says of a healthy one.

use crate::harness::{Cluster, longshore, until};
use serde_json::{Value, json};
use std::process::Output;

/// `status` as JSON, with its exit code.
fn status(cluster: &Cluster, more: &[&str]) -> (Value, Option<i32>) {
    let out = cluster.client(longshore(), &[&["status", "--output", "json"], more].concat());
    let text = String::from_utf8_lossy(&out.stderr);
    (serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {text}")), out.status.code())
}

fn of_kind<'a>(status: &'a Value, kind: &str) -> Vec<&'a Value> {
    status["attention"].as_array().unwrap().iter().filter(|a| a["kind"] == kind).collect()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn one_dead_agent_and_one_failed_task() {
    let mut cluster = Cluster::start(2);
    let (well, code) = status(&cluster, &["--check"]);
    assert_eq!((&well["healthy"], &well["attention"], code), (&json!(true), &json!([]), Some(0)), "{well:#}");
    let instances = well["clusters"][0]["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 2);
    for instance in instances {
        assert_eq!(
            (&instance["status"], &instance["agentConnected"]),
            (&json!("ACTIVE"), &json!(true)),
            "{instance:#}"
        );
        assert_eq!(instance["memory"], json!({"used": 0, "registered": 4096}), "{instance:#}");
    }
    cluster.define("long", "sleep 1000");
    cluster.define("bad", "exit 42");
    let (long, bad) = (cluster.run("long", 1), cluster.run("bad", 1));
    cluster.wait(&long[0], "RUNNING");
    cluster.wait(&bad[0], "STOPPED");
    let image = std::mem::replace(&mut cluster.image, "127.0.0.1:1/nowhere:1".to_owned());
    cluster.define("nowhere", "true");
    cluster.image = image;
    let nowhere = cluster.run("nowhere", 1);
    cluster.wait(&nowhere[0], "STOPPED");
    // An agent that is killed is started again within moments; one that ends and must not be is gone for good.
    let away = kill_an_agent_for_good(&cluster);
    let (ill, code) = status(&cluster, &["--check"]);
    assert_eq!((&ill["healthy"], code), (&json!(false), Some(3)), "{ill:#}");
    let tasks = &ill["clusters"][0]["tasks"];
    assert_eq!((&tasks["running"], &tasks["stopped"], &tasks["failed"]), (&json!(1), &json!(2), &json!(2)), "{ill:#}");
    let dead = of_kind(&ill, "agentDisconnected");
    assert_eq!(dead.len(), 1, "{ill:#}");
    assert!(dead[0]["what"].as_str().unwrap().starts_with(&format!("{away}: agent disconnected for ")), "{ill:#}");
    let failed = of_kind(&ill, "taskFailed");
    assert_eq!((&failed[0]["why"], &failed[0]["resources"]), (&json!("main exited with 42"), &json!(bad)), "{ill:#}");
    let lost = of_kind(&ill, "taskFailedToStart");
    assert_eq!(lost[0]["resources"], json!(nowhere));
    assert!(lost[0]["why"].as_str().unwrap().contains("CannotPullContainerError"), "{ill:#}");
    // The same for people, in a pipe: whole lines, no colours, and what to do next.
    let text = cluster.cli(&["status", "--cluster", "default"]);
    assert!(!text.contains('\u{1b}') && text.contains("Needs attention"), "{text}");
    let id = bad[0].rsplit('/').next().unwrap();
    assert!(text.contains(&format!("→ longshore logs --cluster default --task-id {id}")), "{text}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn a_service_that_finds_no_place_is_told_and_the_container_that_ended_first() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let create = |name: &str, definition: &str| {
        api.ecs("CreateService", &json!({"serviceName": name, "taskDefinition": definition, "desiredCount": 1}));
    };
    let container = |name: &str, memory: u32, script: &str| json!({"name": name, "image": cluster.image, "memory": memory, "stopTimeout": 2, "command": ["sh", "-c", script]});
    let stay = "trap 'exit 143' TERM; while :; do sleep 0.1; done";
    for (family, containers) in [
        ("well", vec![container("main", 16, stay)]),
        ("huge", vec![container("main", 60_000, stay)]),
        ("pair", vec![container("a", 16, stay), container("b", 16, "sleep 1; exit 7")]),
    ] {
        api.ecs("RegisterTaskDefinition", &json!({"family": family, "containerDefinitions": containers}));
    }
    create("well", "well");
    create("huge", "huge");
    let ill = until("the service is told", || {
        let (now, code) = status(&cluster, &["--check"]);
        let services = &now["clusters"][0]["services"];
        let settled = services["belowDesired"] == 1 && !of_kind(&now, "serviceHeldBack").is_empty();
        settled.then_some((now, code))
    });
    let (ill, code) = ill;
    assert_eq!((&ill["healthy"], code), (&json!(false), Some(3)), "{ill:#}");
    assert_eq!(ill["clusters"][0]["services"]["active"], 2, "{ill:#}");
    let [held] = of_kind(&ill, "serviceHeldBack")[..] else { panic!("{ill:#}") };
    assert!(held["what"].as_str().unwrap().starts_with("service huge: 0 of 1 tasks run"), "{held:#}");
    assert!(held["why"].as_str().unwrap().contains("1 of 1 tasks of huge:1 cannot be placed: "), "{held:#}");
    assert_eq!(held["next"], "longshore service status huge --cluster default");
    let text = cluster.cli(&["status"]);
    assert!(text.contains("Services") && text.contains("2, 1 short"), "{text}");

    let pair = cluster.run("pair", 1);
    cluster.wait(&pair[0], "STOPPED");
    let (ill, _) = status(&cluster, &[]);
    let [failed] = of_kind(&ill, "taskFailed")[..] else { panic!("{ill:#}") };
    assert_eq!(failed["why"], "b exited with 7", "{ill:#}");
    for name in ["well", "huge"] {
        api.ecs("DeleteService", &json!({"service": name, "force": true}));
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Stops an agent's process without ending it: the server loses the session, and its lock keeps another from being started.
fn kill_an_agent_for_good(cluster: &Cluster) -> String {
    let (name, pid) = cluster.agents().into_iter().next().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    until("the server misses the agent", || {
        let (now, _) = status(cluster, &[]);
        (!of_kind(&now, "agentDisconnected").is_empty()).then_some(())
    });
    name
}

#[test]
fn errors_say_what_to_do_next() {
    let mut cluster = Cluster::start(1);
    let ask = |arguments: &[&str]| {
        let out = cluster.client(longshore(), arguments);
        // A check that could not be made says nothing about the state, and has a code of its own.
        let code = if arguments.starts_with(&["state", "check"]) { 2 } else { 1 };
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {}", said(&out));
        said(&out)
    };
    let data = cluster.path("data").display().to_string();
    let other = cluster.path("other").display().to_string();
    let pid = cluster.server_pid().to_string();
    let elsewhere = ["--listen", "127.0.0.1:4590", "--link-listen", "127.0.0.1:4591"];
    for (arguments, parts) in [
        (
            vec!["ps", "--cluster", "shop"],
            vec!["Cluster 'shop' is not active", "there are: default", "up --cluster shop"],
        ),
        (vec!["status", "--cluster", "shop"], vec!["ClusterNotFoundException", "there are: default"]),
        (vec!["ps", "--region", "eu-west-1"], vec!["There are none in region eu-west-1"]),
        (vec!["ps", "--endpoint", "http://127.0.0.1:1"], vec!["cannot reach http://127.0.0.1:1", "longshore dev"]),
        (vec!["ps", "--endpoint", "https://127.0.0.1:4566"], vec!["cannot reach https://", "http:// or https://"]),
        (vec!["dev", "--data-dir", &other], vec!["cannot listen on 127.0.0.1:4566", &pid, "--listen"]),
        ([&["server", "--data-dir", &data], &elsewhere[..]].concat(), vec!["in use", &pid, "--data-dir"]),
        (vec!["state", "check", "--data-dir", "/nowhere"], vec!["no state store", "LONGSHORE_DATA_DIR"]),
    ] {
        let told = ask(&arguments);
        for part in parts {
            assert!(told.contains(part), "{arguments:?}: '{part}' is not in: {told}");
        }
        assert!(told.contains("\n→ "), "{arguments:?}: {told}");
    }
    let out = std::process::Command::new(longshore())
        .args(["ps"])
        .envs(cluster.environment())
        .env("AWS_SECRET_ACCESS_KEY", "wrong")
        .env("HOME", cluster.path(""))
        .output()
        .unwrap();
    let told = said(&out);
    assert!(told.contains("InvalidSignatureException") && told.contains("eval \"$(longshore env)\""), "{told}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn bash_completes_commands_flags_and_what_only_the_server_knows() {
    let mut cluster = Cluster::start(1);
    cluster.define("long", "sleep 1000");
    let task = cluster.run("long", 1)[0].rsplit('/').next().unwrap().to_owned();
    cluster.ecs("create-cluster", &["--cluster-name", "shop"]);
    let (bin, script) = (cluster.path("bin"), cluster.path("script"));
    std::fs::create_dir(&bin).unwrap();
    for name in ["longshore", "ecs-cli"] {
        std::os::unix::fs::symlink(longshore(), bin.join(name)).unwrap();
    }
    std::fs::write(&script, cluster.cli(&["completions", "bash"])).unwrap();
    let complete = |line: &str| {
        // As readline does: the words, which of them is being completed, and the function that was registered for it.
        let driver = format!(
            "PATH={}:$PATH; source {}; COMP_WORDS=({line}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMP_LINE='{line}'; \
             COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; name=${{COMP_WORDS[0]}}; last=${{COMP_WORDS[COMP_CWORD]}}; \
             function=$(complete -p $name | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
             $function $name \"$last\" '' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bin.display(),
            script.display()
        );
        let out = cluster.client("bash", &["--norc", "-c", &driver]);
        assert!(out.status.success(), "{}", said(&out));
        let mut found: Vec<_> = String::from_utf8(out.stdout).unwrap().lines().map(|l| l.trim().to_owned()).collect();
        found.sort();
        found
    };
    for (line, wanted) in [
        ("longshore sta", vec!["state", "status"]),
        ("longshore compose sc", vec!["scale"]),
        ("longshore status --che", vec!["--check"]),
        ("longshore status --cluster sh", vec!["shop"]),
        ("ecs-cli ps --cluster sh", vec!["shop"]),
        (&format!("longshore logs --cluster default --task-id {}", &task[..4]), vec![task.as_str()]),
    ] {
        assert_eq!(complete(line), wanted, "{line}");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
