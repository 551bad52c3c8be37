//! Cloud Map: namespaces, services, instances and what is found under their names.

use crate::{Harness, Want, run};
use serde_json::{Value, json};

const SERVICE: &str = "servicediscovery";

async fn ok(harness: &Harness, operation: &str, input: Value) -> Value {
    harness.call(SERVICE, operation, &input).await.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
}

/// What came of an operation that says only its id: all of them are done when they are answered.
async fn target(harness: &Harness, answer: &Value, what: &str) -> String {
    let operation = ok(harness, "GetOperation", json!({"OperationId": answer["OperationId"]})).await;
    assert_eq!(operation["Operation"]["Status"], "SUCCESS", "{operation}");
    operation["Operation"]["Targets"][what].as_str().unwrap().to_owned()
}

async fn vpc(harness: &Harness) -> String {
    let vpcs = harness.call("ec2", "DescribeVpcs", &json!({})).await.unwrap();
    vpcs["Vpcs"][0]["VpcId"].as_str().unwrap().to_owned()
}

fn refused(code: &'static str, text: &'static str) -> Want {
    Want::Err(code, text)
}

#[tokio::test]
async fn namespaces_are_made_once_and_go_when_they_are_empty() {
    let harness = Harness::start().await;
    let vpc = vpc(&harness).await;
    let new = json!({"Name": "shop.local", "Vpc": vpc, "CreatorRequestId": "a", "Description": "d", "Tags": [{"Key": "k", "Value": "v"}]});
    let made = ok(&harness, "CreatePrivateDnsNamespace", new.clone()).await;
    let id = target(&harness, &made, "NAMESPACE").await;
    let arn = format!("arn:aws:servicediscovery:us-east-1:000000000000:namespace/{id}");
    assert_eq!(ok(&harness, "CreatePrivateDnsNamespace", new).await, made, "the same request again");
    let shown = json!({
        "Id": id, "Arn": arn, "Name": "shop.local", "Type": "DNS_PRIVATE", "ServiceCount": 0, "Description": "d",
        "ResourceOwner": "000000000000",
        "Properties": {"DnsProperties": {"SOA": {"TTL": 15}}, "HttpProperties": {"HttpName": "shop.local"}},
    });
    let other = json!({"Name": "shop.local", "Vpc": vpc, "CreatorRequestId": "b"});
    let filter = |name: &str, condition: &str, value: &str| json!({"Filters": [{"Name": name, "Condition": condition, "Values": [value]}]});
    let change =
        json!({"Id": id, "Namespace": {"Description": "e", "Properties": {"DnsProperties": {"SOA": {"TTL": 60}}}}});
    run(
        &harness,
        SERVICE,
        vec![
            ("GetNamespace", json!({"Id": id}), Want::Ok(json!({"Namespace": shown}))),
            ("GetNamespace", json!({"Id": arn}), Want::Ok(json!({"Namespace": {"CreatorRequestId": "a"}}))),
            ("GetNamespace", json!({"Id": "ns-none"}), refused("NamespaceNotFound", "ns-none")),
            ("CreatePrivateDnsNamespace", other, refused("NamespaceAlreadyExists", "shop.local")),
            ("CreatePrivateDnsNamespace", json!({"Name": "b", "Vpc": "vpc-0"}), refused("InvalidInput", "vpc-0")),
            ("CreatePrivateDnsNamespace", json!({"Name": "a b", "Vpc": vpc}), refused("InvalidInput", "")),
            (
                "CreatePrivateDnsNamespace",
                json!({"Name": "ec2.internal", "Vpc": vpc}),
                refused("InvalidInput", "a VPC's own names"),
            ),
            ("CreatePublicDnsNamespace", json!({"Name": "a.b"}), refused("UnsupportedOperationException", "")),
            ("CreateHttpNamespace", json!({"Name": "http"}), Want::Ok(json!({}))),
            ("ListNamespaces", filter("TYPE", "EQ", "HTTP"), Want::Ok(json!({"Namespaces": [{"Name": "http"}]}))),
            ("ListNamespaces", filter("TYPE", "EQ", "X"), refused("InvalidInput", "X is no type")),
            ("ListNamespaces", filter("NAME", "BEGINS_WITH", "sh"), Want::Ok(json!({"Namespaces": [{"Id": id}]}))),
            ("ListNamespaces", filter("NAME", "BETWEEN", "sh"), refused("InvalidInput", "BETWEEN")),
            (
                "UpdateHttpNamespace",
                json!({"Id": id, "Namespace": {"Description": "e"}}),
                refused("InvalidInput", "type"),
            ),
            ("UpdatePrivateDnsNamespace", change, Want::Ok(json!({}))),
            (
                "GetNamespace",
                json!({"Id": id}),
                Want::Ok(
                    json!({"Namespace": {"Description": "e", "Properties": {"DnsProperties": {"SOA": {"TTL": 60}}}}}),
                ),
            ),
            (
                "ListTagsForResource",
                json!({"ResourceARN": arn}),
                Want::Ok(json!({"Tags": [{"Key": "k", "Value": "v"}]})),
            ),
            ("TagResource", json!({"ResourceARN": arn, "Tags": [{"Key": "l", "Value": "w"}]}), Want::Ok(json!({}))),
            ("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["k"]}), Want::Ok(json!({}))),
            (
                "ListTagsForResource",
                json!({"ResourceARN": arn}),
                Want::Ok(json!({"Tags": [{"Key": "l", "Value": "w"}]})),
            ),
            (
                "ListTagsForResource",
                json!({"ResourceARN": format!("{arn}x")}),
                refused("ResourceNotFoundException", ""),
            ),
            ("DeleteNamespace", json!({"Id": id}), Want::Ok(json!({}))),
            ("DeleteNamespace", json!({"Id": id}), refused("NamespaceNotFound", "")),
            ("GetOperation", json!({"OperationId": "x-y"}), refused("OperationNotFound", "x-y")),
            (
                "ListOperations",
                filter("TYPE", "EQ", "DELETE_NAMESPACE"),
                Want::Ok(json!({"Operations": [{"Status": "SUCCESS"}]})),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn instances_are_found_by_their_attributes_and_their_health() {
    let harness = Harness::start().await;
    let made = ok(&harness, "CreateHttpNamespace", json!({"Name": "http"})).await;
    let namespace = target(&harness, &made, "NAMESPACE").await;
    let new = json!({"Name": "web", "NamespaceId": namespace, "HealthCheckCustomConfig": {"FailureThreshold": 3}});
    let service = ok(&harness, "CreateService", new.clone()).await["Service"].clone();
    assert_eq!(service["HealthCheckCustomConfig"]["FailureThreshold"], 1, "AWS takes nothing else any more");
    let id = service["Id"].as_str().unwrap();
    let arn = service["Arn"].as_str().unwrap();
    let register = |id: &str, colour: &str| json!({"ServiceId": arn, "InstanceId": id, "CreatorRequestId": id, "Attributes": {"colour": colour, "AWS_INSTANCE_IPV4": "10.0.0.1"}});
    let at = |more: Value| {
        let mut asked = json!({"NamespaceName": "http", "ServiceName": "web"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let ids = |ids: &[&str]| {
        Want::Ok(json!({"Instances": ids.iter().map(|id| json!({"InstanceId": id})).collect::<Vec<_>>()}))
    };
    let health = |id: &str, status: &str| json!({"ServiceId": service["Id"], "InstanceId": id, "Status": status});
    let checked = json!({"Name": "x", "NamespaceId": namespace, "HealthCheckConfig": {"Type": "TCP"}});
    run(
        &harness,
        SERVICE,
        vec![
            ("CreateService", new, refused("ServiceAlreadyExists", "web")),
            ("CreateService", checked, refused("InvalidInput", "HealthCheckConfig")),
            ("CreateService", json!({"Name": "x"}), refused("InvalidInput", "NamespaceId")),
            ("CreateService", json!({"Name": "x", "NamespaceId": "ns-none"}), refused("NamespaceNotFound", "")),
            ("DiscoverInstances", at(json!({})), ids(&[])),
            ("RegisterInstance", register("a", "red"), Want::Ok(json!({}))),
            ("RegisterInstance", register("b", "blue"), Want::Ok(json!({}))),
            ("RegisterInstance", register("b", "green"), refused("DuplicateRequest", "")),
            (
                "RegisterInstance",
                json!({"ServiceId": "srv-none", "InstanceId": "a", "Attributes": {}}),
                refused("ServiceNotFound", ""),
            ),
            ("DiscoverInstances", at(json!({})), ids(&["a", "b"])),
            ("DiscoverInstances", at(json!({"MaxResults": 1})), ids(&["a"])),
            ("DiscoverInstances", at(json!({"QueryParameters": {"colour": "blue"}})), ids(&["b"])),
            ("DiscoverInstances", at(json!({"OptionalParameters": {"colour": "blue"}})), ids(&["b"])),
            ("DiscoverInstances", at(json!({"OptionalParameters": {"colour": "grey"}})), ids(&["a", "b"])),
            (
                "DiscoverInstances",
                json!({"NamespaceName": "none", "ServiceName": "web"}),
                refused("NamespaceNotFound", ""),
            ),
            (
                "DiscoverInstances",
                json!({"NamespaceName": "http", "ServiceName": "none"}),
                refused("ServiceNotFound", ""),
            ),
            ("UpdateInstanceCustomHealthStatus", health("a", "UNHEALTHY"), Want::Ok(json!({}))),
            ("UpdateInstanceCustomHealthStatus", health("z", "UNHEALTHY"), refused("InstanceNotFound", "z")),
            ("DiscoverInstances", at(json!({})), ids(&["b"])),
            ("DiscoverInstances", at(json!({"HealthStatus": "UNHEALTHY"})), ids(&["a"])),
            ("DiscoverInstances", at(json!({"HealthStatus": "ALL"})), ids(&["a", "b"])),
            ("UpdateInstanceCustomHealthStatus", health("b", "UNHEALTHY"), Want::Ok(json!({}))),
            ("DiscoverInstances", at(json!({})), ids(&["a", "b"])),
            ("DiscoverInstances", at(json!({"HealthStatus": "HEALTHY"})), ids(&[])),
            (
                "GetInstancesHealthStatus",
                json!({"ServiceId": id}),
                Want::Ok(json!({"Status": {"a": "UNHEALTHY", "b": "UNHEALTHY"}})),
            ),
            (
                "GetInstancesHealthStatus",
                json!({"ServiceId": id, "Instances": ["c"]}),
                refused("InstanceNotFound", "c"),
            ),
            (
                "GetInstance",
                json!({"ServiceId": id, "InstanceId": "a"}),
                Want::Ok(json!({"Instance": {"Id": "a", "CreatorRequestId": "a", "Attributes": {"colour": "red"}}})),
            ),
            (
                "ListInstances",
                json!({"ServiceId": id}),
                Want::Ok(json!({"Instances": [{"Id": "a"}, {"Id": "b"}], "NextToken": null})),
            ),
            ("ListInstances", json!({"ServiceId": id, "NextToken": "rubbish"}), refused("InvalidInput", "")),
            (
                "GetService",
                json!({"Id": arn}),
                Want::Ok(json!({"Service": {"InstanceCount": 2, "Type": "HTTP", "DnsConfig": null}})),
            ),
            ("DeleteNamespace", json!({"Id": namespace}), refused("ResourceInUse", "")),
            ("DeleteService", json!({"Id": id}), refused("ResourceInUse", "")),
            ("DeregisterInstance", json!({"ServiceId": id, "InstanceId": "a"}), Want::Ok(json!({}))),
            ("DeregisterInstance", json!({"ServiceId": id, "InstanceId": "a"}), refused("InstanceNotFound", "")),
            ("DeregisterInstance", json!({"ServiceId": id, "InstanceId": "b"}), Want::Ok(json!({}))),
            ("DeleteService", json!({"Id": id}), Want::Ok(json!({}))),
            ("DeleteService", json!({"Id": id}), refused("ServiceNotFound", "")),
            ("DeleteNamespace", json!({"Id": namespace}), Want::Ok(json!({}))),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_come_in_pages_and_many_register_at_once() {
    let harness = Harness::start().await;
    let made = ok(&harness, "CreateHttpNamespace", json!({"Name": "http"})).await;
    let namespace = target(&harness, &made, "NAMESPACE").await;
    let service = ok(&harness, "CreateService", json!({"Name": "web", "NamespaceId": namespace})).await;
    let id = &service["Service"]["Id"];
    let calls = (0..20).map(|number| {
        let input = json!({"ServiceId": id, "InstanceId": format!("i{number:02}"), "Attributes": {}});
        let harness = &harness;
        async move { harness.call(SERVICE, "RegisterInstance", &input).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut asked = json!({"ServiceId": id, "MaxResults": 7});
        if token.is_string() {
            asked["NextToken"] = token;
        }
        let page = ok(&harness, "ListInstances", asked).await;
        seen.extend(page["Instances"].as_array().unwrap().iter().map(|one| one["Id"].as_str().unwrap().to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen, (0..20).map(|number| format!("i{number:02}")).collect::<Vec<_>>());
    let before =
        ok(&harness, "DiscoverInstancesRevision", json!({"NamespaceName": "http", "ServiceName": "web"})).await;
    ok(&harness, "DeregisterInstance", json!({"ServiceId": id, "InstanceId": "i00"})).await;
    let after = ok(&harness, "DiscoverInstancesRevision", json!({"NamespaceName": "http", "ServiceName": "web"})).await;
    assert!(before["InstancesRevision"].as_i64() < after["InstancesRevision"].as_i64(), "{before} {after}");
}

#[tokio::test]
async fn registries_must_fit_the_network_mode() {
    let harness = Harness::start().await;
    harness.call("ecs", "CreateCluster", &json!({})).await.unwrap();
    let vpc = vpc(&harness).await;
    let subnets = harness.call("ec2", "DescribeSubnets", &json!({})).await.unwrap();
    let network = json!({"awsvpcConfiguration": {"subnets": [subnets["Subnets"][0]["SubnetId"]]}});
    for mode in ["awsvpc", "bridge", "host", "none"] {
        let mapped = if mode == "none" { json!([]) } else { json!([{"containerPort": 80, "hostPort": 80}]) };
        let container = json!({"name": "app", "image": "busybox", "memory": 64, "portMappings": mapped});
        let definition = json!({"family": mode, "networkMode": mode, "containerDefinitions": [container]});
        harness.call("ecs", "RegisterTaskDefinition", &definition).await.unwrap();
    }
    let made = ok(&harness, "CreatePrivateDnsNamespace", json!({"Name": "shop.local", "Vpc": vpc})).await;
    let namespace = target(&harness, &made, "NAMESPACE").await;
    let mut arns = Vec::new();
    for (name, kinds) in [("a", &["A"][..]), ("srv", &["SRV"]), ("both", &["A", "SRV"])] {
        let records: Vec<_> = kinds.iter().map(|kind| json!({"Type": kind, "TTL": 10})).collect();
        let dns = json!({"NamespaceId": namespace, "DnsRecords": records});
        let made = ok(&harness, "CreateService", json!({"Name": name, "DnsConfig": dns})).await;
        assert_eq!(made["Service"]["DnsConfig"]["RoutingPolicy"], "MULTIVALUE");
        arns.push(made["Service"]["Arn"].as_str().unwrap().to_owned());
    }
    let [a, srv, both] = arns.as_slice() else { unreachable!() };
    let ghost = format!("{a}x");
    let app = json!({"containerName": "app", "containerPort": 80});
    for (number, (mode, arn, more, says)) in [
        ("awsvpc", a, json!({}), None),
        ("awsvpc", both, json!({"port": 80}), None),
        ("awsvpc", srv, app.clone(), None),
        ("awsvpc", srv, json!({}), Some("SRV records")),
        ("awsvpc", srv, json!({"port": 80, "containerName": "app", "containerPort": 80}), Some("not both")),
        ("awsvpc", a, json!({"containerName": "app"}), Some("together")),
        ("awsvpc", srv, json!({"port": 70_000}), Some("65535")),
        ("bridge", srv, app.clone(), None),
        ("host", srv, app.clone(), None),
        ("bridge", srv, json!({"port": 80}), Some("'host' or 'bridge'")),
        ("bridge", a, app.clone(), Some("SRV records and no A")),
        ("host", both, app.clone(), Some("SRV records and no A")),
        ("bridge", srv, json!({"containerName": "app", "containerPort": 81}), Some("did not have a container port 81")),
        ("bridge", srv, json!({"containerName": "db", "containerPort": 80}), Some("container db")),
        ("none", srv, json!({}), Some("'none'")),
        ("bridge", &ghost, app.clone(), Some("does not exist")),
        ("bridge", &"arn:aws:ecs:x".to_owned(), app.clone(), Some("does not exist")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut registry = json!({"registryArn": arn});
        registry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut input = json!({
            "serviceName": format!("s{number}"), "taskDefinition": mode, "desiredCount": 0, "serviceRegistries": [registry],
        });
        if mode == "awsvpc" {
            input["networkConfiguration"] = network.clone();
        }
        match (harness.call("ecs", "CreateService", &input).await, says) {
            (Ok(made), None) => assert_eq!(made["service"]["serviceRegistries"], json!([registry])),
            (Err(error), Some(says)) => {
                assert_eq!(error.code, "InvalidParameterException");
                assert!(error.message.contains(says), "{input}: {}", error.message);
            }
            (got, want) => panic!("{input}: {got:?}, want {want:?}"),
        }
    }
    // Two are too many, and those who deploy by themselves have their own.
    let twice = json!({"serviceName": "t", "taskDefinition": "awsvpc", "desiredCount": 0, "networkConfiguration": network,
        "serviceRegistries": [{"registryArn": a}, {"registryArn": a}]});
    let external = json!({"serviceName": "e", "desiredCount": 0, "deploymentController": {"type": "EXTERNAL"},
        "serviceRegistries": [{"registryArn": a}]});
    // A registry may go while its service is there, which can still be scaled.
    run(
        &harness,
        "ecs",
        vec![
            ("CreateService", twice, refused("InvalidParameterException", "at most 1")),
            ("CreateService", external, refused("InvalidParameterException", "must be blank")),
        ],
    )
    .await;
    // All of the namespace, page by page: five were let in.
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    while seen.is_empty() || token.is_string() {
        let mut asked = json!({"namespace": "shop.local", "maxResults": 2});
        if token.is_string() {
            asked["nextToken"] = token;
        }
        let page = harness.call("ecs", "ListServicesByNamespace", &asked).await.unwrap();
        seen.extend(page["serviceArns"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap().to_owned()));
        token = page["nextToken"].clone();
    }
    let want = ["s0", "s1", "s2", "s7", "s8"].map(|name| crate::arn(&format!("service/default/{name}")));
    assert_eq!(seen, want);
    let arn = format!("arn:aws:servicediscovery:us-east-1:000000000000:namespace/{namespace}");
    run(
        &harness,
        "ecs",
        vec![
            ("ListServicesByNamespace", json!({"namespace": arn}), Want::Ok(json!({"serviceArns": want}))),
            ("ListServicesByNamespace", json!({"namespace": "none"}), refused("NamespaceNotFoundException", "none")),
        ],
    )
    .await;
    ok(&harness, "DeleteService", json!({"Id": a})).await;
    let scaled = json!({"service": "s0", "desiredCount": 1});
    run(&harness, "ecs", vec![("UpdateService", scaled, Want::Ok(json!({"service": {"desiredCount": 1}})))]).await;
}
