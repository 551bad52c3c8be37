//! What goes beyond the ECS CLI: `deploy`, `run`, `service status`, against an endpoint that plays a service's story.

use super::{
    Desk,
    recorder::{ARN, Call, Script},
    text,
};
use serde_json::{Value, json};

const FAILED: &str = "ECS deployment circuit breaker: tasks failed to start.";

fn definition(revision: &str, image: &str) -> Value {
    json!({
        "tags": [{"key": "team", "value": "shop"}],
        "taskDefinition": {
            "taskDefinitionArn": format!("{ARN}task-definition/web:{revision}"), "family": "web", "revision": 1,
            "status": "ACTIVE", "networkMode": "bridge", "compatibilities": ["EC2"], "requiresAttributes": [],
            "registeredAt": 5.0, "registeredBy": "arn:aws:iam::123456789012:root",
            "containerDefinitions": [
                {"name": "app", "image": image, "memory": 64, "essential": true, "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "lg", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "p"},
                }},
                {"name": "side", "image": "side:1", "memory": 8, "essential": false},
            ],
        },
    })
}

fn deployment(id: &str, status: &str, revision: &str, state: &str, reason: &str) -> Value {
    json!({
        "id": id, "status": status, "taskDefinition": format!("{ARN}task-definition/web:{revision}"),
        "desiredCount": 2, "runningCount": 2, "pendingCount": 0, "failedTasks": 0, "rolloutState": state,
        "rolloutStateReason": reason,
    })
}

fn service(deployments: &[Value]) -> Value {
    json!({
        "serviceName": "web", "serviceArn": format!("{ARN}service/demo/web"), "clusterArn": format!("{ARN}cluster/demo"),
        "status": "ACTIVE", "desiredCount": 2, "runningCount": 2, "pendingCount": 0, "schedulingStrategy": "REPLICA",
        "taskDefinition": deployments[0]["taskDefinition"], "deployments": deployments, "events": [],
        "currentServiceDeployment": format!("{ARN}service-deployment/demo/web/s1"),
        "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
    })
}

fn task(status: &str, exit: Option<i32>) -> Value {
    json!({
        "taskArn": format!("{ARN}task/demo/t1"), "taskDefinitionArn": format!("{ARN}task-definition/web:2"),
        "lastStatus": status, "desiredStatus": status, "stopCode": "EssentialContainerExited", "stoppedAt": 5.0,
        "stoppedReason": "Essential container in task exited", "startedBy": "new",
        "containers": [
            {"name": "app", "image": "web:2", "lastStatus": status, "exitCode": exit},
            {"name": "side", "image": "side:1", "lastStatus": status, "exitCode": 137},
        ],
    })
}

fn count(before: &[Call], operation: &str) -> usize {
    before.iter().filter(|call| call.operation == operation).count()
}

/// What every story has in common: revision 1 runs; what is registered is revision 2; one task failed and wrote why.
fn common(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    let answer = match call.operation.as_str() {
        "DescribeTaskDefinition" => {
            let named = call.body["taskDefinition"].as_str().unwrap();
            definition(named.rsplit(':').next().unwrap(), "web:1")
        }
        "RegisterTaskDefinition" => definition("2", "web:2"),
        "UpdateService" => {
            let id = if count(before, "UpdateService") == 0 { "new" } else { "back" };
            let revision = call.body["taskDefinition"].as_str().unwrap_or("web:2").rsplit(':').next().unwrap();
            json!({"service": service(&[deployment(id, "PRIMARY", revision, "IN_PROGRESS", "")])})
        }
        "ListTasks" if call.body["desiredStatus"] == "STOPPED" => json!({"taskArns": [format!("{ARN}task/demo/t1")]}),
        "ListTasks" => json!({"taskArns": []}),
        "DescribeTasks" => json!({"tasks": [task("STOPPED", Some(1))], "failures": []}),
        "DescribeServiceDeployments" => json!({"serviceDeployments": [], "failures": []}),
        // The deployment is over; or nothing was ever completed.
        "StopServiceDeployment" => return Some((400, json!({"__type": "ConflictException", "message": "No."}))),
        "GetLogEvents" => json!({"events": [{"timestamp": 1, "message": "panic: no database"}]}),
        _ => return None,
    };
    Some((200, answer))
}

