//! A service's tasks run the image that its deployment found, whatever its tag means by now, unless the container wants otherwise.

use crate::{
    api::Api,
    harness::{Cluster, processes, until},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn mark(service: &str) -> String {
    format!("{service}-{}-", std::process::id())
}

/// The processes of a service's containers, and what their images hold: they wait for more in a file of that name.
fn running(service: &str) -> Vec<(u32, String)> {
    let mark = format!("/tmp/{}", mark(service));
    let version = |(pid, words): (u32, Vec<String>)| Some((pid, words.last()?.strip_prefix(&mark)?.to_owned()));
    processes().into_iter().filter_map(version).collect()
}

fn until_runs(service: &str, version: &str, not: u32) -> u32 {
    until(&format!("{version} of {service}"), || match &running(service)[..] {
        [(pid, there)] if *pid != not => {
            assert_eq!(there, version, "what {service} runs");
            Some(*pid)
        }
        _ => None,
    })
}

/// The digests that the tasks which are to run are described with; an agent tells them a moment after it has started one.
fn digests(api: &Api, service: &str) -> BTreeSet<String> {
    let listed = api.ecs("ListTasks", &json!({ "serviceName": service }));
    let described = api.ecs("DescribeTasks", &json!({ "tasks": listed["taskArns"] }));
    let digest = |task: &Value| task["containers"][0]["imageDigest"].as_str().map(str::to_owned);
    described["tasks"].as_array().unwrap().iter().filter_map(digest).collect()
}

#[test]
fn a_tag_that_moves_changes_no_service_until_it_is_deployed_again() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let more = tempfile::tempdir().unwrap();
    let push = |version: &str| {
        std::fs::write(more.path().join("version"), version).unwrap();
        cluster.image_with(more.path())
    };
    let image = push("one");
    let services = [("kept", "enabled"), ("loose", "disabled")];
    for (name, consistency) in services {
        let script = format!("m=/tmp/{}$(cat /more/version); : >$m; exec tail -f $m", mark(name));
        let container = json!({
            "name": "main", "image": image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script], "versionConsistency": consistency,
        });
        api.ecs("RegisterTaskDefinition", &json!({"family": name, "containerDefinitions": [container]}));
        let at_once = json!({"minimumHealthyPercent": 0, "maximumPercent": 100});
        api.ecs(
            "CreateService",
            &json!({
                "serviceName": name, "taskDefinition": name, "desiredCount": 1, "deploymentConfiguration": at_once,
            }),
        );
    }
    let first = services.map(|(name, _)| until_runs(name, "one", 0));
    let told = |name: &str| until("an image's digest", || Some(digests(&api, name)).filter(|all| all.len() == 1));
    let was = told("kept");

    assert_eq!(push("two"), image);
    for pid in first {
        Cluster::kill(pid);
    }
    let second = until_runs("kept", "one", first[0]);
    until_runs("loose", "two", first[1]);
    assert_eq!(told("kept"), was);
    assert_ne!(told("loose"), was);

    api.ecs("UpdateService", &json!({"service": "kept", "forceNewDeployment": true}));
    until("the deployment of what the tag means now", || {
        let there = running("kept");
        assert!(there.iter().all(|(pid, version)| *pid == second || version == "two"), "{there:?}");
        matches!(&there[..], [(_, version)] if version == "two").then_some(())
    });
    for (name, _) in services {
        api.ecs("DeleteService", &json!({"service": name, "force": true}));
    }
}
