use crate::{Harness, Want, arn, run};
use model::{
    AgentInfo, Attributes, ClusterArn, ContainerInstance, ContainerInstanceArn, ContainerInstanceId, CpuUnits,
    InstanceStatus, MemoryMib, Resources, Tags, Timestamp,
};
use serde_json::json;
use state::Command;

/// Puts an instance into the default cluster, as a joining agent would.
pub(crate) async fn instance(harness: &Harness, digit: char) -> String {
    harness.call("ecs", "CreateCluster", &json!({})).await.unwrap();
    let cluster: ClusterArn = arn("cluster/default").parse().unwrap();
    let id = ContainerInstanceId::parse(digit.to_string().repeat(32)).unwrap();
    let arn = ContainerInstanceArn { cluster, id };
    let instance = ContainerInstance {
        arn: arn.clone(),
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: None,
        registered: Resources { cpu: CpuUnits(1024), memory: MemoryMib(512), ..Resources::default() },
        attributes: Attributes::from([("ecs.os-type".to_owned(), Some("linux".to_owned()))]),
        agent: AgentInfo::default(),
        agent_connected: true,
        agent_changed_at: Timestamp(0),
        address: None,
        wireguard: None,
        registered_at: Timestamp(0),
        reclaimed_at: None,
        tags: Tags::default(),
    };
    harness.server.context().store.commit(Command::RegisterContainerInstance { instance }).await.unwrap();
    arn.to_string()
}

#[tokio::test]
async fn every_kind_of_resource_carries_tags() {
    let harness = Harness::start().await;
    let container_instance = instance(&harness, 'a').await;
    let definition = json!({"family": "web", "containerDefinitions": [{"name": "app", "image": "i", "memory": 6}]});
    harness.call("ecs", "RegisterTaskDefinition", &definition).await.unwrap();
    for resource in [arn("cluster/default"), arn("task-definition/web:1"), container_instance] {
        let tags = json!([{"key": "a", "value": "1"}, {"key": "b", "value": ""}]);
        let rows = vec![
            ("ListTagsForResource", json!({"resourceArn": resource}), Want::Ok(json!({"tags": []}))),
            ("TagResource", json!({"resourceArn": resource, "tags": tags}), Want::Ok(json!({}))),
            ("ListTagsForResource", json!({"resourceArn": resource}), Want::Ok(json!({"tags": tags}))),
            ("UntagResource", json!({"resourceArn": resource, "tagKeys": ["a", "nope"]}), Want::Ok(json!({}))),
            (
                "ListTagsForResource",
                json!({"resourceArn": resource}),
                Want::Ok(json!({"tags": [{"key": "b", "value": ""}]})),
            ),
        ];
        run(&harness, "ecs", rows).await;
    }
}

#[tokio::test]
async fn wrong_tags_and_resources_are_refused() {
    let harness = Harness::start().await;
    harness.call("ecs", "CreateCluster", &json!({"clusterName": "gone"})).await.unwrap();
    harness.call("ecs", "DeleteCluster", &json!({"cluster": "gone"})).await.unwrap();
    harness.call("ecs", "CreateCluster", &json!({})).await.unwrap();
    let tag = |resource: String, key: &str| json!({"resourceArn": resource, "tags": [{"key": key, "value": "v"}]});
    let many: Vec<_> = (0..51).map(|n| json!({"key": format!("k{n}"), "value": "v"})).collect();
    let invalid = |text| Want::Err("InvalidParameterException", text);
    let rows = vec![
        ("TagResource", tag(arn("cluster/nope"), "k"), Want::Err("ClusterNotFoundException", "Cluster not found.")),
        ("TagResource", tag(arn("cluster/gone"), "k"), invalid("The specified cluster is inactive.")),
        ("TagResource", tag(arn("service/default/web"), "k"), invalid("service")),
        ("TagResource", tag(arn("task-definition/web:1"), "k"), invalid("not found")),
        ("TagResource", tag("cluster/default".to_owned(), "k"), invalid("Invalid ARN")),
        ("TagResource", tag(arn("cluster/default"), "aws:k"), invalid("reserved")),
        ("TagResource", json!({"resourceArn": arn("cluster/default"), "tags": many}), invalid("")),
        ("UntagResource", json!({"resourceArn": arn("cluster/default"), "tagKeys": ["AWS:k"]}), invalid("reserved")),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn attributes_are_put_listed_and_deleted() {
    let harness = Harness::start().await;
    let (one, two) = (instance(&harness, 'a').await, instance(&harness, 'b').await);
    let short = "a".repeat(32);
    let shown = |target: &str, value: Option<&str>| json!({"name": "stack", "targetId": target, "value": value});
    let eleven: Vec<_> = (0..11).map(|n| json!({"name": format!("n{n}"), "targetId": short})).collect();
    let put = |name: &str, target: &str| json!({"attributes": [{"name": name, "value": "prod", "targetId": target}]});
    let list = |name: &str, value: &str| json!({"targetType": "container-instance", "attributeName": name, "attributeValue": value});
    run(
        &harness,
        "ecs",
        vec![
            ("PutAttributes", put("stack", &short), Want::Ok(json!({"attributes": [shown(&one, Some("prod"))]}))),
            ("PutAttributes", put("stack", &two), Want::Ok(json!({"attributes": [shown(&two, Some("prod"))]}))),
            (
                "ListAttributes",
                list("stack", "prod"),
                Want::Ok(
                    json!({"attributes": [shown(&one, Some("prod")), shown(&two, Some("prod"))], "nextToken": null}),
                ),
            ),
            ("ListAttributes", list("stack", "test"), Want::Ok(json!({"attributes": []}))),
            ("ListAttributes", list("", "prod"), Want::Err("InvalidParameterException", "attributeName")),
            (
                "DeleteAttributes",
                json!({"attributes": [{"name": "stack", "targetId": one}]}),
                Want::Ok(json!({"attributes": [shown(&one, None)]})),
            ),
            ("ListAttributes", list("stack", ""), Want::Ok(json!({"attributes": [shown(&two, Some("prod"))]}))),
            ("PutAttributes", put("stack", &"c".repeat(32)), Want::Err("TargetNotFoundException", "Could not find")),
            ("PutAttributes", put("ecs.os-type", &short), Want::Err("InvalidParameterException", "ecs.os-type")),
            ("PutAttributes", put("sp ace", &short), Want::Err("InvalidParameterException", "")),
            ("PutAttributes", json!({"attributes": eleven}), Want::Err("InvalidParameterException", "")),
        ],
    )
    .await;
    let (mut seen, mut token) = (Vec::new(), json!(null));
    for page in 0.. {
        assert!(page < 4);
        let input = json!({"targetType": "container-instance", "maxResults": 1, "nextToken": token});
        let got = harness.call("ecs", "ListAttributes", &input).await.unwrap();
        seen.extend(got["attributes"].as_array().unwrap().iter().map(|a| (a["targetId"].clone(), a["name"].clone())));
        match got.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    let want =
        vec![(json!(one), json!("ecs.os-type")), (json!(two), json!("ecs.os-type")), (json!(two), json!("stack"))];
    assert_eq!(seen, want);
}