/// The looks after the first, which is before anything is asked for.
fn looks(before: &[Call]) -> usize {
    let since = before.iter().rposition(|call| call.operation == "UpdateService");
    since.map_or(0, |at| count(&before[at..], "DescribeServices"))
}

fn describe(deployments: &[Value]) -> Option<(u16, Value)> {
    Some((200, json!({"services": [service(deployments)], "failures": []})))
}

fn old(status: &str) -> Value {
    deployment("old", status, "1", "COMPLETED", "")
}

fn goes_well(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    if call.operation != "DescribeServices" {
        return common(call, before);
    }
    match (count(before, "UpdateService"), looks(before)) {
        (0, _) => describe(&[old("PRIMARY")]),
        (_, 0) => describe(&[deployment("new", "PRIMARY", "2", "IN_PROGRESS", ""), old("ACTIVE")]),
        (_, _) => describe(&[deployment("new", "PRIMARY", "2", "COMPLETED", "")]),
    }
}

fn fails(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    if call.operation != "DescribeServices" {
        return common(call, before);
    }
    match (count(before, "UpdateService"), looks(before)) {
        (0, _) => describe(&[old("PRIMARY")]),
        (1, 0) => describe(&[deployment("new", "PRIMARY", "2", "IN_PROGRESS", ""), old("ACTIVE")]),
        (1, _) => describe(&[deployment("new", "PRIMARY", "2", "FAILED", FAILED), old("ACTIVE")]),
        (_, _) => describe(&[deployment("back", "PRIMARY", "1", "COMPLETED", "")]),
    }
}

fn is_rolled_back(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    if call.operation != "DescribeServices" {
        return common(call, before);
    }
    let failed = || deployment("new", "ACTIVE", "2", "FAILED", FAILED);
    match (count(before, "UpdateService"), looks(before)) {
        (0, _) => describe(&[old("PRIMARY")]),
        (_, 0) => describe(&[deployment("new", "PRIMARY", "2", "IN_PROGRESS", ""), old("ACTIVE")]),
        (_, 1) => describe(&[deployment("breaker", "PRIMARY", "1", "IN_PROGRESS", ""), failed()]),
        (_, _) => describe(&[deployment("breaker", "PRIMARY", "1", "COMPLETED", "")]),
    }
}

