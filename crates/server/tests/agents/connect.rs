//! Service Connect: what clients see of it, what Cloud Map shows, and what agents are told of names and of who answers.

use crate::awsvpc::{Agent, vpc};
use crate::{Harness, code, ecs, list, ok, text};
use link::{AliasView, Assignments};
use model::{AttachmentState, ObservedStatus, network::VpcId};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// A cluster whose default namespace is `mesh`, and definitions with named ports.
async fn defined(harness: &Harness) {
    let defaults = json!({"namespace": "mesh"});
    ecs(harness, "CreateCluster", json!({"clusterName": "demo", "serviceConnectDefaults": defaults})).await;
    for (family, mode, port) in [("api", "awsvpc", 8080), ("moved", "awsvpc", 9090), ("bridge", "bridge", 8080)] {
        let mappings = json!([
            {"containerPort": port, "name": "http", "appProtocol": "http"},
            {"containerPort": 53, "name": "dns", "protocol": "udp"},
            {"containerPort": 7000},
        ]);
        let container = json!({"name": "app", "image": "busybox", "memory": 64, "portMappings": mappings});
        let definition = json!({"family": family, "networkMode": mode, "containerDefinitions": [container]});
        ecs(harness, "RegisterTaskDefinition", definition).await;
    }
}

fn service(name: &str, subnet: &str, connect: &Value) -> Value {
    json!({
        "cluster": "demo", "serviceName": name, "taskDefinition": "api", "desiredCount": 1,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": [subnet]}},
        "serviceConnectConfiguration": connect,
    })
}

fn web() -> Value {
    json!({"portName": "http", "discoveryName": "web", "clientAliases": [{"port": 80, "dnsName": "web"}]})
}

/// What the only agent is told of the only name.
fn alias(agent: &Agent, vpc: &str) -> Option<AliasView> {
    let view = &agent.views.get(&VpcId::parse(vpc).unwrap())?;
    let all = view.aliases.as_ref()?;
    assert_eq!(all.len(), 1, "one namespace");
    Some(all.values().next()?.get("web")?.clone())
}

async fn told(agent: &mut Agent, vpc: &str, answering: &[(Ipv4Addr, u16)]) -> AliasView {
    loop {
        if let Some(view) = alias(agent, vpc)
            && view.ports[&80].iter().copied().collect::<Vec<_>>() == answering
        {
            return view;
        }
        agent.news().await;
    }
}

async fn held(agent: &mut Agent, count: usize) -> Assignments {
    loop {
        let set = agent.assignments().await;
        if set.tasks.len() == count {
            return set;
        }
    }
}

