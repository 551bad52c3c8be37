//! Tasks that are found under a name of Cloud Map's: from when they run well until they are asked to stop.

use crate::agent::{Session, hello};
use crate::awsvpc::{Agent, defined, vpc};
use crate::{Harness, ecs, list, ok, sessions::joined, text};
use link::{Assignment, ServerMessage};
use model::{
    AttachmentState, ContainerObservation, ContainerStatus, Health, HealthStatus, NetworkBinding, ObservedStatus,
    Protocol, Scope, TaskArn, TaskObservation, discovery::Routing, network::VpcId,
};
use serde_json::{Value, json};
use server::discovery::{Answers, Data, Record, records};
use std::collections::BTreeMap;

async fn map(harness: &Harness, operation: &str, input: Value) -> Value {
    ok(harness, "servicediscovery", operation, input).await
}

/// A private namespace of that VPC and a service with such records in it; its id and ARN.
async fn named(harness: &Harness, vpc: &str, name: &str, kinds: &[&str]) -> (String, String) {
    let made = map(harness, "CreatePrivateDnsNamespace", json!({"Name": format!("{name}.local"), "Vpc": vpc})).await;
    let made = map(harness, "GetOperation", json!({"OperationId": made["OperationId"]})).await;
    let records: Vec<_> = kinds.iter().map(|kind| json!({"Type": kind, "TTL": 10})).collect();
    let input = json!({
        "Name": "Web", "NamespaceId": made["Operation"]["Targets"]["NAMESPACE"], "HealthCheckCustomConfig": {},
        "DnsConfig": {"DnsRecords": records},
    });
    let service = map(harness, "CreateService", input).await["Service"].clone();
    (text(&service["Id"]).to_owned(), text(&service["Arn"]).to_owned())
}

async fn found(harness: &Harness, service: &str) -> Vec<Value> {
    list(&map(harness, "ListInstances", json!({"ServiceId": service})).await["Instances"]).to_vec()
}

/// What the VPC's resolver is to answer.
fn answers(harness: &Harness, vpc: &str) -> BTreeMap<String, Answers> {
    let scope = Scope {
        account: model::AccountId::parse("000000000000").unwrap(),
        region: model::Region::parse("us-east-1").unwrap(),
    };
    records(&harness.server.context().store.snapshot(), &scope, &VpcId::parse(vpc).unwrap())
}

fn answer(data: Data) -> Answers {
    Answers { routing: Routing::Multivalue, records: vec![Record { ttl: 10, data }] }
}

fn running(task: &TaskArn, health: Option<(HealthStatus, u32)>) -> TaskObservation {
    let binding = NetworkBinding {
        bind_ip: "0.0.0.0".into(),
        container_port: 80,
        host_port: 32_768,
        protocol: Protocol::Tcp,
        container_port_range: None,
        host_port_range: None,
    };
    let container = ContainerObservation {
        name: "app".into(),
        status: ContainerStatus::Running,
        runtime_id: None,
        image_digest: None,
        exit_code: None,
        reason: None,
        network_bindings: vec![binding],
        health: health.map(|(status, changes)| Health { status, changes }),
    };
    TaskObservation {
        task: task.clone(),
        status: ObservedStatus::Running,
        containers: vec![container],
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    }
}

async fn assigned(session: &mut Session) -> Assignment {
    loop {
        if let Some(task) = session.assignments().await.tasks.first() {
            return task.clone();
        }
    }
}

