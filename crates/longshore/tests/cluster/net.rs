//! What people see of networks: `net` names who is where, and what `net why` says is what packets do. What it advises is done
//! word for word, with AWS's own client.

use crate::{
    awsvpc::{Running, Vpc, define},
    harness::{Cluster, longshore, python, until},
};
use serde_json::{Value, json};

/// The answer, and the exit code.
fn why(cluster: &Cluster, sender: &str, receiver: &str, more: &[&str]) -> (Value, Option<i32>) {
    let out = cluster.client(longshore(), &[&["net", "why", sender, receiver, "--output", "json"], more].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    (serde_json::from_slice(&out.stdout).unwrap_or_else(|_| json!({"said": said})), out.status.code())
}

/// The kinds of steps, with a mark before those that do not pass.
fn kinds(answer: &Value) -> Vec<String> {
    let steps = answer["steps"].as_array().unwrap_or_else(|| panic!("no steps: {answer:#}"));
    let mark = |step: &Value| if step["passes"] == true { "" } else { "!" };
    steps.iter().map(|step| format!("{}{}", mark(step), step["kind"].as_str().unwrap())).collect()
}

/// Does the first thing that is advised.
fn follow(cluster: &Cluster, answer: &Value) {
    let steps = answer["steps"].as_array().unwrap();
    let advised = steps.iter().find_map(|step| step["next"][0].as_str()).unwrap();
    let words: Vec<String> = advised.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
    assert_eq!(words[0], "aws", "{advised}");
    let words: Vec<&str> = ["-m", "awscli"].into_iter().chain(words[1..].iter().map(String::as_str)).collect();
    let out = cluster.client(&python(), &words);
    assert!(out.status.success(), "{advised}: {}", String::from_utf8_lossy(&out.stderr));
}

fn id(task: &Running) -> &str {
    task.arn.rsplit('/').next().unwrap()
}

#[test]
fn what_is_said_of_a_connection_is_what_packets_do() {
    let cluster = Cluster::start(2);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let (clients, servers) = (vpc.group("clients"), vpc.group("servers"));
    let server = vpc.run(&cluster, "web", &[&servers]);
    let client = vpc.run(&cluster, "web", &[&clients]);
    let at = |port: u16| format!("{}:{port}", id(&server));

    let (answer, code) = why(&cluster, id(&client), &at(80), &[]);
    assert_eq!(
        (kinds(&answer), code),
        (["local", "egress", "!noIngress"].map(str::to_owned).to_vec(), Some(1)),
        "{answer:#}"
    );
    assert!(!client.reaches(&server, 80));
    follow(&cluster, &answer);
    let (answer, code) = why(&cluster, id(&client), &at(80), &[]);
    assert_eq!((&answer["passes"], code), (&json!(true), Some(0)), "{answer:#}");
    until("the advised rule lets it in", || client.reaches(&server, 80).then_some(()));
    // The other port and the other way are still shut, whichever name one has.
    let (answer, code) = why(&cluster, &client.address, &format!("{}:81", server.address), &[]);
    assert_eq!((kinds(&answer).pop().as_deref(), code), (Some("!noIngress"), Some(1)), "{answer:#}");
    assert!(!client.reaches(&server, 81));
    assert_eq!(why(&cluster, &server.address, &format!("{}:80", client.address), &[]).1, Some(1));
    assert!(!server.reaches(&client, 80));
    assert_eq!(why(&cluster, id(&client), &format!("{}:80", id(&client)), &[]).1, Some(0));
    assert!(client.reaches(&client, 80), "what stays within is not filtered");

    let (answer, code) = why(&cluster, id(&client), "10.7.0.2:53", &["--protocol", "udp"]);
    assert_eq!((kinds(&answer)[0].as_str(), code), ("served", Some(0)), "{answer:#}");

    // A service's tasks are meant by its name.
    api.ecs(
        "CreateService",
        &json!({
            "serviceName": "callers", "taskDefinition": "web", "desiredCount": 1,
            "networkConfiguration": vpc.configuration(&[&clients]),
        }),
    );
    let (answer, code) = until("a task of the service", || {
        let (answer, code) = why(&cluster, "service/callers", &at(80), &["--cluster", "default"]);
        (code != Some(2)).then_some((answer, code))
    });
    assert_eq!(code, Some(0), "{answer:#}");
    assert!(answer["from"]["name"].as_str().unwrap().contains(" of service callers"), "{answer:#}");
    // Both ends by one name are two tasks, and not one that talks to itself.
    let among = || why(&cluster, "service/callers", "service/callers:80", &["--cluster", "default"]);
    let (said, code) = among();
    assert_eq!(code, Some(2), "{said:#}");
    assert!(said["said"].as_str().unwrap().contains("only one task"), "{said:#}");
    api.ecs("UpdateService", &json!({"service": "callers", "desiredCount": 2}));
    let (answer, code) = until("two tasks of the service", || {
        let (answer, code) = among();
        (code != Some(2)).then_some((answer, code))
    });
    assert_eq!((kinds(&answer).pop().as_deref(), code), (Some("!noIngress"), Some(1)), "{answer:#}");
    assert_ne!(answer["from"]["name"], answer["to"]["name"], "{answer:#}");

    // What names of Service Connect lead to is no end.
    let (said, code) = why(&cluster, id(&client), "169.254.64.1:80", &[]);
    assert_eq!(code, Some(2), "{said:#}");
    assert!(said["said"].as_str().unwrap().contains("Service Connect"), "{said:#}");

    // Out and in, where there is no gateway.
    let (answer, code) = why(&cluster, id(&client), "internet:443", &[]);
    assert_eq!((kinds(&answer)[0].as_str(), code), ("!noRoute", Some(1)), "{answer:#}");
    let (answer, code) = why(&cluster, "internet", &at(80), &[]);
    assert_eq!((kinds(&answer)[0].as_str(), code), ("!notPublic", Some(1)), "{answer:#}");
    for (sender, receiver) in [("nobody", "internet:80"), ("internet", "10.7.1.4"), ("eni-00000000", "internet:80")] {
        assert_eq!(why(&cluster, sender, receiver, &[]).1, Some(2), "{sender} {receiver}");
    }

    let shown: Value = serde_json::from_str(&cluster.cli(&["net", "--output", "json"])).unwrap();
    let interfaces = shown["interfaces"].as_array().unwrap();
    let own = interfaces.iter().find(|interface| interface["task"]["id"] == id(&server)).unwrap();
    assert_eq!((&own["addresses"], &own["securityGroups"][0]["name"]), (&json!([server.address]), &json!("servers")));
    let machines = interfaces.iter().filter(|interface| interface["instance"].is_string()).count();
    assert_eq!(machines, 2, "{shown:#}");
    let table = cluster.cli(&["net"]);
    for part in [&*vpc.id, id(&server), &server.address, "(service callers)", "Way out"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}