fn deploy(script: Script, arguments: &[&str], code: i32) -> (Desk, String, String) {
    let desk = Desk::playing(script);
    let out = desk.own(&[&["deploy", "web"], arguments].concat());
    assert_eq!(out.status.code(), Some(code), "{}{}", text(&out.stdout), text(&out.stderr));
    (desk, text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_new_image_is_registered_deployed_and_watched() {
    let (desk, said, noted) = deploy(goes_well, &["--image", "app=web:2"], 0);
    let wanted = "Registered the next revision taskDefinition=\"web:2\"\nDeploying web:2 to web in place of web:1\n\
                  web:2 is deployed to web\n";
    assert_eq!(said, wanted);
    let wanted = "web:2 (new): 2 of 2 running, in progress\nweb:1 (old): 2 of 2 running, being replaced\n\
                  web:2 (new): 2 of 2 running, completed\nweb:1 (old): replaced\n";
    assert_eq!(noted, wanted);
    let registered = desk.endpoint.one("RegisterTaskDefinition");
    let mut expected = definition("1", "web:2")["taskDefinition"]["containerDefinitions"].clone();
    expected[0]["image"] = json!("web:2");
    assert_eq!(
        registered,
        json!({
            "family": "web", "networkMode": "bridge", "containerDefinitions": expected,
            "tags": [{"key": "team", "value": "shop"}],
        })
    );
    let arn = format!("{ARN}task-definition/web:2");
    assert_eq!(desk.endpoint.one("UpdateService"), json!({"cluster": "demo", "service": "web", "taskDefinition": arn}));
}

#[test]
fn what_is_deployed_already_is_deployed_once_more() {
    let (desk, said, _) = deploy(goes_well, &["--image", "web:1", "--no-wait"], 0);
    assert_eq!(said, "Deploying web:1 to web in place of web:1\n");
    assert_eq!(desk.endpoint.one("UpdateService")["forceNewDeployment"], json!(true));
    assert!(desk.endpoint.all("RegisterTaskDefinition").is_empty(), "nothing is new");
    let (desk, _, noted) = deploy(goes_well, &["--image", "db=web:2"], 1);
    assert!(noted.contains("web has no container db; it has: app, side"), "{noted}");
    assert!(desk.endpoint.all("UpdateService").is_empty());
    let (_, _, noted) = deploy(goes_well, &[], 2);
    assert!(noted.contains("--image"), "{noted}");
}

#[test]
fn a_deployment_that_fails_is_undone_and_says_why() {
    let (desk, said, noted) = deploy(fails, &["--image", "app=web:2"], 1);
    assert!(said.ends_with("Going back to web:1\nweb:1 is deployed again\n"), "{said}");
    for part in [
        "error: The deployment of web:2 to web failed: ECS deployment circuit breaker: tasks failed to start.",
        "web:2: task t1",
        "app exited with 1",
        "│ panic: no database",
    ] {
        assert!(noted.contains(part), "{part}: {noted}");
    }
    assert_eq!(desk.endpoint.all("StopServiceDeployment").len(), 1, "the server is asked first");
    let updates = desk.endpoint.all("UpdateService");
    assert_eq!(updates[1]["taskDefinition"], json!(format!("{ARN}task-definition/web:1")));
    let log = desk.endpoint.calls().into_iter().find(|call| call.operation == "GetLogEvents").unwrap();
    assert_eq!((&log.body["logStreamName"], log.region.as_str()), (&json!("p/app/t1"), "eu-west-1"));

    let (desk, _, noted) = deploy(fails, &["--image", "app=web:2", "--no-rollback"], 1);
    assert!(noted.ends_with("→ To go back: longshore deploy web --cluster demo --task-definition web:1\n"), "{noted}");
    assert_eq!(desk.endpoint.all("UpdateService").len(), 1);

    let (desk, said, _) = deploy(is_rolled_back, &["--image", "app=web:2"], 1);
    assert!(said.ends_with("Its circuit breaker went back to web:1\n"), "{said}");
    assert_eq!(desk.endpoint.all("UpdateService").len(), 1, "the breaker did it already");

    let (_, said, _) = deploy(fails, &["--image", "app=web:2", "--output", "json"], 1);
    let answer: Value = serde_json::from_str(&said).expect("standard output is one document");
    assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("rolledBack"), &json!(FAILED)));
}

/// Three tasks of the new deployment that could not pull their image; none runs, and there is no circuit breaker.
fn never_starts(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    let new = |status: &str, state: &str, reason: &str| {
        let mut new = deployment("new", status, "2", state, reason);
        (new["runningCount"], new["failedTasks"]) = (json!(0), json!(3));
        new
    };
    let stopped = count(before, "StopServiceDeployment") > 0;
    match call.operation.as_str() {
        "StopServiceDeployment" => Some((200, json!({"serviceDeploymentArn": call.body["serviceDeploymentArn"]}))),
        "ListTasks" if call.body["desiredStatus"] == "STOPPED" => {
            let arn = |n: u32| format!("{ARN}task/demo/t{n}");
            Some((200, json!({"taskArns": [arn(1), arn(2), arn(3)]})))
        }
        "DescribeTasks" => {
            let task = |n: u32| {
                let mut task = task("STOPPED", None);
                task["taskArn"] = json!(format!("{ARN}task/demo/t{n}"));
                task["stopCode"] = json!("TaskFailedToStart");
                task["containers"][0]["reason"] = json!("CannotPullContainerError: no such image");
                task["containers"][1]["exitCode"] = json!(null);
                task
            };
            Some((200, json!({"tasks": [task(1), task(2), task(3)], "failures": []})))
        }
        "DescribeServices" if count(before, "UpdateService") == 0 => describe(&[old("PRIMARY")]),
        "DescribeServices" if !stopped => describe(&[new("PRIMARY", "IN_PROGRESS", ""), old("ACTIVE")]),
        "DescribeServices" => {
            let since = before.iter().rposition(|call| call.operation == "StopServiceDeployment").unwrap();
            match count(&before[since..], "DescribeServices") {
                0 => describe(&[
                    deployment(
                        "old",
                        "PRIMARY",
                        "1",
                        "IN_PROGRESS",
                        "ECS deployment stopped by user: rolling back to x.",
                    ),
                    new("ACTIVE", "FAILED", "Service deployment stopped by user."),
                ]),
                _ => describe(&[deployment("old", "PRIMARY", "1", "COMPLETED", "")]),
            }
        }
        _ => common(call, before),
    }
}