#[tokio::test]
async fn names_follow_tasks_to_agents_and_into_cloud_map() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let (mut agent, _) = Agent::join(&harness, "us-east-1b", [172, 31, 0, 5]).await;
    let asked = service("web", &subnet, &json!({"enabled": true, "services": [web()]}));
    let made = ecs(&harness, "CreateService", asked.clone()).await["service"].clone();
    assert_eq!(ecs(&harness, "CreateService", asked).await["service"]["serviceArn"], made["serviceArn"]);
    let deployment = &made["deployments"][0];
    let shown = &deployment["serviceConnectConfiguration"];
    assert_eq!((&shown["enabled"], &shown["services"]), (&json!(true), &json!([web()])));
    let cluster = ecs(&harness, "DescribeClusters", json!({"clusters": ["demo"]})).await["clusters"][0].clone();
    assert_eq!(cluster["serviceConnectDefaults"]["namespace"], shown["namespace"], "{cluster:#}");
    let resource = &deployment["serviceConnectResources"][0];
    assert_eq!(resource["discoveryName"], "web");
    let id = text(&resource["discoveryArn"]).rsplit('/').next().unwrap().to_owned();
    let revisions = json!({"serviceRevisionArns": [made["currentServiceRevisions"][0]["arn"]]});
    let revision = ecs(&harness, "DescribeServiceRevisions", revisions).await["serviceRevisions"][0].clone();
    assert_eq!(&revision["serviceConnectConfiguration"], shown);
    let listed = ecs(&harness, "ListServicesByNamespace", json!({"namespace": "mesh"})).await;
    assert_eq!(listed["serviceArns"], json!([made["serviceArn"]]));

    // Its own task is a client too, and told before it starts; nobody answers yet.
    let task = held(&mut agent, 1).await.tasks[0].clone();
    let address = task.interface.clone().unwrap().address;
    let view = told(&mut agent, &vpc, &[]).await;
    assert!(view.address.to_string().starts_with("169.254."), "{view:?}");
    let discovered = json!({"NamespaceName": "mesh", "ServiceName": "web"});
    let found = ok(&harness, "servicediscovery", "DiscoverInstances", discovered.clone()).await;
    assert_eq!(found["Instances"], json!([]));
    agent.report(&task.task.to_string(), ObservedStatus::Running, AttachmentState::Attached).await;
    assert_eq!(told(&mut agent, &vpc, &[(address, 8080)]).await.address, view.address, "a name's address stays");
    let found = ok(&harness, "servicediscovery", "DiscoverInstances", discovered).await["Instances"][0].clone();
    assert_eq!(found["Attributes"]["AWS_INSTANCE_IPV4"], address.to_string());
    assert_eq!(found["Attributes"]["AWS_INSTANCE_PORT"], "8080");

    // A task of no such service knows no names.
    let network = json!({"awsvpcConfiguration": {"subnets": [subnet]}});
    let run = json!({"cluster": "demo", "taskDefinition": "api", "networkConfiguration": network});
    ecs(&harness, "RunTask", run).await;
    let other = held(&mut agent, 2).await.tasks.into_iter().find(|one| one.task != task.task).unwrap();
    let knows = |one: &link::Assignment, agent: &Agent| {
        let interfaces = &agent.views[&VpcId::parse(&*vpc).unwrap()].interfaces;
        interfaces[&one.interface.as_ref().unwrap().id].connect.is_some()
    };
    assert!(knows(&task, &agent) && !knows(&other, &agent));

    // What follows from a service of ECS is not Cloud Map's to change.
    for (operation, input, want) in [
        ("DeleteService", json!({"Id": id}), "ResourceInUse"),
        ("UpdateService", json!({"Id": id, "Service": {"Description": "mine"}}), "InvalidInput"),
        ("RegisterInstance", json!({"ServiceId": id, "InstanceId": "i", "Attributes": {"a": "b"}}), "InvalidInput"),
        ("DeleteNamespace", json!({"Id": text(&shown["namespace"]).rsplit('/').next()}), "ResourceInUse"),
    ] {
        assert_eq!(code(&harness, "servicediscovery", operation, input).await, want, "{operation}");
    }
    ecs(&harness, "StopTask", json!({"cluster": "demo", "task": task.task.to_string()})).await;
    told(&mut agent, &vpc, &[]).await;
    ecs(&harness, "DeleteService", json!({"cluster": "demo", "service": "web", "force": true})).await;
    assert_eq!(code(&harness, "servicediscovery", "GetService", json!({"Id": id})).await, "ServiceNotFound");
}