#[tokio::test]
async fn a_task_behind_a_bridge_is_found_at_its_instance_while_it_is_well() {
    let harness = Harness::start().await;
    let (machine, _) = joined(&harness).await;
    let mut hello = hello();
    hello.address = Some([172, 31, 0, 9].into());
    hello.attributes.insert("ecs.availability-zone".to_owned(), Some("us-east-1b".to_owned()));
    let mut session = machine.open_as(&harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;
    let default = ok(&harness, "ec2", "DescribeVpcs", json!({})).await["Vpcs"][0]["VpcId"].clone();
    let default = text(&default);
    let (service, arn) = named(&harness, default, "shop", &["SRV"]).await;
    let container = json!({
        "name": "app", "image": "busybox", "memory": 64, "portMappings": [{"containerPort": 80}],
        "healthCheck": {"command": ["CMD", "true"], "interval": 5},
    });
    ecs(&harness, "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": [container]})).await;
    let registry = json!({"registryArn": arn, "containerName": "app", "containerPort": 80});
    let input = json!({"cluster": "demo", "serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "serviceRegistries": [registry]});
    let made = ecs(&harness, "CreateService", input).await["service"].clone();
    assert_eq!(made["serviceRegistries"], json!([registry]));
    let revisions = json!({"serviceRevisionArns": [made["currentServiceRevisions"][0]["arn"]]});
    let revisions = ecs(&harness, "DescribeServiceRevisions", revisions).await;
    assert_eq!(revisions["serviceRevisions"][0]["serviceRegistries"], json!([registry]));

    let task = assigned(&mut session).await.task;
    session.report(vec![running(&task, None)]).await;
    assert_eq!(found(&harness, &service).await, [] as [Value; 0], "nobody knows yet whether it is well");
    assert_eq!(answers(&harness, default), BTreeMap::new());
    session.report(vec![running(&task, Some((HealthStatus::Healthy, 1)))]).await;
    let id = task.id.as_str();
    let attributes = json!({
        "AWS_INSTANCE_IPV4": "172.31.0.9", "AWS_INSTANCE_PORT": "32768", "AVAILABILITY_ZONE": "us-east-1b",
        "REGION": "us-east-1", "ECS_SERVICE_NAME": "web", "ECS_CLUSTER_NAME": "demo", "ECS_TASK_DEFINITION_FAMILY": "web",
    });
    let shown = found(&harness, &service).await;
    assert_eq!((text(&shown[0]["Id"]), &shown[0]["Attributes"]), (id, &attributes));
    let target = format!("{id}.web.shop.local");
    let srv = Data::Srv { priority: 1, weight: 1, port: 32_768, target: target.clone() };
    let want =
        BTreeMap::from([("web.shop.local".to_owned(), answer(srv)), (target, answer(Data::A([172, 31, 0, 9].into())))]);
    assert_eq!(answers(&harness, default), want);

    // It is what it is, whatever clients say.
    let asked = json!({"ServiceId": service, "InstanceId": id});
    for (operation, more, want) in [
        ("DeregisterInstance", json!({}), "ResourceInUse"),
        ("RegisterInstance", json!({"Attributes": {"AWS_INSTANCE_PORT": "1"}}), "ResourceInUse"),
        ("UpdateInstanceCustomHealthStatus", json!({"Status": "UNHEALTHY"}), "InvalidInput"),
    ] {
        let mut input = asked.clone();
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = harness.call("servicediscovery", operation, &input).await.unwrap_err();
        assert_eq!(refused.code, want, "{operation}: {}", refused.message);
    }
    let refused = harness.call("servicediscovery", "DeleteService", &json!({"Id": service})).await.unwrap_err();
    assert_eq!(refused.code, "ResourceInUse");

    // The only one there is stays the answer though it is not well; one that is takes its place.
    session.report(vec![running(&task, Some((HealthStatus::Unhealthy, 2)))]).await;
    let health = map(&harness, "GetInstancesHealthStatus", json!({"ServiceId": service})).await;
    assert_eq!(health["Status"], json!({id: "UNHEALTHY"}));
    assert_eq!(answers(&harness, default), want);
    let attributes = json!({"AWS_INSTANCE_IPV4": "10.9.9.9", "AWS_INSTANCE_PORT": "7"});
    map(&harness, "RegisterInstance", json!({"ServiceId": service, "InstanceId": "Other", "Attributes": attributes}))
        .await;
    let names = answers(&harness, default);
    assert_eq!(names.keys().collect::<Vec<_>>(), ["other.web.shop.local", "web.shop.local"]);
    map(&harness, "DeregisterInstance", json!({"ServiceId": service, "InstanceId": "Other"})).await;

    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": task.to_string()})).await;
    assert_eq!(found(&harness, &service).await, [] as [Value; 0], "it was asked to stop");
    map(&harness, "DeleteService", json!({"Id": service})).await;
}

#[tokio::test]
async fn a_task_with_an_interface_is_found_at_its_own_address() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let (other, _) = self::vpc(&harness, "10.1.0.0/16", "10.1.1.0/24", "us-east-1b").await;
    let (mut agent, _) = Agent::join(&harness, "us-east-1b", [172, 31, 0, 5]).await;
    let (service, arn) = named(&harness, &vpc, "shop", &["A"]).await;
    let input = json!({
        "cluster": "demo", "serviceName": "web", "taskDefinition": "awsvpc", "desiredCount": 1,
        "serviceRegistries": [{"registryArn": arn}],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": [subnet]}},
    });
    ecs(&harness, "CreateService", input).await;
    let held = loop {
        let set = agent.assignments().await;
        if let Some(task) = set.tasks.first() {
            break task.clone();
        }
    };
    assert_eq!(found(&harness, &service).await, [] as [Value; 0], "it does not run yet");
    agent.report(&held.task.to_string(), ObservedStatus::Running, AttachmentState::Attached).await;
    let address = held.interface.unwrap().address;
    let shown = found(&harness, &service).await;
    let attributes = &shown[0]["Attributes"];
    assert_eq!(attributes["AWS_INSTANCE_IPV4"], address.to_string());
    assert_eq!(attributes["AWS_INSTANCE_PORT"], "80", "the first that its definition maps");
    let want = BTreeMap::from([("web.shop.local".to_owned(), answer(Data::A(address)))]);
    assert_eq!(answers(&harness, &vpc), want);
    assert_eq!(answers(&harness, &other), BTreeMap::new(), "another VPC knows nothing of it");

    // A service that gives its registry back is found no more as soon as its new tasks have taken over; the old ones are.
    let input = json!({"cluster": "demo", "service": "web", "serviceRegistries": []});
    let updated = ecs(&harness, "UpdateService", input).await["service"].clone();
    assert_eq!(updated["serviceRegistries"], json!([]));
    assert_eq!(list(&updated["deployments"]).len(), 2, "a change of registries is a deployment");
    assert_eq!(found(&harness, &service).await.len(), 1);
}