/// The same of a service of which no deployment was ever completed.
fn never_started(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    match call.operation.as_str() {
        "StopServiceDeployment" => common(call, before),
        "DescribeServices" if count(before, "UpdateService") == 0 => {
            describe(&[deployment("old", "PRIMARY", "1", "IN_PROGRESS", "")])
        }
        _ => never_starts(call, before),
    }
}

#[test]
fn a_deployment_none_of_whose_tasks_starts_is_given_up_and_the_server_goes_back() {
    let (desk, said, noted) = deploy(never_starts, &["--image", "app=web:2"], 1);
    assert!(said.ends_with("Going back to web:1\nweb is back at web:1\n"), "{said}");
    let why = "3 tasks in a row did not start: app: CannotPullContainerError: no such image";
    assert!(noted.contains(&format!("error: The deployment of web:2 to web failed: {why}")), "{noted}");
    let story = format!("{ARN}service-deployment/demo/web/s1");
    let stop = json!({"serviceDeploymentArn": story, "stopType": "ROLLBACK"});
    assert_eq!(desk.endpoint.one("StopServiceDeployment"), stop);
    assert_eq!(desk.endpoint.all("UpdateService").len(), 1, "nothing new is deployed to go back");

    let (desk, _, noted) = deploy(never_starts, &["--image", "app=web:2", "--no-rollback"], 1);
    let by_hand = "→ To go back: aws ecs stop-service-deployment --stop-type ROLLBACK --service-deployment-arn ";
    assert!(noted.ends_with(&format!("{by_hand}{story}\n")), "{noted}");
    assert!(desk.endpoint.all("StopServiceDeployment").is_empty());

    let (desk, _, noted) = deploy(never_started, &["--image", "app=web:2"], 1);
    for part in [
        "There is nothing to go back to: no deployment of web was ever completed.\n→ ",
        "longshore deploy web --cluster demo --task-definition web:1\n→ It goes on trying.",
    ] {
        assert!(noted.contains(part), "{part}: {noted}");
    }
    assert!(noted.contains("aws ecs stop-service-deployment --stop-type ABORT --service-deployment-arn"), "{noted}");
    assert_eq!(desk.endpoint.all("UpdateService").len(), 1);
}

#[test]
fn a_compose_service_whose_deployment_fails_is_not_waited_for() {
    for (script, newest) in [(fails as Script, "web:2"), (is_rolled_back, "web:1")] {
        let desk = Desk::playing(script);
        desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: 'busybox:1'}}");
        let out = desk.own(&["compose", "-p", "web", "service", "scale", "3"]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("The deployment did not last; the service's newest is of {newest}")), "{said}");
        assert!(said.contains("→ See what holds it up: longshore service status web --cluster demo"), "{said}");
    }
}

