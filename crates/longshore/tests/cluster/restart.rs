//! A container that is started again by its agent, seen from inside, with the agent killed in between.

use crate::harness::{Cluster, told, until};
use serde_json::json;

/// What each of its runs says; the first ends by itself once it may be started again, the second when it is told.
fn script() -> String {
    format!(
        "n=0; [ -e /runs ] && read n < /runs; n=$((n+1)); echo $n > /runs; echo $n >> /more/runs
        [ $n = 1 ] && {{ echo run=1; sleep 61; exit 3; }}
        own=${{ECS_CONTAINER_METADATA_URI_V4#http://*/}}
        ask() {{ printf \"GET /$own HTTP/1.0\\r\\n\\r\\n\" | nc 169.254.170.2 80 | tail -n 1; }}
        until ask | grep -q '\"KnownStatus\":\"RUNNING\"'; do sleep 0.1; done
        echo told=$(ask)
        while read address name; do [ $name = $HOSTNAME ] && echo hosts=$address; done < /etc/hosts
        echo volume=$(cat /more/runs)
        echo pid1=$(cat /proc/1/comm) run=$n
        trap 'exit 5' TERM; : {}; while :; do sleep 0.1; done",
        told()
    )
}

#[test]
fn an_essential_container_is_started_again_and_finds_what_it_wrote() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    let logs = json!({"logDriver": "awslogs", "options": {
        "awslogs-group": "again", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "a", "awslogs-create-group": "true"}});
    let policy = json!({"enabled": true, "restartAttemptPeriod": 60, "ignoredExitCodes": [7]});
    let more = cluster.path("more");
    std::fs::create_dir_all(&more).unwrap();
    std::fs::write(more.join("runs"), "image\n").unwrap();
    let image = cluster.image_declaring("declares", &more, &["/more"]);
    let main = json!({
        "name": "main", "image": image, "memory": 32, "command": ["sh", "-c", script()],
        "logConfiguration": logs, "restartPolicy": policy, "portMappings": [{"containerPort": 80}],
    });
    let beside =
        json!({"name": "beside", "image": cluster.image, "memory": 16, "command": ["sleep", "1000"], "stopTimeout": 2});
    // This one ends with a code that is ignored, and the next one too soon.
    let ignored = json!({"name": "ignored", "image": cluster.image, "memory": 16, "essential": false,
        "command": ["sh", "-c", "sleep 61; exit 7"], "restartPolicy": policy});
    let soon = json!({"name": "soon", "image": cluster.image, "memory": 16, "essential": false,
        "command": ["sh", "-c", "exit 6"], "restartPolicy": policy});
    api.ecs(
        "RegisterTaskDefinition",
        &json!({"family": "again", "containerDefinitions": [main, beside, ignored, soon]}),
    );
    let task = cluster.run("again", 1).remove(0);
    let before = cluster.wait(&task, "RUNNING");
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));

    let said = until("its second run", || {
        let asked = json!({"logGroupName": "again", "logStreamNamePrefix": "a/main"});
        let events = api.try_logs("FilterLogEvents", &asked).ok()?["events"].clone();
        let lines = events.as_array()?.iter().map(|event| event["message"].as_str().unwrap().to_owned());
        let lines: Vec<String> = lines.collect();
        lines.iter().any(|line| line.ends_with("run=2")).then_some(lines)
    });
    assert_eq!(said.iter().filter(|line| line.as_str() == "run=1").count(), 1, "{said:?}");
    assert!(said.iter().any(|line| line == "volume=image 1 2"), "its volume is kept, and not filled anew: {said:?}");
    let own = said.iter().find_map(|line| line.strip_prefix("told=")).unwrap();
    let own: serde_json::Value = serde_json::from_str(own).unwrap();
    assert_eq!(
        (&own["RestartCount"], &own["KnownStatus"], &own["ExitCode"]),
        (&json!(1), &json!("RUNNING"), &json!(null))
    );
    assert!(
        said.iter().any(|line| line.starts_with("hosts=") && own["Networks"][0]["IPv4Addresses"][0] == line[6..]),
        "{said:?}"
    );
    let now = cluster.task(&task);
    let of = |task: &serde_json::Value, name: &str| {
        task["containers"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone()
    };
    assert_eq!(now["lastStatus"], "RUNNING", "{now:#}");
    for member in ["lastStatus", "runtimeId", "networkBindings"] {
        assert_eq!(of(&now, "main")[member], of(&before, "main")[member], "{now:#}");
    }
    assert_eq!(of(&now, "beside")["lastStatus"], "RUNNING");

    // It ends again, too soon. The others have ended by themselves by then.
    until("the end of the others", || {
        let now = cluster.task(&task);
        ["ignored", "soon"].iter().all(|name| of(&now, name)["lastStatus"] == "STOPPED").then_some(())
    });
    cluster.end_told();
    let stopped = cluster.wait(&task, "STOPPED");
    assert_eq!(
        (&stopped["stopCode"], &of(&stopped, "main")["exitCode"]),
        (&json!("EssentialContainerExited"), &json!(5))
    );
    assert_eq!((&of(&stopped, "ignored")["exitCode"], &of(&stopped, "soon")["exitCode"]), (&json!(7), &json!(6)));
}
