use crate::{Harness, code, ecs, instance, list, text, web};
use serde_json::json;

#[tokio::test]
async fn instances_are_registered_listed_and_drained_as_in_aws() {
    let harness = Harness::start().await;
    web(&harness).await;
    // The default cluster comes to be with its first instance.
    let (a, b) = (
        instance(&harness, "default", "us-east-1a", 512).await,
        instance(&harness, "default", "us-east-1b", 1024).await,
    );
    let shown = ecs(
        &harness,
        "DescribeContainerInstances",
        json!({
        "containerInstances": [a, "nope"], "include": ["TAGS", "CONTAINER_INSTANCE_HEALTH"]}),
    )
    .await;
    let first = &shown["containerInstances"][0];
    assert_eq!(shown["failures"][0]["reason"], "MISSING");
    assert_eq!(first["registeredResources"][2]["stringSetValue"], json!(["22", "51678"]));
    assert_eq!(
        first["registeredResources"][3],
        json!({
        "name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": [],
        "doubleValue": 0.0, "longValue": 0, "integerValue": 0})
    );
    assert_eq!((first["healthStatus"]["overallStatus"].as_str(), first["version"].as_i64()), (Some("OK"), Some(1)));
    let names: Vec<_> = list(&first["attributes"]).iter().map(|attribute| text(&attribute["name"])).collect();
    assert!(names.is_sorted() && names.contains(&"stack") && names.contains(&"ecs.availability-zone"), "{names:?}");

    let drained = ecs(
        &harness,
        "UpdateContainerInstancesState",
        json!({
        "containerInstances": [a, "0".repeat(32)], "status": "DRAINING"}),
    )
    .await;
    assert_eq!(drained["containerInstances"][0]["status"], "DRAINING");
    assert_eq!(drained["failures"][0]["reason"], "MISSING");
    for (input, want) in [
        (json!({}), vec![&a, &b]),
        (json!({"status": "DRAINING"}), vec![&a]),
        (json!({"filter": "attribute:ecs.availability-zone == us-east-1b"}), vec![&b]),
        (json!({"filter": "attribute:stack == prod and runningTasksCount == 0"}), vec![&a, &b]),
        (json!({"filter": "task:group == family:web"}), vec![]),
    ] {
        let answer = ecs(&harness, "ListContainerInstances", input.clone()).await;
        let mut want: Vec<&str> = want.into_iter().map(String::as_str).collect();
        want.sort_unstable();
        assert_eq!(list(&answer["containerInstanceArns"]).iter().map(text).collect::<Vec<_>>(), want, "{input}");
    }
    let started = ecs(&harness, "StartTask", json!({"taskDefinition": "web", "containerInstances": [a]})).await;
    assert_eq!(started["failures"][0]["reason"], "INACTIVE");
    for (operation, input, want) in [
        (
            "UpdateContainerInstancesState",
            json!({"containerInstances": [a], "status": "INACTIVE"}),
            "InvalidParameterException",
        ),
        ("ListContainerInstances", json!({"filter": "nonsense"}), "InvalidParameterException"),
        ("UpdateContainerAgent", json!({"containerInstance": a}), "NoUpdateAvailableException"),
        ("DescribeContainerInstances", json!({"containerInstances": []}), "InvalidParameterException"),
    ] {
        assert_eq!(code(&harness, "ecs", operation, input.clone()).await, want, "{operation} {input}");
    }
    ecs(&harness, "DeregisterContainerInstance", json!({"containerInstance": a})).await;
    let left = ecs(&harness, "ListContainerInstances", json!({})).await;
    assert_eq!(left["containerInstanceArns"], json!([b]));
}

#[tokio::test]
async fn an_original_agent_registers_again_and_tells_what_it_sees() {
    let harness = Harness::start().await;
    web(&harness).await;
    let document =
        json!({"instanceId": "i-0123456789abcdef0", "availabilityZone": "us-east-1c", "instanceType": "m5.large"});
    let register = |arn: &str| {
        let docker = "com.amazonaws.ecs.capability.docker-remote-api.1.18";
        let number = |name: &str| json!({"name": name, "type": "INTEGER", "integerValue": 2048});
        json!({
            "totalResources": [number("CPU"), number("MEMORY")], "containerInstanceArn": arn,
            "instanceIdentityDocument": document.to_string(), "instanceIdentityDocumentSignature": "c2lnbmVk",
            "attributes": [{"name": docker}, {"name": "color", "value": "blue"}],
        })
    };
    let first = ecs(&harness, "RegisterContainerInstance", register("")).await["containerInstance"].clone();
    let arn = text(&first["containerInstanceArn"]);
    assert_eq!(first["ec2InstanceId"], "i-0123456789abcdef0");
    let attribute = |name: &str| list(&first["attributes"]).iter().find(|a| a["name"] == name).cloned();
    assert_eq!(attribute("ecs.availability-zone").unwrap()["value"], "us-east-1c");
    assert_eq!(attribute("color").unwrap()["value"], "blue");
    let again = ecs(&harness, "RegisterContainerInstance", register(arn)).await["containerInstance"].clone();
    assert_eq!((text(&again["containerInstanceArn"]), again["version"].as_i64()), (arn, Some(2)));
    let endpoint = ecs(&harness, "DiscoverPollEndpoint", json!({"containerInstance": arn})).await;
    assert!(
        text(&endpoint["endpoint"]).starts_with("http://127.0.0.1:") && endpoint["serviceConnectEndpoint"].is_null()
    );

    let task = ecs(&harness, "RunTask", json!({"taskDefinition": "web"})).await["tasks"][0]["taskArn"].clone();
    let binding = json!({"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"});
    for (status, container) in [
        ("RUNNING", json!({"containerName": "app", "status": "RUNNING", "networkBindings": [binding]})),
        ("STOPPED", json!({"containerName": "app", "status": "STOPPED", "exitCode": 3})),
        // Late and repeated: nothing changes.
        ("RUNNING", json!({"containerName": "app", "status": "RUNNING"})),
    ] {
        let input = json!({"task": task, "status": status, "reason": "", "containers": [container]});
        let answer = ecs(&harness, "SubmitTaskStateChange", input).await;
        assert_eq!(answer["acknowledgment"], "ACK");
    }
    let shown = ecs(&harness, "DescribeTasks", json!({"tasks": [task]})).await["tasks"][0].clone();
    assert_eq!((text(&shown["lastStatus"]), text(&shown["stopCode"])), ("STOPPED", "EssentialContainerExited"));
    assert_eq!(shown["stoppedReason"], "Essential container in task exited");
    assert_eq!(
        (
            shown["containers"][0]["exitCode"].as_i64(),
            shown["containers"][0]["networkBindings"][0]["hostPort"].as_i64()
        ),
        (Some(3), Some(32768))
    );
}
