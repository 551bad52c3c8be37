//! `compose service`: what the original sent and said, step by step, and what ours sends and says.

use super::{Desk, expected, normal};
use serde_json::json;
use std::fs;

/// A desk where the project of the vector lies and `demo` is the cluster.
fn desk() -> Desk {
    let desk = Desk::with_vector("compose-svc");
    let params = fs::read_to_string(desk.file("ecs-params.yml")).unwrap();
    let params = params.replace("SUBNET", "subnet-fb3dc93b5fbc8a24e").replace("SG", "sg-8c8707c0fe9329c70");
    desk.write("ecs-params.yml", &params);
    desk.said(&["configure", "--cluster", "demo", "--region", "us-east-1", "--default-launch-type", "FARGATE"]);
    desk
}

/// A desk where the project needs nothing but itself.
fn plain_desk() -> Desk {
    let desk = Desk::new();
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: 'busybox:1'}}");
    desk.said(&["configure", "--cluster", "demo", "--region", "us-east-1"]);
    desk
}

/// The operations since the first `from` calls.
fn operations(desk: &Desk, from: usize) -> Vec<String> {
    desk.endpoint.calls().into_iter().skip(from).map(|call| call.operation).collect()
}

fn service(desk: &Desk, project: &str, rest: &[&str]) -> Vec<String> {
    desk.said(&[&["compose", "--project-name", project, "service"], rest].concat())
}

const CREATED_EVENT: &str =
    "level=info msg=\"(service svc1) has started 1 tasks: (task 1).\" timestamp=\"2096-10-02 07:06:40 +0000 UTC\"";

#[test]
fn a_service_is_created_counted_and_deleted_as_the_original_does_it() {
    let desk = desk();
    let said = service(&desk, "svc1", &["up", "--timeout", "0.3"]);
    let wanted = [
        "level=info msg=\"Using ECS task definition\" TaskDefinition=\"svc1:1\"",
        "level=info msg=\"Auto-enabling ECS Managed Tags\"",
        CREATED_EVENT,
        "level=info msg=\"Service status\" desiredCount=1 runningCount=1 serviceName=svc1",
        "level=info msg=\"ECS Service has reached a stable state\" desiredCount=1 runningCount=1 serviceName=svc1",
        "level=info msg=\"Created an ECS service\" service=svc1 taskDefinition=\"svc1:1\"",
    ];
    assert_eq!(said, wanted);
    let sent = [
        "DescribeServices",
        "RegisterTaskDefinition",
        "ListAccountSettings",
        "CreateService",
        "DescribeServices",
        "DescribeServices",
    ];
    assert_eq!(operations(&desk, 0), sent);
    let created = desk.endpoint.one("CreateService");
    assert_eq!(normal(&created), normal(&expected("compose-svc", "create-service-up")));
    assert_eq!((&created["role"], &created["placementStrategy"]), (&json!(""), &json!([])), "sent even if empty");

    let from = desk.endpoint.count();
    assert_eq!(service(&desk, "svc1", &["ps"]), Vec::<String>::new());
    let asked = desk.endpoint.all("ListTasks");
    let wanted = |status: &str| json!({"cluster": "demo", "desiredStatus": status, "serviceName": "svc1"});
    assert_eq!(asked, [wanted("RUNNING"), wanted("STOPPED")]);
    assert_eq!(operations(&desk, from), ["ListTasks", "ListTasks"]);

    let said = service(&desk, "svc1", &["scale", "2", "--timeout", "0.3"]);
    let wanted = [
        "level=info msg=\"Updated ECS service successfully\" desiredCount=2 force-deployment=false service=svc1",
        "level=info msg=\"Service status\" desiredCount=2 runningCount=1 serviceName=svc1",
        CREATED_EVENT,
        "level=info msg=\"Service status\" desiredCount=2 runningCount=2 serviceName=svc1",
        "level=info msg=\"ECS Service has reached a stable state\" desiredCount=2 runningCount=2 serviceName=svc1",
    ];
    assert_eq!(said, wanted);
    let sent = desk.endpoint.one("UpdateService");
    assert_eq!(normal(&sent), normal(&expected("compose-svc", "update-service-scale")));
    assert!(sent["deploymentConfiguration"].is_object(), "{sent}");

    let said = service(&desk, "svc1", &["stop", "--timeout", "0"]);
    let in_haste =
        "level=warning msg=\"Timeout was specified as zero. Your service deployment may not have completed yet.\"";
    let updated =
        "level=info msg=\"Updated ECS service successfully\" desiredCount=0 force-deployment=false service=svc1";
    assert_eq!(said, [updated, in_haste]);

    let from = desk.endpoint.count();
    let said = service(&desk, "svc1", &["rm", "--timeout", "0"]);
    assert_eq!(said, ["level=info msg=\"Deleted ECS service\" service=svc1", in_haste]);
    assert_eq!(operations(&desk, from), ["DescribeServices", "DeleteService"]);
    assert_eq!(desk.endpoint.one("DeleteService"), expected("compose-svc", "delete-service"));
    service(&desk, "svc1", &["ps"]);
    let said = desk.failed(&["compose", "-p", "nobody", "service", "rm"]);
    assert_eq!(said, ["level=fatal msg=\"Got an error describing service 'nobody' : 'MISSING'\""]);
}