#[test]
fn a_service_tells_why_it_is_not_stable() {
    let desk = Desk::playing(|call, before| match call.operation.as_str() {
        "DescribeServices" if call.body["services"][0] != "web" => Some((200, json!({"services": [], "failures": []}))),
        "DescribeServices" => {
            let mut new = deployment("new", "PRIMARY", "2", "IN_PROGRESS", "");
            (new["failedTasks"], new["runningCount"]) = (json!(1), json!(0));
            describe(&[new, old("ACTIVE")])
        }
        "ListServices" => Some((200, json!({"serviceArns": [format!("{ARN}service/demo/web")]}))),
        _ => common(call, before),
    });
    let out = desk.own(&["service", "status", "web", "--check"]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    for part in [
        "Service web in cluster demo: not stable, ",
        "PRIMARY     web:2           [                    ] 0/2",
        "✗ 1 task of web:2 failed\n    app exited with 1\n    → longshore logs --cluster demo --task-id t1\n",
        "· 2 tasks of web:1 are to be replaced",
        "│ panic: no database",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let out = desk.own(&["service", "status", "web", "--output", "json"]);
    let status: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&status["stable"], &status["heldUpBy"][0]["kind"]), (&json!(false), &json!("tasksFail")), "{status:#}");
    assert_eq!(status["failures"][0]["containers"][0]["log"], json!(["panic: no database"]));
    let out = desk.own(&["service", "status", "wbe"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stderr), "longshore: There is no service wbe in cluster demo\n→ There are: web\n");
}

fn paused(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    let story = format!("{ARN}service-deployment/demo/web/s1");
    match call.operation.as_str() {
        "DescribeServices" => describe(&[deployment("new", "PRIMARY", "2", "IN_PROGRESS", ""), old("ACTIVE")]),
        "DescribeServiceDeployments" => {
            assert_eq!(call.body["serviceDeploymentArns"], json!([story]));
            // Each decision ends the wait for one hook.
            let left = 2 - count(before, "ContinueServiceDeployment").min(2);
            let hook = |id: usize| {
                let status = if id <= left { "AWAITING_ACTION" } else { "SUCCEEDED" };
                json!({
                    "hookId": format!("h{id}"), "targetType": "PAUSE", "status": status, "timeoutAction": "ROLLBACK",
                    "expiresAt": 4_000_000_000.0,
                })
            };
            let told = json!({
                "serviceDeploymentArn": story, "status": "IN_PROGRESS", "lifecycleStage": "POST_SCALE_UP",
                "lifecycleHookDetails": [hook(1), hook(2)],
            });
            Some((200, json!({"serviceDeployments": [told], "failures": []})))
        }
        "ContinueServiceDeployment" => Some((200, json!({"serviceDeploymentArn": story}))),
        _ => common(call, before),
    }
}

#[test]
fn a_paused_deployment_is_told_and_goes_on_or_back() {
    let desk = Desk::playing(paused);
    let said = text(&desk.own(&["service", "status", "web"]).stdout);
    for part in [
        "The current one is in the stage POST_SCALE_UP",
        "! the deployment is paused in the stage POST_SCALE_UP: hook h1 awaits an action",
        "→ longshore service continue web --cluster demo --hook h2; with --rollback it goes back instead",
        "· 2 tasks of web:1 stay until the stage CLEAN_UP",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let status = desk.own(&["service", "status", "web", "--output", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["lifecycle"]["hooks"][1]["status"], "AWAITING_ACTION", "{status:#}");

    let proceed = |arguments: &[&str]| desk.own(&[&["service", "continue", "web"], arguments].concat());
    let out = proceed(&[]);
    assert_eq!(out.status.code(), Some(1));
    let several = "longshore: Several hooks of web await an action; choose one with --hook: h1, h2
\
                   → longshore service status web --cluster demo
";
    assert_eq!(text(&out.stderr), several);
    let out = proceed(&["--hook", "h2"]);
    assert_eq!(
        text(&out.stdout),
        "The deployment of web goes on from the stage POST_SCALE_UP (hook h2)
"
    );
    let out = proceed(&["--rollback", "--output", "json"]);
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&answer["hook"], &answer["action"]), (&json!("h1"), &json!("ROLLBACK")));
    let story = format!("{ARN}service-deployment/demo/web/s1");
    let sent = |id: &str, action: &str| json!({"serviceDeploymentArn": story, "hookId": id, "action": action});
    assert_eq!(desk.endpoint.all("ContinueServiceDeployment"), [sent("h2", "CONTINUE"), sent("h1", "ROLLBACK")]);
    let out = proceed(&[]);
    let none = "No hook of web awaits an action; its deployment is IN_PROGRESS, in the stage POST_SCALE_UP";
    assert!(text(&out.stderr).contains(none), "{}", text(&out.stderr));
}