#[tokio::test]
async fn a_change_of_service_connect_is_a_deployment_that_keeps_what_it_is_known_by() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (_, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let made =
        ecs(&harness, "CreateService", service("web", &subnet, &json!({"enabled": true, "services": [web()]}))).await;
    let made = made["service"]["deployments"][0].clone();
    let update = async |more: Value| {
        let mut input = json!({"cluster": "demo", "service": "web"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ecs(&harness, "UpdateService", input).await["service"]["deployments"][0].clone()
    };
    let connect = |connect: Value| json!({"serviceConnectConfiguration": connect});
    let same = update(connect(json!({"enabled": true, "services": [web()]}))).await;
    assert_eq!(same["id"], made["id"], "nothing has changed");
    let mut second = web();
    second["clientAliases"][0]["port"] = json!(81);
    let changed = update(connect(json!({"enabled": true, "services": [second]}))).await;
    assert_ne!(changed["id"], made["id"]);
    assert_eq!(changed["serviceConnectResources"], made["serviceConnectResources"]);
    let moved = update(json!({"taskDefinition": "moved"})).await;
    assert_eq!(moved["serviceConnectConfiguration"], changed["serviceConnectConfiguration"]);
    let off = update(connect(json!({"enabled": false}))).await;
    assert_eq!(off["serviceConnectConfiguration"], Value::Null);
    let listed = ecs(&harness, "ListServicesByNamespace", json!({"namespace": "mesh"})).await;
    assert_eq!(list(&listed["serviceArns"]), [] as [Value; 0]);
}

#[tokio::test]
async fn what_cannot_be_connected_is_refused() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (_, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    ecs(&harness, "CreateService", service("web", &subnet, &json!({"enabled": true, "services": [web()]}))).await;
    let on = |service: Value| json!({"enabled": true, "services": [service]});
    let aliased =
        |name: &str, alias: Value| on(json!({"portName": "http", "discoveryName": name, "clientAliases": [alias]}));
    for (connect, want) in [
        (on(json!({"portName": "none"})), "The portName \"none\" is not"),
        (on(json!({"portName": "dns"})), "The portName \"dns\" is not"),
        (on(json!({"portName": "http", "discoveryName": "Web"})), "The discoveryName \"Web\" must be"),
        (on(json!({"portName": "http", "discoveryName": "web"})), "The discoveryName web is already in use"),
        (aliased("api", json!({"port": 80, "dnsName": "web"})), "A client alias is already in use"),
        (aliased("api", json!({"port": 0})), "The port of a client alias must be"),
        (aliased("api", json!({"port": 80, "dnsName": "a..b"})), "The dnsName \"a..b\" must be"),
        (json!({"enabled": true, "namespace": "nowhere"}), "The namespace nowhere does not exist."),
        (json!({"enabled": false, "services": [web()]}), "namespace and services"),
        (on(json!({"portName": "http", "ingressPortOverride": 1})), "Longshore does not honour"),
        (on(json!({"portName": "http", "timeout": {"idleTimeoutSeconds": 1}})), "Longshore does not honour"),
        (json!({"enabled": true, "logConfiguration": {"logDriver": "awslogs"}}), "Longshore does not honour"),
    ] {
        let error = harness.call("ecs", "CreateService", &service("api", &subnet, &connect)).await.unwrap_err();
        assert!(error.message.starts_with(want), "{connect}: {}: {}", error.code, error.message);
    }
    let mut bridged = service("api", &subnet, &json!({"enabled": true}));
    bridged["taskDefinition"] = json!("bridge");
    bridged.as_object_mut().unwrap().remove("networkConfiguration");
    let error = harness.call("ecs", "CreateService", &bridged).await.unwrap_err();
    assert!(error.message.contains("awsvpc"), "{}", error.message);
    // Cloud Map gives nobody else a name that is taken.
    let namespaces = ok(&harness, "servicediscovery", "ListNamespaces", json!({})).await;
    let taken = json!({"Name": "web", "NamespaceId": namespaces["Namespaces"][0]["Id"]});
    assert_eq!(code(&harness, "servicediscovery", "CreateService", taken).await, "ServiceAlreadyExists");
    // A cluster may have no default any more.
    let without = json!({"cluster": "demo", "serviceConnectDefaults": {"namespace": ""}});
    assert_eq!(ecs(&harness, "UpdateCluster", without).await["cluster"]["serviceConnectDefaults"], Value::Null);
    let error = harness.call("ecs", "CreateService", &service("api", &subnet, &json!({"enabled": true}))).await;
    assert!(error.unwrap_err().message.starts_with("A namespace is required"));
}