#[test]
fn a_service_is_created_empty_and_started() {
    let desk = desk();
    let rules = ["--deployment-max-percent", "150", "--deployment-min-healthy-percent", "50", "--tags", "k=v"];
    let said = service(&desk, "svc2", &[&["create"][..], &rules].concat());
    let wanted = [
        "level=info msg=\"Using ECS task definition\" TaskDefinition=\"svc2:1\"",
        "level=info msg=\"Auto-enabling ECS Managed Tags\"",
        "level=warning msg=\"Timeout was specified as zero. Service creation may not have completed yet.\"",
        "level=warning msg=\"Timeout was specified as zero. Your service deployment may not have completed yet.\"",
        "level=info msg=\"Created an ECS service\" deployment-max-percent=150 deployment-min-healthy-percent=50 \
         service=svc2 taskDefinition=\"svc2:1\"",
    ];
    assert_eq!(said, wanted);
    assert_eq!(operations(&desk, 0), ["RegisterTaskDefinition", "ListAccountSettings", "CreateService"]);
    let mut sent = normal(&desk.endpoint.one("CreateService"));
    sent["desiredCount"] = json!(0);
    let mut wanted = normal(&expected("compose-svc", "create-service-create"));
    wanted["desiredCount"] = json!(0);
    assert_eq!(sent, wanted);
    let from = desk.endpoint.count();
    let said = service(&desk, "svc2", &["start", "--timeout", "0"]);
    assert!(said[0].ends_with("desiredCount=1 force-deployment=false service=svc2"), "{said:?}");
    assert_eq!(operations(&desk, from), ["DescribeServices", "UpdateService"]);
    // What runs is waited for and not touched.
    let from = desk.endpoint.count();
    let said = service(&desk, "svc2", &["start"]);
    assert_eq!(said[0], "level=info msg=\"ECS Service is already running\" desiredCount=1 serviceName=svc2");
    assert!(said.last().unwrap().contains("has reached a stable state"), "{said:?}");
    assert!(operations(&desk, from).iter().all(|operation| operation == "DescribeServices"));
    let said = desk.failed(&["compose", "-p", "nobody", "service", "start"]);
    assert!(said[0].contains("Please use 'create' command to create the service 'nobody' first"), "{said:?}");
}

#[test]
fn up_again_brings_what_changed_and_nothing_else() {
    let desk = plain_desk();
    service(&desk, "web", &["up"]);
    service(&desk, "web", &["scale", "3"]);
    let from = desk.endpoint.count();
    let said = service(&desk, "web", &["up"]);
    assert!(said.iter().any(|line| line.contains("ECS Service is already running\" desiredCount=3")), "{said:?}");
    assert!(!operations(&desk, from).contains(&"UpdateService".to_owned()));
    let changes = |arguments: &[&str]| {
        let before = desk.endpoint.all("UpdateService").len();
        let said = service(&desk, "web", arguments);
        let mut sent = desk.endpoint.all("UpdateService");
        assert_eq!(sent.len(), before + 1, "{said:?}");
        (said, sent.pop().unwrap())
    };
    let (_, sent) = changes(&["up", "--force-deployment"]);
    assert_eq!((&sent["forceNewDeployment"], &sent["desiredCount"]), (&json!(true), &json!(3)));
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: 'busybox:2'}}");
    let (said, sent) = changes(&["up"]);
    assert_eq!((&sent["taskDefinition"], &sent["desiredCount"]), (&json!("web:2"), &json!(3)));
    let updated = "Updated the ECS service with a new task definition. Old containers will be stopped automatically, and \
                   replaced with new ones\" desiredCount=3 force-deployment=false service=web taskDefinition=\"web:2\"";
    assert!(said.iter().any(|line| line.contains(updated)), "{said:?}");
    let (_, sent) = changes(&["up", "--deployment-max-percent", "100"]);
    assert_eq!(sent["deploymentConfiguration"], json!({"maximumPercent": 100}), "a flag is never for nothing");
    let (_, sent) = changes(&["up", "--health-check-grace-period", "60"]);
    assert_eq!(sent["healthCheckGracePeriodSeconds"], 60);
    service(&desk, "web", &["up", "--tags", "a=b"]);
    let tagged = desk.endpoint.one("TagResource");
    assert_eq!(tagged["tags"], json!([{"key": "a", "value": "b"}]));
    let said = service(&desk, "web", &["rm"]);
    assert!(said.last().unwrap().contains("stable state\" desiredCount=0 runningCount=0"), "{said:?}");
    let said = service(&desk, "web", &["rm"]);
    assert_eq!(said, ["level=info msg=\"ECS Service is already deleted\" serviceName=web"]);
    service(&desk, "web", &["up"]);
    assert_eq!(desk.endpoint.all("CreateService").len(), 2, "one that was deleted is created again");
}

#[test]
fn what_does_not_move_is_given_up() {
    let desk = plain_desk();
    let said = desk.failed(&["compose", "-p", "stuck", "service", "up", "--timeout", "0.01"]);
    let wanted = [
        "level=info msg=\"Created an ECS service\" service=stuck taskDefinition=\"stuck:1\"",
        "level=fatal msg=\"Deployment has not completed: Running count has not changed for 0.01 minutes\"",
    ];
    assert_eq!(said[said.len() - 2..], wanted);
    service(&desk, "every", &["create", "--scheduling-strategy", "DAEMON"]);
    let daemon = desk.endpoint.all("CreateService").pop().unwrap();
    assert_eq!((&daemon["schedulingStrategy"], &daemon["desiredCount"]), (&json!("DAEMON"), &json!(null)));
}