/// A task that runs, writes, and ends with 42.
fn runs(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    let answer = match call.operation.as_str() {
        "RunTask" if call.body["taskDefinition"].as_str().unwrap().ends_with(":9") => {
            json!({"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]})
        }
        "RunTask" => json!({"tasks": [task("PENDING", None)], "failures": []}),
        "DescribeTasks" => {
            let status = ["PENDING", "RUNNING", "STOPPED"][count(before, "DescribeTasks").min(2)];
            json!({"tasks": [task(status, (status == "STOPPED").then_some(42))], "failures": []})
        }
        "FilterLogEvents" => json!({"events": [{"eventId": "1", "timestamp": 1, "message": "one line"}]}),
        "DescribeTaskDefinition" if call.body["taskDefinition"] == "nobody" => {
            return Some((400, json!({"__type": "ClientException", "message": "Unable to describe task definition."})));
        }
        _ => return common(call, before),
    };
    Some((200, answer))
}

#[test]
fn a_one_off_task_is_as_if_it_ran_here() {
    let desk = Desk::playing(runs);
    let command = ["run", "web:3", "--wait", "--command", "sh -c 'exit 42'", "--env", "A=b=c"];
    let out = desk.own(&command);
    assert_eq!(out.status.code(), Some(42), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "one line\n", "its output and nothing else, once");
    let sent = desk.endpoint.one("RunTask");
    let container = json!({
        "name": "app", "command": ["sh", "-c", "exit 42"], "environment": [{"name": "A", "value": "b=c"}],
    });
    let wanted = json!({
        "cluster": "demo", "count": 1, "taskDefinition": format!("{ARN}task-definition/web:3"),
        "overrides": {"containerOverrides": [container]},
    });
    assert_eq!(sent, wanted);
    let asked = desk.endpoint.calls().into_iter().find(|call| call.operation == "FilterLogEvents").unwrap();
    assert_eq!((&asked.body["logStreamNames"], asked.region.as_str()), (&json!(["p/app/t1"]), "eu-west-1"));
}

#[test]
fn a_one_off_task_that_is_not_waited_for_is_named() {
    let desk = Desk::playing(runs);
    let out = desk.own(&["run", "web:3"]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "Started task t1 of web:3\n"));
    assert_eq!(desk.endpoint.one("RunTask").get("overrides"), None);
    for (arguments, words) in [
        (&["run", "web:9", "--wait"][..], "no task of web:9 could be placed in cluster demo: RESOURCE:MEMORY\n→ "),
        (&["run", "nobody"], "There is no task definition nobody"),
        (&["run", "web:3", "--container", "db", "--command", "x"], "web has no container db; it has: app, side"),
        (&["run", "web:3", "--command", "sh -c 'x"], "unbalanced quotes"),
    ] {
        let out = desk.own(arguments);
        assert_eq!(out.status.code(), Some(1), "{arguments:?}");
        assert!(text(&out.stderr).contains(words), "{arguments:?}: {}", text(&out.stderr));
    }
}

#[test]
fn the_environment_names_the_endpoint_at_which_the_server_listens() {
    let desk = Desk::new();
    desk.write(
        "data/root-credentials.json",
        r#"{"version": 1, "account_id": "000000000000", "access_key_id": "AK", "secret_access_key": "s"}"#,
    );
    let printed = |environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.args(["env", "--data-dir"]).arg(desk.file("data")).env_clear().envs(environment.iter().copied());
        let out = command.output().unwrap();
        let said = text(&out.stdout);
        let endpoint = said.lines().find_map(|line| line.strip_prefix("export AWS_ENDPOINT_URL=").map(str::to_owned));
        endpoint.unwrap_or_else(|| text(&out.stderr))
    };
    assert_eq!(printed(&[]), "'http://127.0.0.1:4566'");
    let listen = ("LONGSHORE_LISTEN", "0.0.0.0:4600,10.0.0.1:80");
    assert_eq!(printed(&[listen]), "'http://127.0.0.1:4600'");
    assert_eq!(printed(&[listen, ("LONGSHORE_TLS_CERT", "chain.pem")]), "'https://127.0.0.1:4600'");
    assert_eq!(printed(&[listen, ("LONGSHORE_ENDPOINT", "http://there:1")]), "'http://there:1'");
}

#[test]
fn what_deploy_advises_names_a_region_that_only_a_flag_says() {
    let flags = ["--image", "app=web:2", "--region", "us-west-2"];
    let (_, _, noted) = deploy(fails, &[&flags[..], &["--no-rollback"]].concat(), 1);
    let back = "→ To go back: longshore deploy --region us-west-2 web --cluster demo --task-definition web:1\n";
    assert!(noted.ends_with(back), "{noted}");
    let (_, _, noted) = deploy(goes_well, &[&flags[..], &["--no-wait"]].concat(), 0);
    let look = "→ How far it is: longshore service status --region us-west-2 web --cluster demo\n";
    assert!(noted.ends_with(look), "{noted}");
}

#[test]
fn a_task_that_is_refused_is_told_once_and_with_what_to_do() {
    const NETWORK: &str = "Network Configuration must be provided when networkMode 'awsvpc' is specified.";
    let other: Script = |call, _| match call.operation.as_str() {
        "RunTask" => Some((400, json!({"__type": "InvalidParameterException", "message": "No."}))),
        _ => None,
    };
    let network: Script = |call, _| match call.operation.as_str() {
        "RunTask" => Some((400, json!({"__type": "InvalidParameterException", "message": NETWORK}))),
        _ => None,
    };
    for (script, message, next) in
        [(network, NETWORK, "→ Name the subnets in ecs-params.yml"), (other, "No.", "→ No task of work:1 was started.")]
    {
        let desk = Desk::playing(script);
        desk.write(
            "docker-compose.yml",
            "version: '2'\nservices: {app: {image: a, environment: [\"UNSETV=$UNSETV\"]}}\n",
        );
        let out = desk.own(&["compose", "up"]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert_eq!(said.matches(message).count(), 1, "{said}");
        assert_eq!(said.matches("UNSETV").count(), 1, "{said}");
        assert!(said.lines().last().unwrap().starts_with(next), "{said}");
    }
    // The original tells both twice.
    let desk = Desk::playing(other);
    desk.write("docker-compose.yml", "version: '2'\nservices: {app: {image: a, environment: [\"UNSETV=$UNSETV\"]}}\n");
    let said = desk.run(&["compose", "--cluster", "demo", "up"]);
    let said = text(&said.stdout);
    assert_eq!((said.matches("No.").count(), said.matches("UNSETV").count()), (2, 2), "{said}");
}

#[test]
fn the_cost_of_a_cluster_that_nobody_knows_is_not_nothing() {
    let used: Script = |call, _| match call.operation.as_str() {
        "DescribeClusters" => Some((200, json!({"clusters": [], "failures": []}))),
        "GetCostAndUsage" if call.body["Filter"]["Tags"]["Values"][0] == "gone" => {
            let ever = call.body["TimePeriod"]["Start"] == "2020-01-01";
            let metrics = json!({"UsageQuantity": {"Amount": "1", "Unit": "Hrs"}});
            let groups = json!([{"Keys": ["aws:ecs:clusterName$gone", "BoxUsage:t3.nano"], "Metrics": metrics}]);
            Some((200, json!({"ResultsByTime": [{"Groups": if ever { groups } else { json!([]) }}]})))
        }
        "GetCostAndUsage" => Some((200, json!({"ResultsByTime": []}))),
        _ => None,
    };
    for (cluster, code, told) in [
        ("nope", 1, "Nothing is known of cluster nope: there is none in region us-east-1"),
        ("gone", 0, "Nothing was used from "),
    ] {
        let desk = Desk::playing(used);
        let out = desk.own(&["cost", "--cluster", cluster]);
        assert_eq!(out.status.code(), Some(code), "{cluster}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(told), "{cluster}: {}", text(&out.stderr));
        let out = desk.own(&["cost", "advise", "--cluster", cluster]);
        assert_eq!(out.status.code(), Some(code), "{cluster}: {}", text(&out.stderr));
    }
}
